"""Faces whose way is known: boxes for trackers, and a photograph that moves for detectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from helmsight.runtime.results import Image

FPS = 30
FACE_PX = 60.0
NOISE = 0.02
"""Standard deviation of each side of a box, in face sizes: what good detectors do on clips."""

PAUSES_S = (0, 0.5, 1, 1.5, 2)
"""A face goes for half a second, rests for half a second, goes back, rests."""

Way = Callable[[float], tuple[float, float]]
"""Seconds to the face's centre x, y in pixels."""
Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """Faces on their ways, at the times of the frames that are looked at; `seen` says which of them are detected."""

    name: str
    ways: Sequence[Way]
    times_s: Sequence[float]
    seen: Callable[[int, float], bool] = lambda face, t: True

    def frames(self) -> Iterator[tuple[float, NDArray[np.int64], Boxes, Boxes]]:
        """Time, who is there (N,), the true boxes (N, 4) xyxy, and the boxes as a detector gives them."""
        rng = np.random.default_rng(0)
        for t in self.times_s:
            who = np.array([i for i in range(len(self.ways)) if self.seen(i, t)], np.int64)
            true = boxes_at([self.ways[i](t) for i in who])
            yield t, who, true, (true + rng.normal(0, NOISE * FACE_PX, true.shape)).astype(np.float32)


def boxes_at(centres: Sequence[tuple[float, float]]) -> Boxes:
    """(N, 4) xyxy of faces of the usual size."""
    centre = np.array(centres, np.float32).reshape(-1, 2)
    return np.concatenate([centre - FACE_PX / 2, centre + FACE_PX / 2], axis=1)


def scenes(seconds: float = 10) -> list[Scene]:
    """Five faces that sway, two that pass each other; with what cameras and detectors do to them."""
    sway = [_swaying(lane, 90, 1.5) for lane in range(5)]
    fast = [_swaying(lane, 150, 2.5) for lane in range(5)]
    passing: list[Way] = [lambda t: (40 + 90 * t, 100), lambda t: (400 - 90 * t, 100)]
    every = [i / FPS for i in range(round(seconds * FPS))]
    misses, third, half = np.random.default_rng(1), np.random.default_rng(2), np.random.default_rng(3)
    return [
        Scene("30 % of detections missing", sway, every, lambda face, t: misses.random() > 0.3),
        Scene("two of three frames overwritten", sway, [t for t in every if third.random() < 1 / 3]),
        Scene("fast, every second frame overwritten", fast, [t for t in every if half.random() < 1 / 2]),
        Scene("5 frames a second", sway, every[::6]),
        Scene("each out of sight for 0.5 s of 2 s", sway, every, lambda face, t: (t + face * 0.4) % 2 > 0.5),
        Scene(
            "two pass, one hidden meanwhile", passing, every[: 4 * FPS],
            lambda face, t: face == 0 or abs(passing[0](t)[0] - passing[1](t)[0]) > FACE_PX / 2,
        ),
    ]  # fmt: skip


def motions() -> dict[str, Way]:
    """Of one face: how smoothing is measured."""
    return {
        "still": lambda t: (200, 200),
        "steady, 1 face/s": lambda t: (50 + FACE_PX * t, 200),
        "steady, 4 faces/s": lambda t: (50 + 4 * FACE_PX * t, 200),
        "to and fro, up to 3 faces/s": lambda t: (300 + FACE_PX * np.sin(3 * t), 200),
        "starts and stops, 2 faces/s": lambda t: (200 + FACE_PX * np.interp(t % 2, PAUSES_S, (0, 1, 1, 0, 0)), 200),
    }


def _swaying(lane: int, reach_px: float, pace: float) -> Way:
    return lambda t: (300 + reach_px * np.sin(pace * t + lane), 50 + 100 * lane)


def picture_at(photo: Image, background: Image, shift_px: float, seed: int) -> Image:
    """`background` with `photo` in its middle, moved to the right by parts of a pixel, and the noise of a sensor."""
    import cv2

    height, width = background.shape[:2]
    at = (width - photo.shape[1]) / 2 + shift_px, (height - photo.shape[0]) / 2
    to = np.array([[1, 0, at[0]], [0, 1, at[1]]], np.float64)
    mask = cv2.warpAffine(np.ones(photo.shape[:2], np.float32), to, (width, height))[..., None]
    drawn = background * (1 - mask) + cv2.warpAffine(photo, to, (width, height)) * mask
    noisy = drawn + np.random.default_rng(seed).normal(0, 3, drawn.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)
