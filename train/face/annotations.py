"""Pictures whose faces somebody marked: one record for every set, and the folders with `boxes.json`.

Pictures stay on disk until they are used; what is wrong with an annotation is found, named and counted before that.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import BadArtefact, UsageError
from ...runtime.pictures import picture_hw
from ...runtime.results import Floats

log = logging.getLogger(__name__)

KINDS = ("images", "negatives")
NAMED = 5
"""Troubles of one kind that are named in the log before they are only counted."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture and its faces, in pixels of what `read_picture(file)` gives.

    `boxes` (n, 4) float32 xyxy lie within the picture; `ignore` (n,) bool marks what shall neither be learnt nor count
    in a score; `landmarks` (n, 5, 2) float32 x, y in the order of `Faces`, NaN where unknown. None is face-free.
    """

    file: Path
    boxes: Floats
    ignore: NDArray[np.bool_]
    landmarks: Floats


@dataclass(frozen=True, slots=True)
class Face:
    """One face as an annotation says it; `where` names the file and the place in it."""

    where: str
    xyxy: tuple[float, ...]
    ignore: bool = False
    landmarks: Floats | None = None


class Troubles:
    """What of a set cannot be used: the first few of a kind are named in the log, and all are counted."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, where: str, kind: str, detail: str = "") -> None:
        """Log it, or only count it."""
        self.counts[kind] += 1
        if self.counts[kind] <= NAMED:
            log.warning("%s: %s%s", where, kind, f" ({detail})" if detail else "")
        elif self.counts[kind] == NAMED + 1:
            log.warning("%s: %s; further ones are only counted", where, kind)

    def summary(self) -> str:
        """`3 times no such picture, 1 time ...`, or nothing."""
        return ", ".join(f"{n} {'time' if n == 1 else 'times'} {kind}" for kind, n in sorted(self.counts.items()))


def data_folder(data: str) -> Path:
    """The folder that `--data` means, `wider:DIR` or `DIR`; UsageError where it is none."""
    folder = Path(data.removeprefix("wider:"))
    if not folder.is_dir():
        raise UsageError(f"--data {data}: no such folder; expected wider:DIR, or a folder with boxes.json")
    return folder


def read_folder(folder: Path, troubles: Troubles | None = None) -> list[Labelled]:
    """The pictures of a folder with `boxes.json` (docs/evaluate.md).

    It has lists `images` and, of pictures without a face, `negatives`: each item with `file`, relative to the folder,
    `xyxy`, boxes in pixels, and perhaps `ignore`, a list of true and false, and `landmarks`, for each box five x, y or
    null. Raises BadArtefact where the file is broken. A picture that is missing or none goes to `troubles` and is left
    out, or, without, raises BadArtefact: a score must be that of the whole set.
    """
    file = folder / "boxes.json"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        items = [(f"{file}: {kind}[{i}]", x) for kind in KINDS for i, x in enumerate(record.get(kind, []))]
        if "images" not in record:
            raise KeyError("images")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadArtefact(f"{file} cannot be read ({type(error).__name__}: {error}); see docs/evaluate.md") from error
    entries = []
    for where, item in items:
        try:
            entries.append((folder / item["file"], _faces(where, item)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if troubles is None:
                raise BadArtefact(
                    f"{where} cannot be read ({type(error).__name__}: {error}); see docs/evaluate.md"
                ) from error
            troubles.add(where, "an item that cannot be read", f"{type(error).__name__}: {error}")
    found = [labelled(path, faces, f"{file}", troubles) for path, faces in entries]
    return [item for item in found if item is not None]


def labelled(file: Path, faces: Iterable[Face], where: str, troubles: Troubles | None) -> Labelled | None:
    """`file` with those of its faces that can be used: cut to the picture, without those of no size or outside.

    None where the picture is missing or cannot be read, which goes to `troubles`; without, it raises BadArtefact.
    """
    try:
        height, width = picture_hw(file)
    except BadArtefact as error:
        if troubles is None:
            raise BadArtefact(f"{error}; {where} lists it") from error
        troubles.add(where, "a picture that cannot be read", str(error))
        return None
    kept = []
    named = Troubles() if troubles is None else troubles
    for face in faces:
        reason = _why_not(face.xyxy, (height, width))
        if reason is None:
            kept.append(_checked(face, named))
        else:
            named.add(face.where, reason, " ".join(f"{v:g}" for v in face.xyxy))
    boxes = np.array([face.xyxy for face in kept], np.float64).reshape(-1, 4)
    unknown = np.full((5, 2), np.nan, np.float32)
    points = [unknown if face.landmarks is None else face.landmarks for face in kept]
    return Labelled(
        file,
        np.clip(boxes, 0, [width, height, width, height]).astype(np.float32),
        np.array([face.ignore for face in kept], bool),
        np.array(points, np.float32).reshape(-1, 5, 2),
    )


def _faces(where: str, item: dict[str, Any]) -> list[Face]:
    boxes = item.get("xyxy", [])
    ignore, landmarks = item.get("ignore") or [False] * len(boxes), item.get("landmarks") or [None] * len(boxes)
    if not len(boxes) == len(ignore) == len(landmarks):
        raise ValueError(f"{where} has {len(boxes)} boxes, {len(ignore)} in ignore, {len(landmarks)} in landmarks")
    faces = []
    for box, ignored, points in zip(boxes, ignore, landmarks, strict=True):
        if len(box) != 4:
            raise ValueError(f"{where} has a box of {len(box)} numbers; expected left, top, right, bottom")
        five = None if points is None else np.array(points, np.float32).reshape(5, 2)
        faces.append(Face(where, tuple(float(v) for v in box), bool(ignored), five))
    return faces


def _checked(face: Face, troubles: Troubles) -> Face:
    """Without landmarks where they cannot be those of this face: the eyes in one place, or a point far outside."""
    marks = face.landmarks
    if marks is None or np.isnan(marks).any():
        return face
    left, top, right, bottom = face.xyxy
    size = np.array([right - left, bottom - top])
    far = ((marks < np.array([left, top]) - size) | (marks > np.array([right, bottom]) + size)).any()
    if not far and np.abs(marks[0] - marks[1]).max() >= 0.02 * size.max():
        return face
    troubles.add(face.where, "landmarks that are not those of a face")
    return replace(face, landmarks=None)


def _why_not(xyxy: tuple[float, ...], hw: tuple[int, int]) -> str | None:
    left, top, right, bottom = xyxy
    if not all(map(isfinite, xyxy)):
        return "a box that is not finite"
    if right <= left or bottom <= top:
        return "a box without a size"
    if right <= 0 or bottom <= 0 or left >= hw[1] or top >= hw[0]:
        return "a box outside of its picture"
    return None
