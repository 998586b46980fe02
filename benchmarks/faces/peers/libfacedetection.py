"""libfacedetection (Wu et al. 2023, YuNet, by the same hand) as the package yuface binds it, at the picture's size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Found, found


class LibFaceDetection:
    """Boxes and points are whole pixels, scores whole percents: that is all that the package gives."""

    package = "yuface"
    threshold = 0.5
    probability = True
    work = (75_856, 112.0)
    """As published for YuNet: 149 MFLOPs at 320x320, of which 320x240 has three quarters; how it counts is not said."""

    def __init__(self) -> None:
        import yuface

        self._detect: Any = yuface.detect

    def detect(self, image: NDArray[np.uint8], threshold: float) -> Found:
        scores, xywh, points = self._detect(np.ascontiguousarray(image), threshold)
        xywh = xywh.astype(np.float32)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        return found(xyxy, scores / 100, points, 5)

    def network(self) -> None:
        return None
