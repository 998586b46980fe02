"""Showing a photograph inside a picture: cut, turned, at another size, with its faces carried along."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...runtime.results import Image
from .teachers import MIRRORED, Labels

SMALLEST = 8.0
"""Faces less high than this, in pixels, are neither asked for nor wrong."""
LARGEST_GAIN = 4.0
"""A photograph is enlarged at most so much."""


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a picture, in whole pixels."""

    x: int
    y: int
    width: int
    height: int


def show(rng: np.random.Generator, photo: tuple[Image, Labels], canvas: Image, region: Region) -> Labels:
    """Draw the photograph into a region of `canvas`, in place; its faces there, in pixels of the canvas.

    Half of the time the whole of it, as large as it fits; else so that one of its faces has a random size and place.
    What it leaves uncovered stays as it was.
    """
    image, labels = photo
    matrix = _fit(rng, image, region) if rng.random() < 0.35 else _aim(rng, image, labels, region)
    _draw(image, matrix, canvas, region)
    return carry(labels, matrix, image.shape[:2], region)


def carry(labels: Labels, matrix: NDArray[np.float64], image_hw: tuple[int, int], region: Region) -> Labels:
    """Faces of a picture `image_hw` after `matrix` (2, 3), which maps into the region; in pixels of the canvas.

    A face turned has the upright box around its turned ellipse. One that is cut by more than 45 % or less than
    `SMALLEST` high is doubtful, and gone with 80 %.
    """
    linear = matrix[:, :2]
    centres = (labels.boxes[:, :2] + labels.boxes[:, 2:]) / 2 @ linear.T + matrix[:, 2]
    radii = (labels.boxes[:, 2:] - labels.boxes[:, :2]) / 2
    half = np.sqrt((linear[None] ** 2 * radii[:, None, :] ** 2).sum(-1))
    whole = np.concatenate([centres - half, centres + half], 1)
    height, width = image_hw
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ linear.T + matrix[:, 2]
    lower = np.maximum(corners.min(0), 0)
    upper = np.minimum(corners.max(0), [region.width, region.height])
    cut = np.clip(whole, np.tile(lower, 2), np.tile(np.maximum(upper, lower), 2))
    left = (cut[:, 2:] - cut[:, :2]).prod(1) / np.maximum((whole[:, 2:] - whole[:, :2]).prod(1), 1e-6)
    marks = labels.landmarks @ linear.T + matrix[:, 2]
    if np.linalg.det(linear) < 0:
        marks = marks[:, MIRRORED]
    kept = (left > 0.2) & ((cut[:, 2:] - cut[:, :2]).min(1) >= 2)
    doubtful = labels.doubtful | (left < 0.55) | (cut[:, 3] - cut[:, 1] < SMALLEST)
    corner = np.array([region.x, region.y])
    boxes = (cut + np.tile(corner, 2)).astype(np.float32)
    return Labels(boxes[kept], (marks + corner).astype(np.float32)[kept], doubtful[kept])


def between_pixels(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix (2, 3) as `cv2.warpAffine` takes it: there the middle of the first pixel is 0, not a half."""
    half = np.array([0.5, 0.5])
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ half - half
    return moved


def join(parts: list[Labels]) -> Labels:
    """The faces of several parts of one picture."""
    if not parts:
        return Labels(np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32), np.empty(0, bool))
    return Labels(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("boxes", "landmarks", "doubtful")))


def draw_height(rng: np.random.Generator, tall: float, near: float = 0.5) -> float:
    """A face's height in pixels in a picture `tall`: even over its logarithm, some of them large."""
    if rng.random() < near:
        return float(rng.uniform(0.35, 0.95) * tall)
    return float(np.exp(rng.uniform(np.log(9), np.log(max(10.0, 0.95 * tall)))))


def _fit(rng: np.random.Generator, image: Image, region: Region) -> NDArray[np.float64]:
    """The whole photograph as large as it fits, top left or in the middle, upright or nearly."""
    height, width = image.shape[:2]
    scale = min(region.width / width, region.height / height, LARGEST_GAIN)
    share = 0.0 if rng.random() < 0.5 else 0.5
    place = share * np.array([region.width - scale * width, region.height - scale * height])
    matrix = np.column_stack([np.diag([scale, scale]), place])
    return _mirrored(matrix, width) if rng.random() < 0.5 else matrix


def _aim(rng: np.random.Generator, image: Image, labels: Labels, region: Region) -> NDArray[np.float64]:
    """One of its sure faces at a random height and place; a photograph without one about as large as the region."""
    height, width = image.shape[:2]
    sure = np.flatnonzero(~labels.doubtful)
    size = np.array([region.width, region.height], float)
    if len(sure):
        box = labels.boxes[rng.choice(sure)]
        middle = (box[:2] + box[2:]) / 2
        target = draw_height(rng, region.height)
        scale = min(target / max(1.0, float(box[3] - box[1])), LARGEST_GAIN)
        margin = np.minimum(0.4 * scale * (box[2:] - box[:2]), size / 2)
        place = rng.uniform(margin, size - margin)
    else:
        middle = rng.uniform(0.2, 0.8, 2) * (width, height)
        scale = float(np.exp(rng.uniform(np.log(0.5), np.log(2.5)))) * max(size[0] / width, size[1] / height)
        place = size / 2
    turn = np.deg2rad(float(np.clip(rng.normal(0, 10), -35, 35)) if rng.random() < 0.7 else 0.0)
    across = scale * rng.uniform(0.88, 1.14)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([across, scale])
    if rng.random() < 0.5:
        linear[:, 0] *= -1
    return np.column_stack([linear, place - linear @ middle])


def _mirrored(matrix: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    return np.asarray(matrix @ np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]]))


def _draw(image: Image, matrix: NDArray[np.float64], canvas: Image, region: Region) -> None:
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.7:  # averaged first: a linear warp skips pixels when it shrinks
        height, width = image.shape[:2]
        small = max(1, round(width * scale)), max(1, round(height * scale))
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.uint8)
        matrix = matrix @ np.diag([width / small[0], height / small[1], 1.0])
    under = canvas[region.y : region.y + region.height, region.x : region.x + region.width]
    size = (region.width, region.height)
    how = cv2.INTER_CUBIC if scale > 1.5 else cv2.INTER_LINEAR
    warp = between_pixels(matrix)
    if image.shape[2] == 3:
        cv2.warpAffine(image, warp, size, dst=under, flags=how, borderMode=cv2.BORDER_TRANSPARENT)
        return
    layers = cv2.warpAffine(image, warp, size, flags=how).astype(np.float32)
    under[:] = under + (layers[..., :3] - under) * (layers[..., 3:] / 255)
