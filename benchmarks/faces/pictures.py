"""The pictures that detectors are measured on: a folder's own, letterboxed, and mosaics of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helmsight.devices.errors import BadArtefact
from helmsight.runtime.pictures import read_picture
from helmsight.runtime.results import Floats, Image
from helmsight.runtime.tasks._picture import resize
from helmsight.train.face.annotations import read_folder

SET_HW = (320, 320)
MOSAIC_HW = (240, 320)
FILL = 0.62
"""Share of its cell that a picture takes: so that the median face of a 3x3 mosaic has the 24 pixels of the goal."""
ROUNDS = {2: 1, 3: 3, 5: 8}
"""Cells a side to how often each picture is in a mosaic: about as many mosaics of each kind."""


@dataclass(frozen=True, slots=True)
class Picture:
    """`image` (H, W, 3) uint8 BGR and its faces `boxes` (n, 4) float32 xyxy in pixels."""

    image: Image
    boxes: Floats


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Pictures of one size, named as in the table; `sha256` is of their pixels and boxes."""

    name: str
    pictures: tuple[Picture, ...]
    sha256: str

    @property
    def truth(self) -> list[Floats]:
        return [picture.boxes for picture in self.pictures]

    @property
    def median_face_px(self) -> float:
        """Median height of its faces."""
        boxes = np.concatenate(self.truth)
        return float(np.median(boxes[:, 3] - boxes[:, 1]))


def read_sets(folder: Path, limit: int | None = None) -> dict[str, PictureSet]:
    """The pictures of `folder` letterboxed (`320x320`) and their mosaics (`2x2`, `3x3`, `5x5`).

    `boxes.json` as `helmsight evaluate --data` takes it; `limit` keeps the first pictures with and without a face.
    Raises BadArtefact where a file is missing or broken.
    """
    pictures = _read(folder, limit)
    boxed = [_placed([(picture, (0, 0, *SET_HW))], SET_HW) for picture in pictures]
    sets = {"320x320": _set("320x320", boxed)}
    for cells, rounds in ROUNDS.items():
        name = f"{cells}x{cells}"
        sets[name] = _set(name, mosaics(pictures, cells, rounds))
    return sets


def mosaics(pictures: Sequence[Picture], cells: int, rounds: int, seed: int = 0) -> list[Picture]:
    """Each picture once a round in a cell of a picture of 320x240, on black, in a place of the cell drawn by `seed`."""
    rng = np.random.default_rng([seed, cells])
    height, width = MOSAIC_HW[0] // cells, MOSAIC_HW[1] // cells
    order = np.concatenate([rng.permutation(len(pictures)) for _ in range(rounds)])
    made = []
    for start in range(0, len(order), cells * cells):
        parts = []
        for cell, index in enumerate(order[start : start + cells * cells]):
            inner = np.array([height, width]) * FILL
            y, x = rng.random(2) * ([height, width] - inner) + np.array(divmod(cell, cells)) * [height, width]
            parts.append((pictures[index], (int(y), int(x), *inner.astype(int))))
        made.append(_placed(parts, MOSAIC_HW))
    return made


def _placed(parts: Sequence[tuple[Picture, tuple[int, ...]]], hw: tuple[int, int]) -> Picture:
    """Pictures letterboxed into (top, left, height, width) each, in the middle, and their boxes along."""
    canvas = np.zeros((*hw, 3), np.uint8)
    boxes = [np.empty((0, 4), np.float32)]
    for picture, (top, left, height, width) in parts:
        have = picture.image.shape[:2]
        scale = min(height / have[0], width / have[1])
        size = max(1, round(have[0] * scale)), max(1, round(have[1] * scale))
        y, x = top + (height - size[0]) // 2, left + (width - size[1]) // 2
        canvas[y : y + size[0], x : x + size[1]] = resize(picture.image, size)
        ratio = np.array([size[1] / have[1], size[0] / have[0]] * 2)
        boxes.append((picture.boxes * ratio + [x, y, x, y]).astype(np.float32))
    return Picture(canvas, np.concatenate(boxes))


def _set(name: str, pictures: Sequence[Picture]) -> PictureSet:
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(picture.image.tobytes() + picture.boxes.tobytes())
    return PictureSet(name, tuple(pictures), digest.hexdigest())


def _read(folder: Path, limit: int | None) -> list[Picture]:
    items = read_folder(folder)
    if any(item.ignore.any() for item in items):
        raise BadArtefact(f"{folder / 'boxes.json'} has boxes to ignore; expected none: every face counts here")
    shown, empty = ([i for i in items if len(i.boxes) > 0], [i for i in items if not len(i.boxes)])
    return [Picture(read_picture(i.file), i.boxes) for i in (*shown[:limit], *empty[:limit])]
