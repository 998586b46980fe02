"""The tables, goals and notes of the face benchmark, from what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from helmsight.train.face.landmarks import landmark_error

from ..harness import Goal
from . import measures
from .looking import FIRST, Seen
from .peers import PEERS
from .pictures import PictureSet
from .timing import Timing

TEACHERS = ("RetinaFace-mnet0.25", "CenterFace", "libfacedetection")
BASE = "MediaPipe short range"
AP_GOALS = {FIRST: 0.98, "3x3": 0.85, "5x5": 0.6}
NOTES = (
    "What made the labels: the boxes are those of boxes.json; in the set that this was written for, the mean of those "
    "of RetinaFace, CenterFace and libfacedetection where two agree, then looked at. These three are flattered, in AP "
    "and in the landmarks, whose truth is always the mean of those of the three that agree.",
    "Time is processor time of one thread on one core, all detectors in turns in the same run; the ratio is the median "
    "of the ratios of one round. Each at its own default: libfacedetection, RetinaFace, CenterFace, dlib and Haar take "
    "the picture at its own size, MediaPipe and BlazeFace shrink it to theirs, helmsight to its usual input.",
    "AP is of all detections from a score of 0.02 on (0.002 for helmsight, whose scores are probabilities), IoU 0.5; "
    "precision, recall and false boxes are of those at the default threshold, on pictures letterboxed to 320x320 "
    "(those without a face among them). In mosaics, at 320x240, a picture takes 0.62 of its cell's width and height.",
    "In the table of corrected boxes, all boxes of a detector are moved and scaled by one correction, fitted to the "
    "labels of this very set, so that nobody loses by drawing faces tighter or wider.",
    "dlib and Haar give no probability and no landmarks. Landmarks of MediaPipe and BlazeFace are eyes, nose and the "
    "mouth's centre. A landmark error is of the faces that this detector found, in distances of the eyes.",
    "The calibration error is over detections from a score of 0.1 on, in the pictures of 320x320 and of 3x3.",
    "MFLOPs are two a multiply-accumulate, at 320x240 for networks of any size; libfacedetection's as published.",
)


@dataclass(frozen=True, slots=True)
class Detector:
    """One that was measured: `version`, `threshold`, whether its score means a `probability`, `size` (parameters and
    MFLOPs), what it has `seen`, and its `timings` of a 640x480 and of a 320x240 frame.
    """

    name: str
    version: str
    threshold: float
    probability: bool
    size: tuple[int | None, float | None]
    seen: Seen
    timings: tuple[Timing, Timing]

    @property
    def is_peer(self) -> bool:
        return self.name in PEERS


def accuracy(detectors: Sequence[Detector], sets: Mapping[str, PictureSet]) -> list[dict[str, Any]]:
    """A row a detector; peers that are not installed have one that says so."""
    by_name = {d.name: d for d in detectors}
    truth = sets[FIRST].truth
    teachers = [by_name[name].seen.shown for name in TEACHERS if name in by_name]
    taught = measures.teach_landmarks(teachers, truth) if len(teachers) > 1 else None
    rows = [_accuracy(d, sets, taught) for d in detectors]
    blank = dict.fromkeys(rows[0]) if rows else {"detector": None}
    return rows + [blank | {"detector": f"{name}: not installed"} for name in PEERS if name not in by_name]


def _accuracy(d: Detector, sets: Mapping[str, PictureSet], taught: Any) -> dict[str, Any]:
    truth = sets[FIRST].truth
    row: dict[str, Any] = {"detector": d.name}
    row |= {f"AP {name}": measures.precision_over_recall(d.seen.ranked[name], s.truth) for name, s in sets.items()}
    shown = measures.at_threshold(d.seen.shown, truth)
    row |= {"threshold": d.threshold, "precision": shown.precision, "recall": shown.recall}
    row["false boxes in 50 pictures without a face"] = _known(shown.false_per_50)
    error, faces = landmark_error(d.seen.shown, truth, taught) if taught else (math.nan, 0)
    row |= {"landmark error %": _known(100 * error), "of faces": faces if faces else None}
    for name in (FIRST, "3x3"):
        error = measures.calibration_error(d.seen.ranked[name], sets[name].truth)
        row[f"calibration error {name}"] = error if d.probability else None
    return row


def costs(detectors: Sequence[Detector]) -> list[dict[str, Any]]:
    """What each takes: size of the network, and time."""
    return [
        {
            "detector": d.name,
            "version": d.version,
            "parameters": d.size[0],
            "MFLOPs": d.size[1],
            "ms of 640x480": d.timings[0].cpu_ms,
            "over MediaPipe's": d.timings[0].ratio,
            "on the wall": d.timings[0].wall_ms,
            "ms of 320x240": d.timings[1].cpu_ms,
            "over MediaPipe's at 320x240": d.timings[1].ratio,
        }
        for d in detectors
    ]


def fitted(detectors: Sequence[Detector], sets: Mapping[str, PictureSet]) -> list[dict[str, Any]]:
    """AP once each detector's boxes are moved and scaled by the one correction that suits the labels best."""
    rows = []
    for d in detectors:
        fit = measures.fit_boxes(d.seen.shown, sets[FIRST].truth)
        row: dict[str, Any] = {"detector": d.name}
        for name, s in sets.items():
            row[f"AP {name}"] = measures.precision_over_recall(d.seen.ranked[name], s.truth, fit)
        rows.append(row | {"right by": fit.dx, "down by": fit.dy, "width times": fit.sw, "height times": fit.sh})
    return rows


def goals(rows: Sequence[Mapping[str, Any]], cost: Sequence[Mapping[str, Any]], name: str) -> list[Goal]:
    """What the bundle `name` has to reach; a figure that needs a peer that is not installed is unknown."""
    ours = {k: v for row in (*rows, *cost) if row["detector"] == name for k, v in row.items()}
    peers = [row for row in rows if row["detector"] in PEERS]
    made = [Goal(f"AP {key}", ours[f"AP {key}"], limit, at_least=True) for key, limit in AP_GOALS.items()]
    for key in [k for k in ours if k.startswith("AP ")]:
        best = max(peers, key=lambda row: float(row[key]), default=None)
        than, ahead = (best["detector"], ours[key] - best[key]) if best else ("the best peer", None)
        made.append(Goal(f"{key} less that of {than}", ahead, 0, at_least=True))
    limits = {
        "false boxes in 50 pictures without a face": 1,
        "landmark error %": 6,
        "parameters": 100_000,
        "MFLOPs": 150,
        "over MediaPipe's": 1,
    }
    return made + [Goal(figure, ours[figure], limit, at_least=False) for figure, limit in limits.items()]


def _known(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value
