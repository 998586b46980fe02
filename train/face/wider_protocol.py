"""How WIDER FACE is scored: average precision on the faces that its authors call easy, medium and hard.

After `wider_eval.m` of the data set's eval_tools (Yang et al. 2016), as its Python ports run it. Peculiarities that are
kept: a pixel is added to widths and heights in overlaps; several detections on one face each look for their best box,
so the second one is wrong, while any number may lie on a face that is not counted; a picture without any face in the
list is passed over, whatever is found in it; precision is looked at from 1,000 thresholds over scores stretched to
0..1.

Differences: where no detection is left at a threshold, precision is 0 rather than not a number (the same area, MATLAB's
`max` leaves those out); where all scores are equal they count as 1; boxes are not rounded to whole pixels; a picture
without detections costs its faces, where the original wants a file for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import BadArtefact, need

LEVELS = ("easy", "medium", "hard")
THRESHOLDS = 1000
IOU = 0.5
PLACES = ("eval_tools/ground_truth", "ground_truth", "wider_face_split", ".")

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Truth:
    """A validation picture: its name, all its boxes (n, 4) as x, y, width, height, and of each level the rows that
    count (k,).
    """

    name: str
    boxes: Doubles
    counted: tuple[NDArray[np.intp], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """Detections in a picture: `xyxy` (m, 4) in pixels, `score` (m,), in any order and range."""

    xyxy: NDArray[np.floating]
    score: NDArray[np.floating]


def read_truth(folder: Path) -> list[Truth]:
    """The validation pictures in the order of `wider_face_val.mat`, found below `folder`.

    Raises MissingExtra without SciPy, BadArtefact where a list is missing or not as published.
    """
    place = next((folder / p for p in PLACES if (folder / p / f"wider_{LEVELS[0]}_val.mat").is_file()), None)
    if place is None:
        names = ", ".join(f"wider_{level}_val.mat" for level in ("face", *LEVELS))
        raise BadArtefact(
            f"{folder} has none of {', '.join(PLACES)} with {names}; they come in WIDER FACE's eval_tools"
        )
    whole = _load(place / "wider_face_val.mat", ("event_list", "file_list", "face_bbx_list"))
    levels = [_load(place / f"wider_{level}_val.mat", ("gt_list",)) for level in LEVELS]
    try:
        return [
            Truth(
                f"{_text(whole['event_list'][event][0])}/{_text(name[0])}.jpg",
                _cell(whole["face_bbx_list"], event, row).astype(np.float64).reshape(-1, 4),
                tuple(_cell(level["gt_list"], event, row).astype(np.intp).reshape(-1) - 1 for level in levels),
            )
            for event, files in enumerate(whole["file_list"])
            for row, name in enumerate(files[0])
        ]
    except (IndexError, ValueError, TypeError, AttributeError) as error:
        raise BadArtefact(
            f"{place}: the lists are not those of WIDER FACE ({type(error).__name__}: {error})"
        ) from error


def average_precisions(found: Sequence[Found], truth: Sequence[Truth]) -> dict[str, float]:
    """AP of each level, in 0..1; not a number where no face counts. `found` has a record for each of `truth`."""
    stretched = _stretched(found)
    overlaps = [_overlaps(record, picture.boxes) for record, picture in zip(stretched, truth, strict=True)]
    scores = {}
    for level, name in enumerate(LEVELS):
        curve, faces = np.zeros((2, THRESHOLDS)), 0
        for record, table, picture in zip(stretched, overlaps, truth, strict=True):
            faces += len(picture.counted[level])
            if len(picture.boxes) and len(record.score):
                counted = np.zeros(len(picture.boxes), bool)
                counted[picture.counted[level]] = True
                curve += _curve(record.score, table, counted)
        scores[name] = _area(curve[1] / faces, curve[1] / np.maximum(curve[0], 1)) if faces else float("nan")
    return scores


def _stretched(found: Sequence[Found]) -> list[Found]:
    """Scores of all pictures together stretched to 0..1, and each picture's best first."""
    every = np.concatenate([np.empty(0), *(record.score for record in found)])
    low, high = (every.min(), every.max()) if len(every) else (0.0, 0.0)
    out = []
    for record in found:
        score = (record.score.astype(np.float64) - low) / (high - low) if high > low else np.ones(len(record.score))
        order = np.argsort(-score, kind="stable")
        out.append(Found(record.xyxy[order], score[order]))
    return out


def _overlaps(record: Found, xywh: Doubles) -> Doubles:
    """IoU (m, n) of detections and boxes whose right and lower edges are pixels of theirs."""
    a, b = record.xyxy.astype(np.float64), np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]) + 1
    shared = np.clip(sides, 0, None).prod(-1)
    areas = (a[:, 2:] - a[:, :2] + 1).prod(-1)[:, None] + (b[:, 2:] - b[:, :2] + 1).prod(-1)[None]
    return np.asarray(shared / (areas - shared))


def _curve(score: NDArray[np.floating], table: Doubles, counted: NDArray[np.bool_]) -> Doubles:
    """(2, THRESHOLDS): proposals, and faces found, among the detections that reach each threshold."""
    best = table.argmax(axis=1)
    hit = table[np.arange(len(best)), best] >= IOU
    first = np.zeros(len(best), bool)
    first[np.unique(np.where(hit, best, -1), return_index=True)[1]] = True
    proposals = np.cumsum(~(hit & ~counted[best]))
    faces = np.cumsum(hit & counted[best] & first)
    thresholds = 1 - np.arange(1, THRESHOLDS + 1) / THRESHOLDS
    reached = np.searchsorted(-score, -thresholds, side="right")
    return np.stack([np.concatenate([[0], sums])[reached] for sums in (proposals, faces)]).astype(np.float64)


def _area(recall: Doubles, precision: Doubles) -> float:
    """Area under the highest precision at that recall or more (Pascal VOC since 2010)."""
    recall = np.concatenate([[0], recall, [1]])
    highest = np.maximum.accumulate(np.concatenate([precision, [0]])[::-1])[::-1]
    return float((np.diff(recall) * highest).sum())


def _load(file: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    scipy_io = need("scipy.io", "train")
    try:
        record: dict[str, Any] = scipy_io.loadmat(file)
    except (OSError, ValueError, NotImplementedError, TypeError) as error:
        raise BadArtefact(f"{file} cannot be read as a MATLAB file: {error}") from error
    missing = [key for key in keys if key not in record]
    if missing:
        raise BadArtefact(f"{file} has no {', '.join(missing)}; expected WIDER FACE's own file")
    return record


def _cell(cells: Any, event: int, row: int) -> NDArray[Any]:
    """What stands in a cell of a cell: event, then picture."""
    return np.asarray(cells[event][0][row][0])


def _text(cell: Any) -> str:
    return str(np.asarray(cell).reshape(-1)[0])
