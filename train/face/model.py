"""The face detector, whole: a one-stage, anchor-free network of depthwise-separable convolutions, after YuNet.

YuNet: Wu et al. 2023, YuNet: A Tiny Millisecond-level Face Detector. Ours has three levels (strides 8, 16, 32), a
top-down path that adds them, one head that the levels share, and wider kernels where the picture is small, so that a
cell sees the whole of a near face.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..layers import Normalise, init_by_fan_in

STRIDES = (8, 16, 32)
POINTS = 5
"""Landmarks: eyes, nose tip, mouth corners; of eyes and corners that on the picture's left first."""
PRIOR = 0.01
"""The score of a cell before training: most cells have no face (Lin et al. 2017, Focal Loss, section 4.1)."""


def build(widths: tuple[int, int, int, int] = (32, 64, 80, 96), near: int = 24) -> FaceNet:
    """The network; `widths` are the channels at strides 4, 8, 16 and 32, `near` those of near faces' landmarks."""
    return FaceNet(tuple(widths), near)


class FaceNet(nn.Module):
    """Pictures (B, H, W, 3) uint8 BGR, H and W multiples of 16, to scores, boxes and landmarks of N cells.

    N = sum of (H // s) * (W // s) over the strides s = 8, 16, 32, in this order, row by row.
    """

    calibration: Tensor
    """Slope and offset of the logits, fitted after training; see calibrate.py. No loss sees it."""

    def __init__(self, widths: tuple[int, ...], near: int) -> None:
        super().__init__()
        a, b, c, d = widths
        self.stem = nn.Sequential(
            Normalise(mean=(0, 0, 0)), *_conv(3, 16, 3, stride=2), Separable(16, a, 2), Separable(a, a)
        )
        self.stage8 = nn.Sequential(Separable(a, b, 2), Separable(b, b), Separable(b, b))
        self.stage16 = nn.Sequential(Separable(b, c, 2), Separable(c, c, kernel=5), Separable(c, c, kernel=5))
        self.stage32 = nn.Sequential(Separable(c, d, 2), Separable(d, d, kernel=5), Separable(d, d, kernel=5))
        self.lateral16 = nn.Sequential(*_conv(c, b, 1))
        self.lateral32 = nn.Sequential(*_conv(d, b, 1))
        self.merge8, self.merge16 = Separable(b, b, adds=False), Separable(b, b, adds=False)
        self.head = Separable(b, b, adds=False)
        self.score = nn.Conv2d(b, 1, 1)
        self.box = nn.Conv2d(b, 4, 1)
        self.points = nn.Conv2d(b, 2 * POINTS, 1)
        self.near = nn.Sequential(nn.Conv2d(d, near, 1), nn.ReLU(inplace=True), nn.Conv2d(near, 2 * POINTS, 1))
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))
        init_by_fan_in(self)
        last = {self.score: -math.log((1 - PRIOR) / PRIOR), self.box: 1.0, self.points: 0.0, self.near[2]: 0.0}
        for layer, bias in last.items():
            nn.init.normal_(layer.get_parameter("weight"), std=0.01)
            nn.init.constant_(layer.get_parameter("bias"), bias)

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the losses take, all of the N cells.

        Logits of the scores (B, N); distances (B, N, 4) in strides: left, top, right, bottom, positive; landmarks
        (B, N, 5, 2), x and y from the cell's centre in strides.
        """
        scores, boxes, landmarks = self._cells(images)
        return scores, functional.softplus(boxes), landmarks

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (B, N) in 0..1, the distances, and the landmarks."""
        scores, boxes, landmarks = self._cells(images)
        scores = torch.sigmoid(scores * self.calibration[0] + self.calibration[1])
        # Softplus by functions that are fast everywhere; of |x|, as engines' sigmoids are only precise from 0.5 to 1.
        return scores, functional.relu(boxes) - torch.log(torch.sigmoid(boxes.abs())), landmarks

    def _cells(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each cell: score (B, N), distances (B, N, 4) before softplus, landmarks (B, N, 5, 2)."""
        p8 = self.stage8(self._stem(images))  # (B, b, H/8, W/8)
        p16 = self.stage16(p8)  # (B, c, H/16, W/16)
        whole = self.stage32(p16)  # (B, d, H/32, W/32)
        p32 = self.lateral32(whole)  # (B, b, H/32, W/32)
        p16 = self.merge16(_add_coarser(self.lateral16(p16), p32))
        p8 = self.merge8(_add_coarser(p8, p16))
        layers = (self.score, self.box, self.points)  # as one: three small convolutions take thrice the time
        weight = torch.cat([layer.weight for layer in layers])
        bias = torch.cat([layer.get_parameter("bias") for layer in layers])
        cells = []
        for level, stride in zip((p8, p16, p32), STRIDES, strict=True):
            found = functional.conv2d(self.head(level), weight, bias)  # (B, 15, rows, columns)
            if stride == STRIDES[-1]:  # the head that all levels share is too narrow for the details of a near face
                found = torch.cat([found[:, :5], found[:, 5:] + self.near(whole)], 1)
            # A height of 240 leaves half a cell at stride 32: what is no whole cell has no say.
            found = found[:, :, : images.shape[1] // stride, : images.shape[2] // stride]
            cells.append(found.flatten(2).transpose(1, 2))  # (B, cells, 15)
        scores, boxes, points = torch.split(torch.cat(cells, 1), [1, 4, 2 * POINTS], 2)
        return scores.squeeze(2), boxes, points.reshape(len(images), -1, POINTS, 2)

    def _stem(self, images: Tensor) -> Tensor:
        """(B, a, H/4, W/4). Nothing is subtracted from pixels, and their scale goes into the first weights.

        Both save a pass over the picture; the batch norm behind centres as well.
        """
        normalise, first = self.stem[0], self.stem[1]
        assert isinstance(normalise, Normalise)
        assert isinstance(first, nn.Conv2d)
        pixels = images.permute(0, 3, 1, 2).float()
        out: Tensor = self.stem[2:](functional.conv2d(pixels, first.weight * normalise.scale, stride=2, padding=1))
        return out


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, each with batch norm and ReLU; `adds` its input where shapes agree.

    It is added before the last ReLU: engines make one operator of a convolution, an addition and a ReLU.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, kernel: int = 3, adds: bool = True) -> None:
        super().__init__()
        depthwise = _conv(inputs, inputs, kernel, stride=stride, groups=inputs)
        self.body = nn.Sequential(*depthwise, *_conv(inputs, outputs, 1)[:2])
        self.adds = adds and stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return functional.relu(x + out if self.adds else out, inplace=True)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def _add_coarser(fine: Tensor, coarse: Tensor) -> Tensor:
    """`fine` plus `coarse`, doubled by nearest neighbour and cut to its size."""
    doubled = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
    return fine + doubled[:, :, : fine.shape[2], : fine.shape[3]]
