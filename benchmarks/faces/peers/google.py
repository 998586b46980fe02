"""MediaPipe's face detector by its Python API `solutions.face_detection`, whose models are inside the wheel.

Version 0.10.21 is the last one with it; the later ones have only the tasks API, whose model is to be downloaded.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from . import Found, found

POINTS = 4
"""Eyes, nose tip, centre of the mouth; the ears that follow have no counterpart."""


class _MediaPipe:
    package = "mediapipe"
    threshold = 0.5
    probability = True
    model = 0
    work: tuple[int, float] | None = None
    """Counted in the .tflite files, with the schema that MediaPipe carries."""

    def __init__(self) -> None:
        from mediapipe.python.solutions import face_detection

        self._make = face_detection.FaceDetection
        self._graphs: dict[float, Any] = {}

    def detect(self, image: NDArray[np.uint8], threshold: float) -> Found:
        if threshold not in self._graphs:
            self._graphs[threshold] = self._make(threshold, self.model)
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        detections = self._graphs[threshold].process(rgb).detections or []
        size = np.array([image.shape[1], image.shape[0]], np.float32)
        boxes, points = [], []
        for detection in detections:
            box = detection.location_data.relative_bounding_box
            boxes.append([box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height])
            points.append([(p.x, p.y) for p in detection.location_data.relative_keypoints[:POINTS]])
        xyxy = np.array(boxes, np.float32).reshape(-1, 2, 2) * size
        marks = np.array(points, np.float32).reshape(-1, POINTS, 2) * size
        return found(xyxy, [d.score[0] for d in detections], marks, POINTS)

    def network(self) -> None:
        return None


class ShortRange(_MediaPipe):
    """For faces within two metres: BlazeFace at 128x128. What `FaceDetection()` takes."""

    model = 0
    work = (101_390, 61.5)


class FullRange(_MediaPipe):
    """For faces within five metres: a sparse network at 192x192, counted as if it were dense."""

    model = 1
    work = (508_308, 234.4)
