"""Batches of composed pictures: the same for a seed, an epoch and a place in it, made in a process of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from ...runtime.results import Floats, Image
from ..fetch import cache_folder
from ..problem import Batch, Shard
from .backgrounds import load_backgrounds
from .pool import face_pool
from .scene import COUNTS, Material, compose

IMAGE_HW = (240, 320)
SMALL_HW = (160, 192)
SMALL_SHARE = 0.6
"""Most batches are of smaller pictures: for the same work a face more is seen in them than empty wall."""
POOL_SIZE = 8000
VALIDATION_SEED = 1_000_003
"""Pictures of this seed are never trained on, and their faces are those that are held back."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture (H, W, 3) uint8 BGR and its faces (n, 4) float32 xyxy in pixels."""

    image: Image
    boxes: Floats


@lru_cache(maxsize=2)
def load_material(cache: Path, validation: bool, pool_size: int = POOL_SIZE) -> Material:
    """The faces and backgrounds, fetched and made on first use (about two minutes)."""
    pool = face_pool(cache, pool_size)
    return Material(pool.split(validation), load_backgrounds(cache))


@lru_cache(maxsize=2)
def validation_set(n: int, seed: int = VALIDATION_SEED) -> tuple[Labelled, ...]:
    """The first `n` validation pictures of `seed`, kept for the next epoch."""
    material = load_material(cache_folder(), validation=True)
    return tuple(Labelled(*compose(np.random.default_rng([seed, i]), material, IMAGE_HW)) for i in range(n))


def samples(n: int, seed: int) -> NDArray[np.uint8]:
    """(n, 240, 320, 3) uint8 BGR: inputs as the network meets them, for parity checks."""
    return np.stack([labelled.image for labelled in validation_set(n, VALIDATION_SEED + 1 + seed)])


class Batches(Dataset[Batch]):
    """Item `step` is this shard's part of batch `step` of an epoch.

    Images (B, H, W, 3) uint8 BGR, H and W one for the batch; targets `boxes` (B, 6, 4) float32 xyxy, rows of zeros
    where there is no face.
    """

    def __init__(self, material: Material, key: tuple[int, int], batch_size: int, steps: int, shard: Shard) -> None:
        self._material, self._key = material, key
        self._batch_size, self._steps, self._shard = batch_size, steps, shard

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> Batch:
        rows = range(step * self._batch_size, (step + 1) * self._batch_size)[self._shard.rows(self._batch_size)]
        small = np.random.default_rng([*self._key, step, 1]).random() < SMALL_SHARE
        hw = SMALL_HW if small else IMAGE_HW
        images = torch.empty((len(rows), *hw, 3), dtype=torch.uint8)
        boxes = torch.zeros((len(rows), len(COUNTS) - 1, 4))
        for i, row in enumerate(rows):
            image, found = compose(np.random.default_rng([*self._key, row]), self._material, hw)
            images[i] = torch.from_numpy(image)
            boxes[i, : len(found)] = torch.from_numpy(found)
        return images, {"boxes": boxes}

    def stream(self, workers: int) -> Iterator[Batch]:
        """All batches in order, made ahead of time by `workers` processes (0: in this one)."""
        ahead = 4 if workers else None
        loader: DataLoader[Batch] = DataLoader(
            self, batch_size=None, num_workers=workers, prefetch_factor=ahead, worker_init_fn=_one_thread
        )
        yield from loader


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)
