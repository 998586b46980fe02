"""Batches of training pictures: the same for a seed, an epoch and a place in it, made in a process of their own."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ...runtime.bundle import sha256
from ...runtime.fetch import cache_folder
from ...runtime.results import Image
from ...runtime.tasks import Letterbox
from ..problem import Batch, Shard
from .annotations import Troubles, data_folder, read_folder
from .backgrounds import draw_background, load_backgrounds
from .landmarks import is_turned
from .photographs import Photographs, flat, from_set, load_photographs
from .pool import Head, cut_heads, face_pool
from .scene import Scene, compose, photograph
from .teachers import Labels
from .view import Region, carry, join, show
from .wear import dress
from .wider import WIDER, wider_training_set

log = logging.getLogger(__name__)

IMAGE_HW = (240, 320)
SIZES = ((160, 192), (240, 320), (320, 320), (320, 256))
SIZE_SHARES = (0.2, 0.2, 0.5, 0.1)
"""Some batches are of smaller pictures: for the same work more faces are seen in them. Near faces need the larger."""
PLAIN = 0.5
"""Share of single photographs that are shown as sharp as they are and undressed: landmarks are learnt from these."""
TURNED_OFTEN = 3
"""Faces in half profile are shown so many times as often as they come: they are few, and the hardest to mark."""
MOST_CUT = 2000
"""Photographs, from the first, that heads are cut out of."""
MOST = 256
"""Faces of one picture that are learnt from; the largest, where there are more."""
POOL_SIZE = 8000
VALIDATION_SEED = 1_000_003
"""Mosaics of this seed are those of validation."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture (H, W, 3) uint8 BGR of the validation set and its faces."""

    image: Image
    labels: Labels


@dataclass(frozen=True, slots=True)
class Material:
    """What pictures are made of: generated heads, heads cut out of photographs, photographs, and backgrounds."""

    generated: list[Head]
    cut: list[Head]
    photographs: Photographs
    backgrounds: list[Image]
    sha256: dict[str, str]


@lru_cache(maxsize=2)
def load_material(cache: Path, data: str | None = None, pool_size: int = POOL_SIZE) -> Material:
    """The part for training, fetched, made and labelled on first use (some minutes).

    With `data`, `wider:DIR` or a folder with `boxes.json`, its pictures stand in place of the packages' photographs.
    """
    photographs = load_annotated(data) if data else load_photographs(cache)
    pool = face_pool(cache, pool_size)
    ours = photographs if data else photographs.split(validation=False)
    return Material(
        _favour_turned(pool.heads),
        _favour_turned(cut_heads(ours.faces[:MOST_CUT])),
        replace(ours, faces=tuple(replace(p, weight=p.weight * _often(p.labels)) for p in ours.faces)),
        load_backgrounds(cache),
        {"generated": pool.sha256, "photographs": photographs.sha256},
    )


def _favour_turned(heads: list[Head]) -> list[Head]:
    return heads + [h for h in heads if is_turned(h.landmarks)] * (TURNED_OFTEN - 1)


def _often(labels: Labels) -> float:
    return TURNED_OFTEN if any(map(is_turned, labels.landmarks[~labels.doubtful])) else 1.0


def load_annotated(data: str) -> Photographs:
    """The pictures of `wider:DIR` or of a folder with `boxes.json`; what is wrong with them is named and left out."""
    folder = data_folder(data)
    troubles = Troubles()
    items = wider_training_set(folder) if data.startswith(WIDER) else read_folder(folder, troubles)
    if troubles.counts:
        log.warning("--data %s: left out: %s", data, troubles.summary())
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.file.relative_to(folder)} {sha256(item.file)}".encode())
        for part in (item.boxes, item.ignore, item.landmarks):
            digest.update(part.tobytes())
    return from_set(items, digest.hexdigest())


def make_picture(rng: np.random.Generator, material: Material, hw: tuple[int, int]) -> Scene:
    """A training picture `hw` (H, W, 3) uint8 BGR and its faces, the same for one `rng`.

    Composed, a photograph, or a grid of photographs. Some fill a part only, top left, as a letterboxed camera picture
    does.
    """
    inner = _inner(rng, hw)
    kind, plain = rng.random(), False
    if kind < 0.2:
        heads = material.generated if rng.random() < 0.5 or not material.cut else material.cut
        image, labels = compose(rng, heads, material.backgrounds, inner)
    else:
        grid = int(rng.integers(2, 6)) if kind < 0.4 else 1
        plain = grid == 1 and rng.random() < PLAIN
        image, labels = _grid(rng, material, inner, grid, wear=not plain)
    sure = labels.boxes[~labels.doubtful]
    smallest = 0.0 if plain else float(np.min(sure[:, 3] - sure[:, 1], initial=hw[0]))
    whole = np.zeros((*hw, 3), np.uint8)
    whole[: inner[0], : inner[1]] = photograph(rng, image, smallest)
    return whole, labels


