"""Mixed precision: sums and weights in float32, products in a type of half its size, where the device gains by it."""

from __future__ import annotations

import torch

TYPES = {"cuda": torch.float16, "cpu": torch.bfloat16}
"""float16 needs the gradients scaled; bfloat16 has float32's range."""


def gains(device: str) -> bool:
    """Whether mixed precision is of use on a `device`: on any GPU, and on a CPU with instructions for bfloat16.

    Known of x86 (AVX-512 BF16, AMX); without them each product is computed in float32 after all, and converted twice.
    """
    if device != "cpu":
        return True
    instructions: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(instructions.get("avx512_bf16") or instructions.get("amx_bf16"))


def autocast(device: torch.device, enabled: bool) -> torch.autocast:
    """What a forward pass and its loss run in."""
    return torch.autocast(device.type, TYPES[device.type], enabled=enabled)
