"""WIDER FACE as it is published: its folders, its text files, and RetinaFace's landmarks for it.

Formats: `wider_face_split/readme.txt` of the data set (Yang et al. 2016), and `label.txt` of retinaface_gt_v1.1 (Deng
et al. 2020). The data set is for research that is not commercial; nothing of it is fetched or passed on here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...devices.errors import BadArtefact
from .annotations import Face, Labelled, Troubles, labelled

log = logging.getLogger(__name__)

WIDER = "wider:"
"""How `--data` begins for this data set."""
IMAGES = ("WIDER_{}/images", "{}/images")
BOXES = ("wider_face_split/wider_face_{}_bbx_gt.txt", "wider_face_{}_bbx_gt.txt")
LANDMARKS = ("{}/label.txt", "WIDER_{}/label.txt", "retinaface_gt_v1.1/{}/label.txt")
"""Where things are looked for, `train` or `val` in the braces; the second forms are RetinaFace's."""
PICTURES = (".jpg", ".jpeg", ".png")
INVALID = 7
"""The column of `x y w h blur expression illumination invalid occlusion pose` that says nobody could tell."""
POINTS = slice(4, 19)
"""The columns of `label.txt` with x, y and a flag for each of five points; -1 where unknown. A score may follow."""


@dataclass(slots=True)
class _Entry:
    """A picture's name, the line that it stands in, its faces, and how many lines were promised and seen."""

    name: str
    where: str
    faces: list[Face]
    promised: int | None = None
    seen: int = 0


def wider_training_set(folder: Path, split: str = "train") -> list[Labelled]:
    """The pictures of WIDER FACE below `folder`, in the order of its list.

    Faces marked invalid are to be ignored; landmarks come from RetinaFace's `label.txt` where it is there. Pictures
    without a face stay, with no boxes. Headers are read, pixels not. What cannot be used is named in the log with file
    and line, counted and left out. Raises BadArtefact where there is no list, or nothing is left of it.
    """
    images, boxes, landmarks = (_find(folder, places, split) for places in (IMAGES, BOXES, LANDMARKS))
    listed = boxes or landmarks
    if images is None or listed is None:
        raise BadArtefact(
            f"{folder} is not WIDER FACE as it is published: expected WIDER_{split}/images and "
            f"wider_face_split/wider_face_{split}_bbx_gt.txt, or {split}/images and {split}/label.txt of RetinaFace"
        )
    troubles = Troubles()
    entries = list(_read_boxes(boxes, troubles) if boxes else _read_labels(listed, troubles))
    if boxes and landmarks:
        _add_landmarks(entries, list(_read_labels(landmarks, troubles)), landmarks, troubles)
    found = [labelled(images / entry.name, entry.faces, entry.where, troubles) for entry in entries]
    items = [item for item in found if item is not None]
    if not items:
        raise BadArtefact(f"{listed} lists {len(entries)} pictures, and none of them can be read below {images}")
    log.info("%s", _summary(listed, items))
    if troubles.counts:
        log.warning("%s: left out or doubtful: %s", listed, troubles.summary())
    return items


def _find(folder: Path, places: tuple[str, ...], split: str) -> Path | None:
    return next((path for place in places if (path := folder / place.format(split)).exists()), None)


def find_images(folder: Path, split: str) -> Path:
    """The folder of pictures below `folder`; BadArtefact where there is none."""
    images = _find(folder, IMAGES, split)
    if images is None:
        raise BadArtefact(
            f"{folder} has no {' or '.join(p.format(split) for p in IMAGES)}; expected WIDER FACE's own folders"
        )
    return images


def _summary(file: Path, items: list[Labelled]) -> str:
    faces, ignored = sum(len(item.boxes) for item in items), sum(int(item.ignore.sum()) for item in items)
    marked = sum(int(np.isfinite(item.landmarks).all((1, 2)).sum()) for item in items)
    empty = sum(not len(item.boxes) for item in items)
    return (
        f"{file}: {len(items)} pictures, {empty} of them without a face; {faces} faces, {ignored} of them to be "
        f"ignored, {marked} with five landmarks"
    )


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """Place and text of each line that is not empty."""
    try:
        text = file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise BadArtefact(f"{file} cannot be opened: {error.strerror}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"{file}:{number}", line.strip()


def _read_boxes(file: Path, troubles: Troubles) -> Iterator[_Entry]:
    """Name, number of faces, and a line for each; where the number is 0, one line of zeros stands for none."""
    entry: _Entry | None = None
    for where, line in _lines(file):
        if line.lower().endswith(PICTURES):
            if entry is not None:
                yield _counted(entry, troubles)
            entry = _Entry(line, where, [])
        elif entry is None:
            troubles.add(where, "a line before the first picture's name", line[:60])
        elif entry.promised is None and line.isdecimal():
            entry.promised = int(line)
        elif entry.promised != 0 or line.replace("0", "").strip():
            entry.seen += 1
            if values := _numbers(line, where, (10,), troubles):
                entry.faces.append(Face(where, _xyxy(values), ignore=values[INVALID] != 0))
    if entry is not None:
        yield _counted(entry, troubles)


def _read_labels(file: Path, troubles: Troubles) -> Iterator[_Entry]:
    """`# name`, then a line for each face: x y w h, and mostly five points with a flag each, and a score."""
    entry: _Entry | None = None
    for where, line in _lines(file):
        if line.startswith("#"):
            if entry is not None:
                yield entry
            entry = _Entry(line[1:].strip(), where, [])
        elif entry is None:
            troubles.add(where, "a line before the first picture's name", line[:60])
        elif values := _numbers(line, where, (4, 19, 20), troubles):
            points = np.array(values[POINTS], np.float32).reshape(-1, 3)
            five = np.where(points[:, 2:] < 0, np.float32(np.nan), points[:, :2]) if len(points) else None
            entry.faces.append(Face(where, _xyxy(values), landmarks=five))
    if entry is not None:
        yield entry


def _counted(entry: _Entry, troubles: Troubles) -> _Entry:
    """`entry`; a number of lines that was not promised is a trouble."""
    if entry.promised != entry.seen:
        promised = "no number" if entry.promised is None else entry.promised
        troubles.add(entry.where, "another number of faces than promised", f"{promised} promised, {entry.seen} follow")
    return entry


def _add_landmarks(entries: list[_Entry], marked: list[_Entry], file: Path, troubles: Troubles) -> None:
    """Give each face the landmarks that stand beside the same box of the same picture."""
    by_box = {(entry.name, face.xyxy): face for entry in marked for face in entry.faces}
    for entry in entries:
        entry.faces = [_with_points(face, by_box.pop((entry.name, face.xyxy), None)) for face in entry.faces]
    for (name, _), face in by_box.items():
        if face.landmarks is not None:
            troubles.add(face.where, "landmarks of a box that the other list does not have", f"{name}, {file.name}")


def _with_points(face: Face, marked: Face | None) -> Face:
    return face if marked is None else replace(face, landmarks=marked.landmarks)


def _numbers(line: str, where: str, expected: tuple[int, ...], troubles: Troubles) -> list[float] | None:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    if len(values) in expected:
        return values
    wanted = " or ".join(map(str, expected))
    troubles.add(where, "a line that is no face", f"expected {wanted} numbers: {line[:60]}")
    return None


def _xyxy(values: list[float]) -> tuple[float, ...]:
    x, y, w, h = values[:4]
    return x, y, x + w, y + h
