"""What is said of detections: area, counts at the threshold, calibration, landmarks, and how the boxes are off.

Detections are `Found` in pictures, truth is boxes (n, 4) a picture. Which detection is right is decided in one place
for all detectors: `train/face/evaluate.py`; how far its landmarks are off in `train/face/landmarks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helmsight.runtime.results import Faces, Floats
from helmsight.train.face import calibrate
from helmsight.train.face.evaluate import IOU, Matches, average_precision, match
from helmsight.train.face.landmarks import distance, eyes, pairs_of

from .peers import Found

AGREE = 0.1
"""Mean distance, in distances of the eyes, up to which two teachers agree on a face's landmarks."""
CALIBRATION_FROM = 0.1


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """Counts at a detector's default threshold; `false_per_50` in pictures that show no face."""

    precision: float
    recall: float
    false_per_50: float


@dataclass(frozen=True, slots=True)
class BoxFit:
    """The box that a detector means, from the one it gives: shifted by `dx`, `dy` of its size, then `sw`, `sh` times as
    wide and high.
    """

    dx: float
    dy: float
    sw: float
    sh: float

    def __call__(self, xyxy: Floats) -> Floats:
        size = xyxy[:, 2:] - xyxy[:, :2]
        centre = (xyxy[:, 2:] + xyxy[:, :2]) / 2 + size * [self.dx, self.dy]
        half = size * [self.sw, self.sh] / 2
        return np.concatenate([centre - half, centre + half], 1).astype(np.float32)


def matched(found: Sequence[Found], truth: Sequence[Floats], fit: BoxFit | None = None) -> Matches:
    """All detections with whether they are right, at IoU 0.5."""
    return match([_record(f, fit) for f in found], truth, IOU)


def precision_over_recall(found: Sequence[Found], truth: Sequence[Floats], fit: BoxFit | None = None) -> float:
    """Average precision."""
    return average_precision(matched(found, truth, fit))


def at_threshold(found: Sequence[Found], truth: Sequence[Floats]) -> AtThreshold:
    """Precision, recall and false boxes of detections that were made at the default threshold."""
    matches = matched(found, truth)
    hits, empty = (
        int(matches.right.sum()),
        [len(f.score) for f, boxes in zip(found, truth, strict=True) if not len(boxes)],
    )
    false = 50 * sum(empty) / len(empty) if empty else float("nan")
    return AtThreshold(hits / max(1, len(matches.score)), hits / max(1, matches.faces), false)


def calibration_error(found: Sequence[Found], truth: Sequence[Floats]) -> float:
    """That of all detections with a score from 0.1 on, 0 where there is none."""
    matches = matched(found, truth)
    kept = matches.score >= CALIBRATION_FROM
    return calibrate.calibration_error(matches.score[kept], matches.right[kept])


def fit_boxes(found: Sequence[Found], truth: Sequence[Floats]) -> BoxFit:
    """The one correction for all boxes: medians over the faces that were found at all."""
    pairs = [(f.xyxy[i], boxes[face]) for f, boxes in zip(found, truth, strict=True) for face, i in pairs_of(f, boxes)]
    if not pairs:
        return BoxFit(0, 0, 1, 1)
    given, meant = (np.stack(side) for side in zip(*pairs, strict=True))
    size, wanted = given[:, 2:] - given[:, :2], meant[:, 2:] - meant[:, :2]
    shift = (meant[:, 2:] + meant[:, :2] - given[:, 2:] - given[:, :2]) / 2 / size
    dx, dy = np.median(shift, 0)
    sw, sh = np.median(wanted / size, 0)
    return BoxFit(float(dx), float(dy), float(sw), float(sh))


def teach_landmarks(teachers: Sequence[Sequence[Found]], truth: Sequence[Floats]) -> list[Floats]:
    """Landmarks (n, 5, 2) a picture: the mean of the teachers that agree with another one, NaN where none does."""
    taught = []
    for at, boxes in enumerate(truth):
        seen = np.full((len(teachers), len(boxes), 5, 2), np.nan, np.float32)
        for teacher, found in enumerate(teachers):
            for face, i in pairs_of(found[at], boxes):
                seen[teacher, face] = found[at].landmarks[i]
        taught.append(np.array([_agreed(seen[:, face]) for face in range(len(boxes))], np.float32).reshape(-1, 5, 2))
    return taught


def _agreed(seen: Floats) -> Floats:
    """One face's landmarks from those of each teacher (t, 5, 2), NaN where it did not see the face."""
    known = seen[~np.isnan(seen).any((1, 2))]
    near = [any(distance(a, b) <= AGREE * eyes(a) for j, b in enumerate(known) if j != i) for i, a in enumerate(known)]
    return np.asarray(known[near].mean(0) if any(near) else np.full((5, 2), np.nan), np.float32)


def _record(found: Found, fit: BoxFit | None) -> Faces:
    xyxy = fit(found.xyxy) if fit else found.xyxy
    return Faces(xyxy, found.score, np.zeros((len(found.score), 5, 2), np.float32))
