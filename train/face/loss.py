"""What the detector's outputs cost: which cells answer for a face, and how far score and box are off.

A cell answers for a face when its centre lies in the face's box, near its middle, at the stride that suits its size
(FCOS's centre sampling, Tian et al. 2019). Scores learn the IoU that their box reaches, by quality focal loss (Li et
al. 2020, Generalized Focal Loss); boxes learn by GIoU (Rezatofighi et al. 2019); landmarks by what they are judged by,
their distance over that of the eyes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .model import STRIDES

SIZES = {8: (0.0, 48.0), 16: (32.0, 176.0), 32: (80.0, 1e9)}
"""Root of a face's area, in pixels, that cells of a stride answer for; neighbours share some."""
RADIUS = 1.5
"""How far from the middle of a face a cell may be, in strides."""
EXPECTED = 8.0
"""About the number of answering cells in a picture. Sums are divided by it and by the number of pictures, not by the
cells counted: the loss of a batch stays the mean over its pictures, also when they are split over processes."""
BOX_WEIGHT = 2.0
POINT_WEIGHT = 12.0
CLOSE_EYES = 0.2
"""Of a face from the side the eyes are close: as if they were at least this share of its size apart."""
NEAR = 64.0
"""Faces smaller than this, in pixels, have less say on landmarks, in proportion: there a pixel is much of a face."""


class Losses(NamedTuple):
    """Parts of the loss, each a mean over the batch's pictures."""

    score: Tensor
    box: Tensor
    landmarks: Tensor


