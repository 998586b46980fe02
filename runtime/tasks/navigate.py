"""Navigation: steering, collision probability, free space and the way on from one look ahead."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import Feeds, Outputs
from ..bundle import Manifest
from ..results import Drive, Floats, Image
from ._picture import camera_picture, check_outputs, resize

FLOOR_BGR, WAY_BGR = (200, 160, 40), (60, 190, 60)
WARN_BGR = (40, 40, 235)
BAR_BGR = (80, 200, 240)
TEXT_BGR = (245, 245, 245)
STRIP = 25
"""Rows at the bottom that the figures take."""


def _tint_of(bgr: tuple[int, int, int]) -> Image:
    """A look-up table (1, 256, 3): a third of the colour over the picture's."""
    return np.stack([np.arange(256) * 0.65 + 0.35 * c for c in bgr], axis=-1)[None].astype(np.uint8)


TINT, WAY_TINT = _tint_of(FLOOR_BGR), _tint_of(WAY_BGR)


class NavigateTask:
    """A network with outputs `steer` (1, 1), `collision` (1, 1) and `free_space` (1, h, w), all float32.

    It may have `way` too, of the shape of `free_space`. Their ranges are those of `Drive`. The frame is stretched to
    the network's size, without letterbox, so that the grids cover all of it.
    """

    name = "navigate"

    def __init__(self, manifest: Manifest) -> None:
        picture = camera_picture(manifest)
        check_outputs(manifest, {"steer": (1, 1), "collision": (1, 1), "free_space": (1, None, None)})
        shapes = {spec.name: spec.shape for spec in manifest.outputs}
        self._way = "way" in shapes
        if self._way:
            check_outputs(manifest, {"way": shapes["free_space"]})
        self._input = picture.name
        self._hw = picture.image_hw

    def prepare(self, image: Image) -> Feeds:
        return {self._input: resize(image, self._hw)[None]}

    def decode(self, outputs: Outputs, image_hw: tuple[int, int]) -> Drive:
        return Drive(
            steer=float(np.clip(outputs["steer"].item(), -1, 1)),
            collision_probability=float(np.clip(outputs["collision"].item(), 0, 1)),
            free_space=outputs["free_space"][0],
            way=outputs["way"][0] if self._way else None,
        )

    def draw(self, image: Image, record: Any) -> None:
        if not record.finite:  # what is no number has no place in the picture; the command is a STOP
            return
        _tint(image, record.free_space, TINT, FLOOR_BGR)
        if record.way is not None:
            _tint(image, record.way, WAY_TINT, WAY_BGR)
        _draw_figures(image, record)


def _tint(image: Image, probability: Floats, tint: Image, bgr: tuple[int, int, int]) -> None:
    """Tint what is likely, and draw its edge."""
    import cv2

    height, width = image.shape[:2]
    share = cv2.resize((probability * 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    mask = cv2.threshold(share, 127, 255, cv2.THRESH_BINARY)[1]
    cv2.copyTo(cv2.LUT(image, tint), mask, image)
    edges, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(image, edges, -1, bgr, 1, cv2.LINE_AA)


def draw_steering(image: Image, steer: float) -> None:
    """An arc of path, above the figures: the circle that this steering drives, seen from above."""
    import cv2

    height, width = image.shape[:2]
    along = np.linspace(0, 1, 20)
    x = width / 2 - 0.5 * steer * along**2 * width
    y = height - 1 - STRIP - along * height * 0.4
    points = np.stack([x, y], axis=1).round().astype(np.int32)
    cv2.polylines(image, [points], False, TEXT_BGR, 5, cv2.LINE_AA)
    cv2.polylines(image, [points], False, (60, 60, 60), 2, cv2.LINE_AA)


def _draw_figures(image: Image, drive: Drive) -> None:
    """The collision probability as a bar, and the three figures beside it, on a strip that is dark in any scene."""
    import cv2

    probability = drive.collision_probability
    height, width = image.shape[:2]
    top, full = height - 18, width // 4
    strip = image[max(0, height - STRIP) :]
    cv2.convertScaleAbs(strip, dst=strip, alpha=1 / 3, beta=20)
    colour = WARN_BGR if probability > 0.5 else BAR_BGR
    cv2.rectangle(image, (12, top), (12 + full, height - 8), (110, 110, 110), -1)
    cv2.rectangle(image, (12, top), (12 + round(full * probability), height - 8), colour, -1)
    text = f"collision {probability:.2f}   steer {drive.steer:+.2f}   free {(drive.free_space > 0.5).mean():.0%}"
    cv2.putText(image, text, (16 + full, height - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, TEXT_BGR, 1, cv2.LINE_AA)
