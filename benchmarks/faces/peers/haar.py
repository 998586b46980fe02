"""OpenCV 4's cascades of Haar features (Viola and Jones 2001); the files are inside its wheel. OpenCV 5 has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from . import Found, found


class Alt2:
    """`detectMultiScale` with its defaults; ranked by the last stage's weight, which `detectMultiScale3` gives."""

    package = "opencv-contrib-python-headless"
    threshold = 0.0
    probability = False
    work = None
    file = "haarcascade_frontalface_alt2.xml"

    def __init__(self) -> None:
        opencv: Any = cv2
        if not hasattr(opencv, "CascadeClassifier"):
            raise ImportError("cv2 without CascadeClassifier")
        self._cascade = opencv.CascadeClassifier(str(Path(opencv.data.haarcascades) / self.file))
        if self._cascade.empty():
            raise ImportError(self.file)

    def detect(self, image: NDArray[np.uint8], threshold: float) -> Found:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if threshold == self.threshold:
            boxes = self._cascade.detectMultiScale(grey)
            scores: Any = np.ones(len(boxes))
        else:
            boxes, _, scores = self._cascade.detectMultiScale3(grey, outputRejectLevels=True)
        xywh = np.array(boxes, np.float32).reshape(-1, 4)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        return found(xyxy, scores, np.empty((len(xyxy), 0, 2)), 0)

    def network(self) -> None:
        return None


class Default(Alt2):
    """The cascade of OpenCV's own tutorial."""

    file = "haarcascade_frontalface_default.xml"