def _grid(rng: np.random.Generator, material: Material, hw: tuple[int, int], count: int, wear: bool) -> Scene:
    """`count` by `count` photographs beside each other, on black or on some background; `wear`: faces are dressed."""
    image = np.zeros((*hw, 3), np.uint8) if rng.random() < 0.4 else draw_background(rng, material.backgrounds, hw)
    ys, xs = (np.linspace(0, n, count + 1).astype(int) for n in hw)
    parts = []
    for top, bottom in pairwise(ys):
        for left, right in pairwise(xs):
            region = Region(int(left), int(top), int(right - left), int(bottom - top))
            parts.append(show(rng, material.photographs.pick(rng, others=0.3), image, region))
    labels = join(parts)
    if wear:
        for box, marks in zip(labels.boxes[~labels.doubtful], labels.landmarks[~labels.doubtful], strict=True):
            dress(rng, image, box, marks)
    return image, labels


def _inner(rng: np.random.Generator, hw: tuple[int, int]) -> tuple[int, int]:
    kind = rng.random()
    if kind < 0.2:
        return hw[0], int(hw[1] * rng.uniform(0.55, 1))
    if kind < 0.5:
        return int(hw[0] * rng.uniform(0.5, 1)), hw[1]
    return hw


@lru_cache(maxsize=1)
def validation_set() -> tuple[Shown, ...]:
    """The photographs held back, with and without faces, and as many mosaics of them, 2 to 5 a side."""
    photographs = load_photographs(cache_folder(), held_back=True).split(validation=True)
    alone = [Shown(flat(p.read()), p.labels) for p in (*photographs.faces, *photographs.others)]
    mosaics = [_mosaic(np.random.default_rng([VALIDATION_SEED, i]), photographs, i) for i in range(len(alone))]
    return tuple(alone + mosaics)


def _mosaic(rng: np.random.Generator, photographs: Photographs, index: int) -> Shown:
    """One of `index % 4 + 2` photographs a side, each as large as its cell lets it."""
    count = index % 4 + 2
    hw = IMAGE_HW[0] // count, IMAGE_HW[1] // count
    image, parts = np.zeros((*IMAGE_HW, 3), np.uint8), []
    fit = Letterbox(hw)
    for row in range(count):
        for column in range(count):
            picture, labels = photographs.pick(rng, others=0.5)
            corner = np.array([column * hw[1], row * hw[0]])
            image[corner[1] : corner[1] + hw[0], corner[0] : corner[0] + hw[1]] = fit(flat(picture))
            matrix = np.column_stack([np.eye(2) * fit.scale(picture.shape[:2]), corner])
            parts.append(carry(labels, matrix, picture.shape[:2], Region(0, 0, *IMAGE_HW[::-1])))
    return Shown(image, join(parts))


def samples(n: int, seed: int) -> NDArray[np.uint8]:
    """(n, 240, 320, 3) uint8 BGR: inputs as the network meets them, for parity checks."""
    pictures = validation_set()
    order = np.random.default_rng(seed).permutation(len(pictures))
    return np.stack([Letterbox(IMAGE_HW)(pictures[order[i % len(order)]].image) for i in range(n)])


class Batches(Dataset[Batch]):
    """Item `step` is this shard's part of batch `step` of an epoch.

    Images (B, H, W, 3) uint8 BGR, H and W one for the batch; targets as `detection_loss` takes them, with room for the
    most faces that a picture of the batch has.
    """

    def __init__(self, material: Material, key: tuple[int, int], batch_size: int, steps: int, shard: Shard) -> None:
        self._material, self._key = material, key
        self._batch_size, self._steps, self._shard = batch_size, steps, shard

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> Batch:
        rows = range(step * self._batch_size, (step + 1) * self._batch_size)[self._shard.rows(self._batch_size)]
        hw = SIZES[np.random.default_rng([*self._key, step, 1]).choice(len(SIZES), p=SIZE_SHARES)]
        made = [make_picture(np.random.default_rng([*self._key, row]), self._material, hw) for row in rows]
        faces = [_largest(labels) for _, labels in made]
        most = max(1, *(len(labels.boxes) for labels in faces))
        boxes, landmarks = torch.zeros((len(rows), most, 4)), torch.zeros((len(rows), most, 5, 2))
        doubtful = torch.zeros((len(rows), most), dtype=torch.bool)
        for i, labels in enumerate(faces):
            for all_, part in ((boxes, labels.boxes), (landmarks, labels.landmarks), (doubtful, labels.doubtful)):
                all_[i, : len(part)] = torch.from_numpy(part)
        images = torch.from_numpy(np.stack([image for image, _ in made]))
        return images, {"boxes": boxes, "landmarks": landmarks, "doubtful": doubtful}


def _largest(labels: Labels) -> Labels:
    area = (labels.boxes[:, 2:] - labels.boxes[:, :2]).prod(1)
    kept = np.argsort(-area, kind="stable")[:MOST]
    return Labels(labels.boxes[kept], labels.landmarks[kept], labels.doubtful[kept])
