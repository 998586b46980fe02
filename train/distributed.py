"""One or several processes: who this one is under `torchrun`, and what they agree on between steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

from ..devices.errors import DeviceMismatch, UsageError
from .problem import Batch, Shard

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process computes, and which shard of every batch is its own."""

    shard: Shard
    device: torch.device

    @property
    def first(self) -> bool:
        """True for the one process that writes files and speaks."""
        return self.shard.rank == 0


@contextmanager
def process_group(device: str) -> Iterator[Place]:
    """Join the group that `torchrun` started (nccl on GPUs, gloo on CPUs), or be alone without it."""
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceMismatch("--device cuda: torch sees no CUDA device here; use --device cpu, or mend the driver")
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield Place(Shard(), torch.device(device))
        return
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        local = torch.device("cuda", dist.get_node_local_rank()) if device == "cuda" else torch.device("cpu")
        if local.type == "cuda":
            torch.cuda.set_device(local)
        yield Place(Shard(dist.get_rank(), dist.get_world_size()), local)
    finally:
        dist.destroy_process_group()


def parallel(module: nn.Module, place: Place) -> nn.Module:
    """`module`, with its gradients averaged over the processes after each backward pass."""
    if place.shard.world == 1:
        return module
    if place.device.type == "cuda":  # torch has no synchronised batch norm for CPUs: there each has its own statistics
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    return nn.parallel.DistributedDataParallel(module)


def equal_batches(batches: Iterable[Batch], place: Place) -> Iterator[Batch]:
    """The batches, after making sure that all processes have one of the same size.

    A mean of the processes' means is the mean over the batch only then; and a process with a batch too many would
    wait for the others for ever. Raises UsageError where they differ.
    """
    if place.shard.world == 1:
        yield from batches
        return
    source = iter(batches)
    while True:
        batch = next(source, None)
        size = 0 if batch is None else len(batch[0])
        limits = torch.tensor([size, -size], device=place.device)
        dist.all_reduce(limits, dist.ReduceOp.MAX)
        largest, smallest = int(limits[0]), -int(limits[1])
        if largest != smallest:
            raise UsageError(
                f"shards of a batch have {smallest} to {largest} rows; expected equal ones: "
                f"choose a --batch-size that is a multiple of {place.shard.world}"
            )
        if batch is None:
            return
        yield batch


def mean_over_processes(values: dict[str, float], place: Place) -> dict[str, float]:
    """The mean of each value over the processes."""
    if place.shard.world == 1:
        return values
    total = torch.tensor(list(values.values()), dtype=torch.float64, device="cpu").to(place.device)
    dist.all_reduce(total)
    return dict(zip(values, (total / place.shard.world).tolist(), strict=True))


def from_first(value: T | None, place: Place) -> T:
    """What the first process has, in all of them; they wait for it."""
    box = [value]
    if place.shard.world > 1:
        dist.broadcast_object_list(box, src=0)
    assert box[0] is not None
    return box[0]
