"""What the navigation network learns from: collections of frames on disk, and augmented batches of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch.utils.data import Dataset

from ...runtime.fetch import cache_folder, locked
from ...runtime.results import Image
from ...runtime.sim.looks import SEEDS, Split
from ..problem import Batch, Shard
from .collect import FRAMES_PER_COURSE, THING_FRAMES, Frames, collect, join, load_frames

VERSION = 11
"""Goes up when the simulator or the labels change: older collections are not used any more."""
VALIDATION_COURSES = 36


@dataclass(frozen=True, slots=True)
class Collection:
    """One file of frames: `courses` courses of a split from `first` on; `driver` None is the expert with noise."""

    file: Path
    split: Split
    first: int
    courses: int
    driver: Path | None = None

    def load(self, workers: int) -> Frames:
        """The frames, collected now where they are not on disk; one process of several collects, the others wait."""
        if not self.file.is_file():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.file.with_suffix(".lock")):
                if not self.file.is_file():
                    self._collect(workers)
        return load_frames(self.file)

    def count(self) -> int:
        """How many frames the file has, once it is there."""
        with np.load(self.file) as data:
            return len(data["steer"])

    def _collect(self, workers: int) -> None:
        wanted = FRAMES_PER_COURSE + (THING_FRAMES if self.split == "train" and self.driver is None else 0)
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        seeds = list(SEEDS[self.split])[self.first : self.first + self.courses]
        parts = []
        console.print(f"{self.file.stem}: {self.courses} courses of {wanted} frames into {self.file}")
        made = collect(seeds, 0 if self.driver is None else 1, self.driver, workers)
        for seed, part in zip(seeds, made, strict=True):
            parts.append(part)
            if len(part) < wanted:
                console.print(f"{self.file.stem}: course {seed} has no room for more than {len(part)} of them")
            if len(parts) % 10 == 0 or len(parts) == self.courses:
                console.print(f"{self.file.stem}: {len(parts)} of {self.courses} courses")
        join(parts).save(self.file)


def folder() -> Path:
    """Where collections lie; the user may delete it."""
    return cache_folder() / f"navigate-v{VERSION}"


@lru_cache(maxsize=1)
def validation_frames(workers: int = 2) -> Frames:
    """Frames of the validation courses, collected on first use (about a minute)."""
    return Collection(folder() / "validation.npz", "validation", 0, VALIDATION_COURSES).load(workers)


def samples(n: int, seed: int) -> NDArray[np.uint8]:
    """(n, 96, 128, 3) uint8 BGR: inputs as the network meets them, for parity checks."""
    frames = validation_frames()
    return frames.images[np.random.default_rng(seed).permutation(len(frames))[:n]]


class Batches(Dataset[Batch]):
    """The batches of an epoch: a shuffle and augmentation that only `key`, the seed and the epoch, decides.

    Images (B, 96, 128, 3) uint8 BGR; targets `steer` and `collision` (B, 1), `free` and `way` (B, 48, 64), all float32.
    """

    def __init__(self, frames: Frames, key: tuple[int, int], batch_size: int, shard: Shard) -> None:
        self._frames, self._key, self._batch_size, self._shard = frames, key, batch_size, shard
        self._order = np.random.default_rng(key).permutation(len(frames))

    def __len__(self) -> int:
        return len(self._order) // self._batch_size

    def __getitem__(self, step: int) -> Batch:
        batch = self._order[step * self._batch_size : (step + 1) * self._batch_size]
        frames, rows = self._frames, batch[self._shard.rows(self._batch_size)]
        images = frames.images[rows].copy()
        free, way = frames.free[rows].astype(np.float32), frames.way[rows].astype(np.float32)
        steer = frames.steer[rows].copy()
        for i, row in enumerate(rows):
            rng = np.random.default_rng((*self._key, int(row)))
            if rng.random() < 0.5:
                images[i], free[i], way[i] = images[i][:, ::-1], free[i][:, ::-1], way[i][:, ::-1]
                steer[i] = -steer[i]
            images[i] = augment(images[i], rng)
        targets = {
            "steer": torch.from_numpy(steer)[:, None],
            "collision": torch.from_numpy(frames.collision[rows].astype(np.float32))[:, None],
            "free": torch.from_numpy(free),
            "way": torch.from_numpy(way),
        }
        return torch.from_numpy(images), targets


def augment(image: Image, rng: np.random.Generator) -> Image:
    """Another light, other colours, noise and now and then a blur; the same geometry.

    Colours are exchanged and dropped because only a few surfaces are known in training: none may be the mark of a wall.
    """
    if rng.random() < 0.5:
        image = image[..., rng.permutation(3)]
    if rng.random() < 0.2:
        image = np.repeat(image.mean(2, keepdims=True).astype(np.uint8), 3, axis=2)
    gain = (rng.uniform(0.6, 1.5) if rng.random() < 0.7 else rng.uniform(0.25, 0.6)) * rng.uniform(0.85, 1.15, 3)
    # One look-up table a channel: brightness, contrast and colour in one pass.
    levels = np.clip((np.arange(256)[:, None] - 128) * rng.uniform(0.7, 1.3) + 128, 0, 255) * gain
    table = np.clip(levels + rng.uniform(-20, 20), 0, 255).astype(np.uint8)[None]
    image = np.asarray(cv2.LUT(np.ascontiguousarray(image), table), np.uint8)
    if rng.random() < 0.15:  # the camera turns while the shutter is open
        image = np.asarray(cv2.blur(image, (int(rng.integers(2, 6)), 1)), np.uint8)
    elif rng.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (3, 3), float(rng.uniform(0.3, 1.2))), np.uint8)
    if rng.random() < 0.5:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 10))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image
