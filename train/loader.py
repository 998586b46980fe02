"""Batches made ahead of time, in processes of their own, while the network computes on those before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
from torch.utils.data import DataLoader, Dataset

from .problem import Batch


def ahead(batches: Dataset[Batch], workers: int) -> Iterator[Batch]:
    """All of `batches` in order, made by `workers` processes (0: in this one), the same ones by any number.

    The processes are forked: what `batches` holds, often gigabytes, is shared and not copied.
    """
    more: dict[str, Any] = {"prefetch_factor": 4, "multiprocessing_context": "fork"} if workers else {}
    loader: DataLoader[Batch] = DataLoader(
        batches, batch_size=None, num_workers=workers, worker_init_fn=_one_thread, **more
    )
    yield from loader


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)
