"""Faces: from the detector's scores, distances and points per cell to boxes and landmarks in the frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import BadArtefact
from ..backends import Feeds, Outputs
from ..bundle import Manifest
from ..json_form import NUMBER, Fields, Rows, check_form
from ..results import Faces, Floats, Image
from ._picture import camera_picture, check_outputs
from ._tiles import views

BOX_BGR = (80, 220, 60)
TEXT_BGR = (20, 40, 20)
POINTS_BGR = ((60, 200, 255), (255, 200, 60), (80, 220, 60), (60, 120, 255), (255, 120, 160))
MOST_STRIDES = 8
"""Feature maps of a detector; ours has 3, and each is as large as the picture at most."""
EDGE_PX = 8
"""How near to a tile's edge a box counts as that of a face that goes on beyond it."""


class FaceTask:
    """A one-stage, anchor-free detector.

    Its outputs are `scores` (1, N) float32 in 0..1, `boxes` (1, N, 4) float32: distances left, top, right, bottom from
    the cell's centre in units of its stride, and `landmarks` (1, N, 5, 2) float32: offsets x, y from there, in the same
    unit. The N cells stand in the order of `decoding["strides"]`, row by row. `decoding` also has `score_threshold` and
    `nms_iou`; where it has a true `tile`, the feeds are T parts of the frame (see `Views`) and so are the outputs.

    Each face is the mean of the detections that non-maximum suppression takes for one, by their scores, as in BlazeFace
    (Bazarevsky et al. 2019, section 3.4): it is nearer to the truth than the best of them, and flickers less.
    """

    name = "face"

    def __init__(self, manifest: Manifest) -> None:
        picture = camera_picture(manifest)
        check_outputs(manifest, {"scores": (1, None), "boxes": (1, None, 4), "landmarks": (1, None, 5, 2)})
        check_decoding(manifest)
        self._input = picture.name
        self._hw = picture.image_hw
        self._tile = bool(manifest.decoding.get("tile"))
        self._threshold = float(manifest.decoding["score_threshold"])
        self._nms_iou = float(manifest.decoding["nms_iou"])
        self._centres, self._strides = _cells(self._hw, manifest.decoding["strides"])

    def prepare(self, image: Image) -> Feeds:
        return {self._input: views(image.shape[:2], self._hw, self._tile).cut(image)}

    def decode(self, outputs: Outputs, image_hw: tuple[int, int]) -> Faces:
        scores = outputs["scores"]
        found = np.flatnonzero(scores >= self._threshold)
        if not len(found):
            return Faces(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))
        cells = {name: outputs[name].shape[1] for name in ("scores", "boxes", "landmarks")}
        if set(cells.values()) != {len(self._strides)}:
            raise BadArtefact(
                f"the network answers for {cells['scores']} cells, a picture of {self._hw[1]}x{self._hw[0]} has "
                f"{len(self._strides)} (boxes: {cells['boxes']}, landmarks: {cells['landmarks']}); export it again"
            )
        parts = views(image_hw, self._hw, self._tile)
        part, cell = np.divmod(found, len(self._strides))
        size = parts.size[part]
        unit = self._strides[cell] * size
        centre = self._centres[cell] * size[:, None] + parts.origin[part]
        reach = outputs["boxes"].reshape(-1, 4)[found] * unit[:, None]
        xyxy = np.concatenate([centre - reach[:, :2], centre + reach[:, 2:]], axis=1)
        score = scores.reshape(-1)[found]
        cut_off = _cut_off(xyxy, parts.inner[part]) if self._tile else None
        points = outputs["landmarks"].reshape(-1, 5, 2)[found] * unit[:, None, None] + centre[:, None]
        order = _suppress(xyxy, score, self._nms_iou, cut_off)
        same = _same(xyxy[order], xyxy, self._nms_iou)
        if cut_off is not None:
            score[order] = np.where(same, score, 0).max(axis=1)  # that of a whole box, small in the frame, may be weak
            best = np.argsort(-score[order], kind="stable")
            order, same = order[best], same[best] & ~cut_off
            same[np.arange(len(order)), order] = True
        weight = same * score
        weight /= weight.sum(axis=1, keepdims=True)
        limits = np.array([image_hw[1], image_hw[0]] * 2, np.float32)
        marks = np.einsum("kn,npc->kpc", weight, points)
        return Faces(_inside(weight @ xyxy, limits), score[order], _inside(marks, limits[:2]))

    def draw(self, image: Image, record: Any) -> None:
        import cv2

        names = [""] * len(record.score) if record.id is None else [f"#{i} " if i >= 0 else "" for i in record.id]
        for (x1, y1, x2, y2), name, score, points in zip(
            record.xyxy.round().astype(int).tolist(),
            names,
            record.score,
            record.landmarks.round().astype(int).tolist(),
            strict=True,
        ):
            cv2.rectangle(image, (x1, y1), (x2, y2), BOX_BGR, 2, cv2.LINE_AA)
            top = max(0, y1 - 16)
            text = f"{name}{score:.2f}"
            cv2.rectangle(image, (x1, top), (x1 + 4 + 8 * len(text), top + 15), BOX_BGR, -1)
            cv2.putText(image, text, (x1 + 2, top + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, TEXT_BGR, 1, cv2.LINE_AA)
            radius = max(1, (x2 - x1) // 40)
            for point, colour in zip(points, POINTS_BGR, strict=True):
                cv2.circle(image, point, radius, colour, -1, cv2.LINE_AA)


def check_decoding(manifest: Manifest) -> None:
    """Raises BadArtefact for constants that no detector has."""
    decoding, share = manifest.decoding, Fields({"score_threshold": NUMBER, "nms_iou": NUMBER})
    try:
        check_form(decoding, Fields({"strides": Rows(int, least=1, most=MOST_STRIDES)}), "decoding")
        check_form(decoding, share, "decoding")
        height, width = camera_picture(manifest).image_hw
        if wrong := [stride for stride in decoding["strides"] if not 0 < stride <= min(height, width)]:
            raise ValueError(f"decoding.strides has {wrong[0]}; expected 1 to {min(height, width)} pixels")
        if wrong := [name for name in share.needed if not 0 <= decoding[name] <= 1]:
            raise ValueError(f"decoding.{wrong[0]} is {decoding[wrong[0]]}; expected 0 to 1")
    except ValueError as error:
        raise BadArtefact(f"bundle {manifest.name}: {error}; train and export it again") from error


def _cells(image_hw: tuple[int, int], strides: list[int]) -> tuple[Floats, Floats]:
    """Centres (N, 2) as x, y in pixels of the network's input, and the stride (N,) of each cell."""
    centres, sizes = [], []
    for stride in strides:
        rows, columns = image_hw[0] // stride, image_hw[1] // stride
        y, x = np.mgrid[:rows, :columns]
        centres.append((np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride)
        sizes.append(np.full(rows * columns, stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(sizes).astype(np.float32)


def _suppress(xyxy: Floats, score: Floats, iou: float, cut_off: NDArray[np.bool_] | None) -> NDArray[np.intp]:
    """Indices that non-maximum suppression leaves, best first.

    Boxes that are `cut_off` give way to whole ones whatever their scores, and one that lies half or more in another box
    is no face of its own.
    """
    import cv2

    rank = score if cut_off is None else score + ~cut_off
    xywh = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)
    kept = np.asarray(cv2.dnn.NMSBoxes(xywh.tolist(), rank.tolist(), 0.0, iou), np.intp)
    if cut_off is None or not cut_off[kept].any():
        return kept
    whole: list[np.intp] = []
    for i in kept:
        if not (cut_off[i] and whole and _share_inside(xyxy[i], xyxy[whole]).max() >= 0.5):
            whole.append(i)
    return np.array(whole)[np.argsort(-score[whole], kind="stable")]


def _same(kept: Floats, xyxy: Floats, iou: float) -> NDArray[np.bool_]:
    """(K, N) which of all boxes are of the face of each kept one."""
    inner: Any = 1.0
    for low, high in ((0, 2), (1, 3)):  # an axis at a time: an array whose last axis has two elements is slow
        shared = np.minimum(kept[:, None, high], xyxy[:, high]) - np.maximum(kept[:, None, low], xyxy[:, low])
        inner *= np.maximum(shared, 0, out=shared)
    return np.asarray(inner >= iou * (_areas(kept)[:, None] + _areas(xyxy) - inner))


def _areas(xyxy: Floats) -> Floats:
    """(N,)"""
    return np.asarray((xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1]))


def _cut_off(xyxy: Floats, inner: Floats) -> NDArray[np.bool_]:
    """(N,) whether a box reaches an edge of its tile beyond which the frame goes on; `inner` (N, 4) as in `Views`."""
    before = (xyxy[:, :2] < inner[:, :2] + EDGE_PX).any(axis=1)
    after = (xyxy[:, 2:] > inner[:, 2:] - EDGE_PX).any(axis=1)
    return np.asarray(before | after)


def _share_inside(box: Floats, others: Floats) -> Floats:
    """(M,) how much of `box` (4,), as a share of its area, lies in each of `others` (M, 4)."""
    shared = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return np.asarray(shared.clip(min=0).prod(axis=1) / max(float((box[2:] - box[:2]).prod()), 1e-6), np.float32)


def _inside(points: Floats, limits: Floats) -> Floats:
    """`points` (N, ..., k), moved into the frame that ends at `limits` (k,)."""
    return np.clip(points, 0, limits).astype(np.float32, copy=False)
