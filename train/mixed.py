"""Mixed precision: weights, their gradients and the loss in float32, what lies between in a type of half the size."""

from __future__ import annotations

import torch

from ..devices.processor import processor

TYPES = {"cuda": torch.float16, "cpu": torch.bfloat16}
"""float16 needs the gradients scaled; bfloat16 has float32's range."""
BFLOAT16 = {"AVX-512 BF16", "AMX BF16"}
"""Instructions of x86 that multiply it: without them it takes longer than float32. Arm's were not tried."""


def cpu_gains() -> bool:
    """Whether this machine's CPU is known to compute faster so."""
    try:
        return not BFLOAT16.isdisjoint(processor().isa)
    except OSError:  # no Linux
        return False


def autocast(device: torch.device, enabled: bool) -> torch.autocast:
    """What a forward pass and its loss run in."""
    return torch.autocast(device.type, TYPES[device.type], enabled=enabled)