@lru_cache(maxsize=8)
def cells(hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Centres (N, 2) x, y in pixels and strides (N,) of the cells, in the network's order. Not to be written to."""
    centres, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(hw[0] // stride), torch.arange(hw[1] // stride), indexing="ij")
        centres.append((torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((len(centres[-1]),), float(stride)))
    return torch.cat(centres), torch.cat(strides)


@lru_cache(maxsize=8)
def _limits(hw: tuple[int, int]) -> Tensor:
    """(N, 2) least and most of SIZES for each cell."""
    return torch.tensor([SIZES[int(stride)] for stride in cells(hw)[1]])


@dataclass(frozen=True, slots=True)
class Assigned:
    """Which cells answer for a face, `answers` (B, N) bool, and which of its picture's M faces, `which` (B, N).

    `excused` (B, N) bool cells neither answer nor are wrong: they lie in a face that nobody is sure of.
    """

    answers: Tensor
    which: Tensor
    excused: Tensor


def assign(boxes: Tensor, doubtful: Tensor, hw: tuple[int, int]) -> Assigned:
    """`boxes` (B, M, 4) are xyxy in pixels, `doubtful` (B, M) bool; rows without area stand for no face.

    A cell that two faces claim takes the smaller one.
    """
    centres, strides = (t.to(boxes.device) for t in cells(hw))
    point, stride = centres[None, :, None], strides[None, :, None]  # (1, N, 1, 2), (1, N, 1)
    box = boxes[:, None]  # (B, 1, M, 4)
    inside = torch.cat([point - box[..., :2], box[..., 2:] - point], -1).amin(-1) > 0  # (B, N, M)
    area = (box[..., 2:] - box[..., :2]).clamp(min=0).prod(-1)  # (B, 1, M)
    off = (point - (box[..., :2] + box[..., 2:]) / 2).abs().amax(-1)
    limits = _limits(hw).to(boxes.device)[None, :, None]  # (1, N, 1, 2)
    suits = (area.sqrt() >= limits[..., 0]) & (area.sqrt() < limits[..., 1])
    sure = ~doubtful[:, None]
    claims = inside & (off < RADIUS * stride) & suits & sure
    smallest, which = torch.where(claims, area, torch.inf).min(-1)  # (B, N)
    answers = smallest < torch.inf
    return Assigned(answers, which, (inside & ~sure).any(-1) & ~answers)


def detection_loss(outputs: tuple[Tensor, Tensor, Tensor], targets: dict[str, Tensor], hw: tuple[int, int]) -> Losses:
    """What the network's `logits` cost against the faces.

    Targets: `boxes` (B, M, 4) xyxy in pixels, `landmarks` (B, M, 5, 2) in pixels, NaN where they are not known,
    `doubtful` (B, M) bool.
    """
    scores, reach, points = outputs
    assigned = assign(targets["boxes"], targets["doubtful"], hw)
    answers, face = assigned.answers, assigned.which
    centres, strides = (t.to(scores.device) for t in cells(hw))
    picture = torch.arange(len(scores), device=scores.device)[:, None].expand_as(face)
    box = targets["boxes"][picture[answers], face[answers]]  # (A, 4)
    marks = targets["landmarks"][picture[answers], face[answers]]  # (A, 5, 2)
    point, stride = centres.expand(*face.shape, 2)[answers], strides.expand_as(face)[answers, None]
    goal = torch.cat([point - box[:, :2], box[:, 2:] - point], -1) / stride
    iou, giou = overlaps(reach[answers], goal)
    quality = torch.zeros_like(scores)
    quality[answers] = iou.detach().to(scores.dtype)
    whole = EXPECTED * len(scores)
    wrong = torch.where(assigned.excused, 0, quality_focal(scores, quality))
    known = ~marks.isnan().any(-1)
    marks = marks.nan_to_num()
    side = (box[:, 2:] - box[:, :2]).prod(-1).sqrt()
    off = _off(point[:, None] + points[answers] * stride[..., None], marks, side)
    off = (off * known).mean(-1) * (side / NEAR).clamp(max=1)
    return Losses(wrong.sum() / whole, BOX_WEIGHT * (1 - giou).sum() / whole, POINT_WEIGHT * off.sum() / whole)


def soft_loss(outputs: tuple[Tensor, Tensor, Tensor], soft: tuple[Tensor, ...]) -> Losses:
    """The same against a teacher of this kind: its scores (B, N) in 0..1; the rest is weighted by its scores."""
    scores, reach, points = outputs
    soft_scores, soft_reach, soft_points = soft
    whole = EXPECTED * len(scores)
    _, giou = overlaps(reach, soft_reach)
    weight = torch.where(soft_scores > 0.1, soft_scores, 0)
    off = _off(points, soft_points, _area(soft_reach).clamp(min=1e-6).sqrt()).mean(-1)
    return Losses(
        quality_focal(scores, soft_scores).sum() / whole,
        BOX_WEIGHT * (weight * (1 - giou)).sum() / whole,
        POINT_WEIGHT * (weight * off).sum() / whole,
    )


def _off(points: Tensor, marks: Tensor, side: Tensor) -> Tensor:
    """Distance (..., 5) of each point (..., 5, 2) from its mark over that of the marked eyes; `side` (...) of faces."""
    eyes = torch.maximum((marks[..., 0, :] - marks[..., 1, :]).norm(dim=-1), CLOSE_EYES * side)
    return ((points - marks).square().sum(-1) + 1e-8).sqrt() / eyes[..., None]  # its slope at 0 is finite


def quality_focal(logits: Tensor, quality: Tensor) -> Tensor:
    """Cross entropy with a soft label, times the squared error of the score; same shape as the inputs."""
    entropy = functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    return (torch.sigmoid(logits) - quality).square() * entropy


def overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and GIoU (...) of boxes given as distances (..., 4) from the same points."""
    shared = torch.minimum(a, b)
    inner = (shared[..., 0] + shared[..., 2]).clamp(min=0) * (shared[..., 1] + shared[..., 3]).clamp(min=0)
    outer = torch.maximum(a, b)
    hull = (outer[..., 0] + outer[..., 2]) * (outer[..., 1] + outer[..., 3])
    union = _area(a) + _area(b) - inner
    iou = inner / union.clamp(min=1e-6)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)


def _area(reach: Tensor) -> Tensor:
    return (reach[..., 0] + reach[..., 2]) * (reach[..., 1] + reach[..., 3])
