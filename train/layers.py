"""Pieces that every network here uses: inputs centred and scaled inside it, and initialisation by fan-in."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """Pictures (B, H, W, 3) uint8 BGR 0..255 -> (B, 3, H, W) float32, centred and scaled to about unit variance.

    The defaults, 127.5 and 64 a channel, suit natural pictures (whose spread is about a quarter of the range).
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, mean: tuple[float, float, float] = (127.5, 127.5, 127.5), std: tuple[float, float, float] = (64, 64, 64)
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images.permute(0, 3, 1, 2).float() - self.mean) * self.scale


def init_by_fan_in(model: nn.Module) -> None:
    """He initialisation: weights of convolutions and linear layers from N(0, 2 / fan_in), biases 0, norms 1 and 0.

    It keeps the variance of activations through ReLU layers (He et al. 2015, eq. 10). Depthwise layers are divided
    by their own fan-in, kernel height x width.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
