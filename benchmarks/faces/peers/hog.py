"""dlib's frontal face detector: histograms of oriented gradients and a linear classifier (King 2009)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from . import Found, found

FLOOR = -0.5
"""dlib's scores are distances to the separating plane; 0 is its default threshold."""


class Hog:
    """`detector(image)`: faces from 80 pixels on."""

    package = "dlib-bin"
    threshold = 0.0
    probability = False
    work = None
    doubled = 0

    def __init__(self) -> None:
        import dlib

        made: Any = dlib
        self._detector = made.get_frontal_face_detector()

    def detect(self, image: NDArray[np.uint8], threshold: float) -> Found:
        lowest = 0.0 if threshold == self.threshold else FLOOR
        rectangles, scores, _ = self._detector.run(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), self.doubled, lowest)
        xyxy = [(r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in rectangles]
        return found(xyxy, list(scores), np.empty((len(xyxy), 0, 2)), 0)

    def network(self) -> None:
        return None


class HogDoubled(Hog):
    """`detector(image, 1)`, as in dlib's example: the picture is doubled first, faces from 40 pixels on."""

    doubled = 1
