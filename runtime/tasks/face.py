"""Faces: from the detector's scores and distances per cell to boxes in the frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import Feeds, Outputs
from ..bundle import Manifest
from ..results import Faces, Floats, Image
from ._picture import Letterbox

BOX_BGR = (80, 220, 60)
TEXT_BGR = (20, 40, 20)


class FaceTask:
    """A one-stage, anchor-free detector.

    Its outputs are `scores` (1, N) float32 in 0..1 and `boxes` (1, N, 4) float32: distances left, top, right, bottom
    from the cell's centre in units of its stride. The N cells stand in the order of `decoding["strides"]`, row by
    row. `decoding` also has `score_threshold` and `nms_iou`.
    """

    name = "face"

    def __init__(self, manifest: Manifest) -> None:
        picture = manifest.inputs[0]
        self._input = picture.name
        self._letterbox = Letterbox(picture.image_hw)
        self._threshold = float(manifest.decoding["score_threshold"])
        self._nms_iou = float(manifest.decoding["nms_iou"])
        self._centres, self._strides = _cells(picture.image_hw, manifest.decoding["strides"])

    def prepare(self, image: Image) -> Feeds:
        return {self._input: self._letterbox(image)[None]}

    def decode(self, outputs: Outputs, image_hw: tuple[int, int]) -> Faces:
        scores = outputs["scores"][0]
        kept = np.flatnonzero(scores >= self._threshold)
        scores = scores[kept]
        reach = outputs["boxes"][0][kept] * self._strides[kept, None]
        centres = self._centres[kept]
        xyxy = np.concatenate([centres - reach[:, :2], centres + reach[:, 2:]], axis=1)
        order = _suppress(xyxy, scores, self._nms_iou)
        xyxy = xyxy[order] / self._letterbox.scale(image_hw)
        height, width = image_hw
        limits = np.array([width, height, width, height], np.float32)
        return Faces(np.clip(xyxy, 0, limits).astype(np.float32), scores[order])

    def draw(self, image: Image, record: Any) -> None:
        import cv2

        for (x1, y1, x2, y2), score in zip(record.xyxy.round().astype(int), record.score, strict=True):
            cv2.rectangle(image, (int(x1), int(y1)), (int(x2), int(y2)), BOX_BGR, 2, cv2.LINE_AA)
            top = max(0, int(y1) - 16)
            cv2.rectangle(image, (int(x1), top), (int(x1) + 36, top + 15), BOX_BGR, -1)
            at = (int(x1) + 2, top + 12)
            cv2.putText(image, f"{score:.2f}", at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, TEXT_BGR, 1, cv2.LINE_AA)


def _cells(image_hw: tuple[int, int], strides: list[int]) -> tuple[Floats, Floats]:
    """Centres (N, 2) as x, y in pixels of the network's input, and the stride (N,) of each cell."""
    centres, sizes = [], []
    for stride in strides:
        rows, columns = image_hw[0] // stride, image_hw[1] // stride
        y, x = np.mgrid[:rows, :columns]
        centres.append((np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride)
        sizes.append(np.full(rows * columns, stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(sizes).astype(np.float32)


def _suppress(xyxy: Floats, scores: Floats, iou: float) -> list[int]:
    """Indices that non-maximum suppression leaves, best first."""
    import cv2

    if not len(scores):
        return []
    xywh = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)
    return [int(i) for i in cv2.dnn.NMSBoxes(xywh.tolist(), scores.tolist(), 0.0, iou)]
