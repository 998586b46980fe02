"""Heads that are drawn: an oval with eyes and a mouth, and where they lie."""

from __future__ import annotations

import cv2
import numpy as np

from helmsight.train.face.teachers import Labels

BOX, MARKS = (12, 5, 52, 59), ((24, 26), (40, 26), (32, 36), (24, 46), (40, 46))


def draw_head(seed: int, side: int = 64) -> np.ndarray:
    """An oval with eyes and a mouth on some colour."""
    rng = np.random.default_rng(seed)
    face = np.full((64, 64, 3), rng.integers(0, 256, 3), np.uint8)
    cv2.ellipse(face, (32, 32), (20, 27), 0, 0, 360, tuple(map(int, rng.integers(120, 256, 3))), -1)
    for at in MARKS[:2]:
        cv2.circle(face, at, 4, (20, 20, 20), -1)
    cv2.line(face, MARKS[3], MARKS[4], (40, 20, 90), 3)
    return cv2.resize(face, (side, side))


def labels_of(scale: float = 1.0, doubtful: bool = False) -> Labels:
    return Labels(
        np.array([BOX], np.float32) * scale, np.array([MARKS], np.float32) * scale, np.array([doubtful], bool)
    )
