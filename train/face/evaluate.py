"""How good a face detector is: average precision at IoU 0.5; at its own threshold precision, recall and landmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...runtime.bundle import Manifest
from ...runtime.pictures import read_picture
from ...runtime.results import Faces, Floats, Image
from ...runtime.tasks import Letterbox
from ...runtime.tasks.face import FaceTask
from .annotations import data_folder, read_folder
from .boxes import overlap
from .data import validation_set
from .landmarks import landmark_error
from .teachers import Labels
from .wider import WIDER, find_images
from .wider_protocol import Found, average_precisions, read_truth

Run = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""Anything that runs like a session: feeds by input name to outputs by output name."""

OUTPUTS = ("scores", "boxes", "landmarks")
IOU = 0.5
NOTHING = np.empty((0, 4), np.float32)
FLOOR = 0.002
"""Detections below this score are not ranked: they hardly change the area and cost most of the time."""
VALIDATION = "photographs held back, and mosaics of them"
"""What `score` looks at."""
LANDMARK_ERROR = "landmark_error"
"""Mean distance of the landmarks of faces that were found, in distances of the eyes."""
NEAR_PX = 32.0
"""Faces less high than this, in the network's pixels, have landmarks a pixel or two from each other: not counted."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Detections of all pictures: `score` (n,) and whether each is the first to find a face, `right` (n,)."""

    score: Floats
    right: NDArray[np.bool_]
    faces: int
    """Faces that there were to find."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found in pictures, and what faces they have."""

    found: list[Faces]
    labels: list[Labels]
    scales: list[float]
    """Pixels of the network to a pixel of each picture."""

    @property
    def matches(self) -> Matches:
        """The detections of all pictures; those of doubtful faces are left out."""
        sure = [labels.boxes[~labels.doubtful] for labels in self.labels]
        return match(self.found, sure, ignore=[labels.boxes[labels.doubtful] for labels in self.labels])


