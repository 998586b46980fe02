"""The navigation network, whole: residual blocks after DroNet, two numbers to drive by, and a decoder for two masks.

DroNet: Loquercio et al. 2018, Learning to Fly by Driving (ResNet-8). Ours takes colour and adds free space and
the way on: a top-down path with additions, after U-Net (Ronneberger et al. 2015), at half the input's size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..layers import Normalise, init_by_fan_in

IMAGE_HW = (96, 128)
MASK_HW = (48, 64)
HIDDEN = 48
"""Units between the features and the two numbers to drive by."""


def build(widths: tuple[int, int, int, int] = (16, 32, 56, 80), dropout: float = 0.3) -> NavigateNet:
    """The network; `widths` are the channels at strides 2, 4, 8 and 16."""
    return NavigateNet(tuple(widths), dropout)


class NavigateNet(nn.Module):
    """Pictures (B, 96, 128, 3) uint8 BGR to steering, collision probability, free space and the way on."""

    def __init__(self, widths: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        a, b, c, d = widths
        self.stem = nn.Sequential(Normalise(), *_conv(3, a, 5, 2), nn.ReLU(inplace=True))
        self.stage4 = Residual(a, b, 2)
        self.stage8 = Residual(b, c, 2)
        self.stage16 = nn.Sequential(Residual(c, d, 2), Residual(d, d // 2, 1))
        rows, columns = -(-IMAGE_HW[0] // 16), IMAGE_HW[1] // 16
        self.drive = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(d // 2 * rows * columns, HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(HIDDEN, 2),
        )
        self.lateral16 = nn.Conv2d(d // 2, b, 1)
        self.lateral8 = nn.Conv2d(c, b, 1)
        self.merge4 = _merge(b, a)
        self.merge2 = _merge(a, a)
        self.masks = nn.Conv2d(a, 2, 1)
        init_by_fan_in(self)
        for layer in (self.drive[-1], self.masks):
            nn.init.normal_(layer.get_parameter("weight"), std=0.01)

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Steering before its tanh (B, 1), logits of collision (B, 1), of free space and of the way (B, 48, 64)."""
        p2 = self.stem(images)  # (B, a, 48, 64)
        p4 = self.stage4(p2)  # (B, b, 24, 32)
        p8 = self.stage8(p4)  # (B, c, 12, 16)
        p16 = self.stage16(p8)  # (B, d/2, 6, 8)
        drive = self.drive(p16)  # (B, 2)
        up = _add_coarser(self.lateral8(p8), self.lateral16(p16))
        up = self.merge4(_add_coarser(p4, up))
        up = self.merge2(_add_coarser(p2, up))  # (B, a, 48, 64)
        masks = self.masks(up)
        return drive[:, :1], drive[:, 1:], masks[:, 0], masks[:, 1]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Steering (B, 1) in -1..1, positive left; in 0..1 collision (B, 1), free space and the way (B, 48, 64)."""
        steer, collision, free, way = self.logits(images)
        return torch.tanh(steer), torch.sigmoid(collision), torch.sigmoid(free), torch.sigmoid(way)


class Residual(nn.Module):
    """Two 3x3 convolutions beside a 1x1 one; batch norm after each, ReLU after the first and the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(inputs, outputs, 3, stride), nn.ReLU(inplace=True), *_conv(outputs, outputs, 3)
        )
        self.skip = nn.Sequential(*_conv(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.skip(x))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)


def _merge(inputs: int, outputs: int) -> nn.Sequential:
    """What follows the sum of two levels: a convolution and two residual blocks."""
    blocks = [Residual(outputs, outputs, 1) for _ in range(2)]
    return nn.Sequential(*_conv(inputs, outputs, 3), nn.ReLU(inplace=True), *blocks)


def _add_coarser(fine: Tensor, coarse: Tensor) -> Tensor:
    """`fine` plus `coarse`, doubled by nearest neighbour and cut to its size."""
    doubled = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
    return fine + doubled[:, :, : fine.shape[2], : fine.shape[3]]
