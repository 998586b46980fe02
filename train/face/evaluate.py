"""How good a face detector is: average precision at IoU 0.5, and precision and recall at its own threshold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...devices.errors import BadArtefact
from ...runtime.bundle import Manifest
from ...runtime.results import Faces, Floats, Image
from ...runtime.tasks.face import FaceTask
from .data import validation_set

Run = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""Anything that runs like a session: feeds by input name to outputs by output name."""

OUTPUTS = ("scores", "boxes", "landmarks")
IOU = 0.5
FLOOR = 0.02
"""Detections below this score are not ranked: they hardly change the area and cost most of the time."""
VALIDATION = "photographs held back, and mosaics of them"
"""What `score` looks at."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Detections of all pictures: `score` (n,) and whether each is the first to find a face, `right` (n,)."""

    score: Floats
    right: NDArray[np.bool_]
    faces: int
    """Faces that there were to find."""


def score(run: Run, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """AP, precision and recall on the photographs held back and mosaics of them (always the same ones)."""
    return _with_data(measure(validation_matches(run, manifest), manifest), VALIDATION, len(validation_set()))


def validation_matches(run: Run, manifest: Manifest) -> Matches:
    """What is found on the pictures of `score`, whatever its score (from `FLOOR`)."""
    return _detect(run, manifest, ((p.image, p.labels.boxes[~p.labels.doubtful]) for p in validation_set()))


def evaluate_folder(run: Run, manifest: Manifest, folder: Path) -> dict[str, dict[str, Any]]:
    """The same on the photographs of a folder with `boxes.json`.

    It has lists `images` and, of pictures without a face, `negatives`: each item with `file`, relative to the folder,
    and `xyxy`, boxes in pixels. Raises BadArtefact where a file is missing or broken.
    """
    pictures = list(_read_folder(folder))
    return _with_data(measure(_detect(run, manifest, pictures), manifest), folder.name, len(pictures))


def torch_run(model: nn.Module) -> Run:
    """A network that has not been exported, as a session."""
    device = next(model.parameters()).device

    def run(feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        with torch.no_grad():
            outputs = model(torch.from_numpy(feeds["image"]).to(device))
        return {name: t.float().cpu().numpy() for name, t in zip(OUTPUTS, outputs, strict=True)}

    return run


def match(found: Iterable[Faces], truth: Iterable[Floats], iou: float = IOU) -> Matches:
    """Give each face to the best-scored detection that overlaps it enough; another one on the same face is wrong."""
    scores, right, faces = [np.empty(0, np.float32)], [np.empty(0, bool)], 0
    for record, boxes in zip(found, truth, strict=True):
        faces += len(boxes)
        hits = np.zeros(len(record.score), bool)
        free = np.ones(len(boxes), bool)
        table = _iou(record.xyxy, boxes)
        for i in range(len(hits) if len(boxes) else 0):
            best = int(np.where(free, table[i], -1).argmax())
            if free[best] and table[i, best] >= iou:
                hits[i], free[best] = True, False
        scores.append(record.score)
        right.append(hits)
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


def measure(matches: Matches, manifest: Manifest) -> dict[str, float]:
    """AP at IoU 0.5, and precision and recall at the manifest's threshold."""
    shown = matches.score >= manifest.decoding["score_threshold"]
    hits = int((matches.right & shown).sum())
    return {
        "ap50": average_precision(matches),
        "precision": hits / max(1, int(shown.sum())),
        "recall": hits / max(1, matches.faces),
    }


def _detect(run: Run, manifest: Manifest, pictures: Iterable[tuple[Image, Floats]]) -> Matches:
    floor = min(FLOOR, manifest.decoding["score_threshold"])
    task = FaceTask(replace(manifest, decoding={**manifest.decoding, "score_threshold": floor}))
    found, truth = [], []
    for image, boxes in pictures:
        outputs = run(task.prepare(image))
        found.append(task.decode(dict(outputs), image.shape[:2]))
        truth.append(boxes)
    return match(found, truth)


def _with_data(values: dict[str, float], data: str, n: int) -> dict[str, dict[str, Any]]:
    return {name: {"value": value, "data": data, "n": n, "better": "higher"} for name, value in values.items()}


def _read_folder(folder: Path) -> Iterator[tuple[Image, Floats]]:
    file = folder / "boxes.json"
    try:
        record = json.loads(file.read_text())
        items = [(item["file"], item.get("xyxy", [])) for item in [*record["images"], *record.get("negatives", [])]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadArtefact(f"{file} cannot be read ({type(error).__name__}: {error}); see docs/evaluate.md") from error
    for name, xyxy in items:
        image = cv2.imread(str(folder / name), cv2.IMREAD_COLOR)
        if image is None:
            raise BadArtefact(f"{folder / name} is missing or no picture, though {file.name} lists it")
        yield np.asarray(image, np.uint8), np.array(xyxy, np.float32).reshape(-1, 4)


def _iou(a: Floats, b: Floats) -> Floats:
    """(n, m) overlaps of boxes (n, 4) and (m, 4), xyxy."""
    lower = np.maximum(a[:, None, :2], b[None, :, :2])
    upper = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(upper - lower, 0, None).prod(-1)
    areas = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1)[None]
    return np.asarray(shared / np.maximum(areas - shared, 1e-9), np.float32)