def score(run: Run, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """AP, precision, recall and landmarks on the photographs held back and mosaics of them (always the same ones)."""
    return _with_data(measure(look(run, manifest), manifest), VALIDATION, len(validation_set()))


def look(run: Run, manifest: Manifest) -> Looked:
    """What is found on the pictures of `score`, whatever its score (from `FLOOR`)."""
    return _detect(run, manifest, ((p.image, p.labels) for p in validation_set()))


def evaluate_data(run: Run, manifest: Manifest, data: str) -> dict[str, dict[str, Any]]:
    """The same on a folder with `boxes.json`, or the three scores of WIDER FACE's validation set on `wider:DIR`.

    Raises BadArtefact where a list or a picture is missing or broken: a score must be that of the whole set.
    """
    folder = data_folder(data)
    if data.startswith(WIDER):
        return _evaluate_wider(run, manifest, folder)
    items = read_folder(folder)
    pictures = ((read_picture(i.file), Labels(i.boxes, i.landmarks, i.ignore)) for i in items)
    return _with_data(measure(_detect(run, manifest, pictures), manifest), folder.name, len(items))


def _evaluate_wider(run: Run, manifest: Manifest, folder: Path) -> dict[str, dict[str, Any]]:
    truth = read_truth(folder)
    images = find_images(folder, "val")
    task = _floored(manifest)
    found = []
    for picture in truth:
        image = read_picture(images / picture.name)
        faces = task.decode(dict(run(task.prepare(image))), image.shape[:2])
        found.append(Found(faces.xyxy, faces.score))
    scores = {f"ap_{level}": value for level, value in average_precisions(found, truth).items()}
    return _with_data(scores, "WIDER FACE, validation", len(truth))


def torch_run(model: nn.Module) -> Run:
    """A network that has not been exported, as a session."""
    device = next(model.parameters()).device

    def run(feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        with torch.no_grad():
            outputs = model(torch.from_numpy(feeds["image"]).to(device))
        return {name: t.float().cpu().numpy() for name, t in zip(OUTPUTS, outputs, strict=True)}

    return run


def match(
    found: Iterable[Faces], truth: Iterable[Floats], iou: float = IOU, ignore: Iterable[Floats] | None = None
) -> Matches:
    """Give each face to the best-scored detection that overlaps it enough; another one on the same face is wrong.

    `truth` has the boxes (n, 4) of each picture, `ignore` those that neither count nor, when they are found, punish.
    """
    scores, right, faces = [np.empty(0, np.float32)], [np.empty(0, bool)], 0
    truth = list(truth)
    for record, boxes, passed in zip(found, truth, ignore or [NOTHING] * len(truth), strict=True):
        faces += len(boxes)
        hits = np.zeros(len(record.score), bool)
        free = np.ones(len(boxes), bool)
        table = overlap(record.xyxy, boxes)
        for i in range(len(hits) if len(boxes) else 0):
            best = int(np.where(free, table[i], -1).argmax())
            if free[best] and table[i, best] >= iou:
                hits[i], free[best] = True, False
        judged = hits | (overlap(record.xyxy, passed) < iou).all(axis=1)
        scores.append(record.score[judged])
        right.append(hits[judged])
    return Matches(np.concatenate(scores), np.concatenate(right), faces)


def average_precision(matches: Matches) -> float:
    """Area under precision over recall, interpolated at all points (Pascal VOC since 2010)."""
    if not matches.faces:
        return float("nan")
    order = np.argsort(-matches.score, kind="stable")
    hits = np.cumsum(matches.right[order])
    precision = hits / np.arange(1, len(hits) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float(highest[matches.right[order]].sum() / matches.faces)


def measure(looked: Looked, manifest: Manifest) -> dict[str, float]:
    """AP at IoU 0.5; at the manifest's threshold precision, recall and, where some are known, the landmarks' error."""
    matches, threshold = looked.matches, manifest.decoding["score_threshold"]
    shown = matches.score >= threshold
    hits = int((matches.right & shown).sum())
    near = [_near(labels, scale) for labels, scale in zip(looked.labels, looked.scales, strict=True)]
    shown_faces = [_above(faces, threshold) for faces in looked.found]
    error, known = landmark_error(shown_faces, [n.boxes for n in near], [n.landmarks for n in near])
    return {
        "ap50": average_precision(matches),
        "precision": hits / max(1, int(shown.sum())),
        "recall": hits / max(1, matches.faces),
        **({LANDMARK_ERROR: error} if known else {}),
    }


def _detect(run: Run, manifest: Manifest, pictures: Iterable[tuple[Image, Labels]]) -> Looked:
    """What is found in pictures whose faces are known; the doubtful ones do not count."""
    task = _floored(manifest)
    fit = Letterbox(manifest.inputs[0].image_hw)
    found, known, scales = [], [], []
    for image, labels in pictures:
        found.append(task.decode(dict(run(task.prepare(image))), image.shape[:2]))
        known.append(labels)
        scales.append(fit.scale(image.shape[:2]))
    return Looked(found, known, scales)


def _near(labels: Labels, scale: float) -> Labels:
    """Those faces whose landmarks count: sure ones of at least `NEAR_PX`."""
    near = ~labels.doubtful & ((labels.boxes[:, 3] - labels.boxes[:, 1]) * scale >= NEAR_PX)
    return Labels(labels.boxes[near], labels.landmarks[near], labels.doubtful[near])


def _above(faces: Faces, threshold: float) -> Faces:
    shown = faces.score >= threshold
    return Faces(faces.xyxy[shown], faces.score[shown], faces.landmarks[shown])


def _floored(manifest: Manifest) -> FaceTask:
    """The task with the lowest threshold that is looked at."""
    floor = min(FLOOR, manifest.decoding["score_threshold"])
    return FaceTask(replace(manifest, decoding={**manifest.decoding, "score_threshold": floor}))


def _with_data(values: dict[str, float], data: str, n: int) -> dict[str, dict[str, Any]]:
    better = {name: "lower" if name == LANDMARK_ERROR else "higher" for name in values}
    return {name: {"value": v, "data": data, "n": n, "better": better[name]} for name, v in values.items()}
