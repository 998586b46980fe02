"""Batches made ahead of time, in processes of their own, while the network computes on those before."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
from torch.utils.data import DataLoader, Dataset

from .problem import Batch


def stream(batches: Dataset[Batch], workers: int) -> Iterator[Batch]:
    """All of `batches` in order, made by `workers` processes (0: in this one), the same ones by any number."""
    ahead = 4 if workers else None
    loader: DataLoader[Batch] = DataLoader(
        batches, batch_size=None, num_workers=workers, prefetch_factor=ahead, worker_init_fn=_one_thread
    )
    yield from loader


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)
