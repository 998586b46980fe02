"""How far landmarks are off: which detection is of which face, and their mean distance over that of the eyes.

The distance of the eyes' centres is the usual unit ("inter-pupil": Sagonas et al. 2013, 300 Faces in-the-Wild).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...runtime.results import Floats
from .boxes import overlap

LOOSE_IOU = 0.3
"""From here on a detection is of that face, whatever its box convention."""
TURNED = 0.2
"""How far off the nose of a face in half profile is, in distances of the eyes."""


class Found(Protocol):
    """Detections in one picture: `xyxy` (n, 4) and `landmarks` (n, k, 2) in its pixels."""

    @property
    def xyxy(self) -> NDArray[np.float32]: ...
    @property
    def landmarks(self) -> NDArray[np.float32]: ...


def pairs_of(found: Found, boxes: Floats) -> list[tuple[int, int]]:
    """Face and detection, for each face that one overlaps by 0.3: the one that overlaps it most, each used once."""
    if not len(found.xyxy) or not len(boxes):
        return []
    table = overlap(boxes, found.xyxy)
    pairs = []
    for _ in range(min(table.shape)):
        face, i = divmod(int(table.argmax()), table.shape[1])
        if table[face, i] < LOOSE_IOU:
            break
        pairs.append((face, i))
        table[face], table[:, i] = -1, -1
    return pairs


def landmark_error(found: Iterable[Found], truth: Iterable[Floats], marked: Iterable[Floats]) -> tuple[float, int]:
    """Mean distance over the points, in distances of the eyes, and the number of faces that have it.

    `truth` has the boxes (n, 4) of each picture, `marked` their landmarks (n, 5, 2), NaN where unknown; NaN where none
    is known of a face that was found. A detector with four points is compared at eyes, nose and the mouth's centre.
    """
    errors = []
    for f, boxes, marks in zip(found, truth, marked, strict=True):
        for face, i in pairs_of(f, boxes):
            wanted, given = marks[face], f.landmarks[i]
            if np.isnan(wanted).any() or not len(given):
                continue
            if len(given) == 4:
                wanted = np.concatenate([wanted[:3], wanted[3:].mean(0, keepdims=True)])
            errors.append(distance(given, wanted) / eyes(wanted))
    return (float(np.mean(errors)) if errors else float("nan")), len(errors)


def distance(a: Floats, b: Floats) -> float:
    """Mean distance of the points of `a` from those of `b`, both (k, 2)."""
    return float(np.linalg.norm(a - b, axis=-1).mean())


def eyes(points: Floats) -> float:
    """Distance of the first two of the points (k, 2)."""
    return max(1e-6, float(np.linalg.norm(points[0] - points[1])))


def is_turned(points: Floats) -> bool:
    """Whether a face (5, 2) is seen from the side: its nose is off the middle of the eyes by a fifth of their distance.

    Along the line of the eyes. False where the points are not known.
    """
    across = points[1] - points[0]
    off = (points[2] - (points[0] + points[1]) / 2) @ across
    return bool(abs(off) > TURNED * (across @ across))
