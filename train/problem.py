"""What the recipe asks of a task (`Problem`) and of the user (`Options`). To train something new, write a Problem."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from ..devices.errors import UsageError
from ..runtime.bundle import sha256

Targets = dict[str, Tensor]
Batch = tuple[Tensor, Targets]
"""Images (B, H, W, 3) uint8 BGR, and the targets, each with B rows, all on the CPU."""
Loss = tuple[Tensor, dict[str, float]]
"""The scalar that is minimised, a mean over the batch, and its named parts for the log."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of every batch this process computes: part `rank` of `world` equal ones."""

    rank: int = 0
    world: int = 1

    def rows(self, batch_size: int) -> slice:
        """The rows of a batch that are this shard's; UsageError when the batch cannot be split evenly."""
        if batch_size % self.world:
            raise UsageError(
                f"--batch-size is {batch_size}; expected a multiple of {self.world}, the number of processes"
            )
        each = batch_size // self.world
        return slice(self.rank * each, (self.rank + 1) * each)


class Problem(Protocol):
    """One task to train: its model, data, loss and validation. It never steps an optimiser."""

    name: str
    task: str
    """The task of `runtime/tasks` that will decode the outputs."""

    def build(self) -> nn.Module:
        """A new network with random weights from torch's generator, which the recipe has seeded."""
        ...

    def batches(self, epoch: int, shard: Shard) -> Iterator[Batch]:
        """This shard's part of the batches of `epoch` (0, 1, ...): the same ones each time it is asked.

        The whole batch is split evenly: every shard yields as many batches, of the same size, as any other.
        """
        ...

    def loss(self, model: nn.Module, images: Tensor, targets: Targets) -> Loss:
        """The loss of one batch against its targets."""
        ...

    def distil(self, model: nn.Module, images: Tensor, targets: Targets, soft: tuple[Tensor, ...]) -> Loss:
        """The loss of one batch against `soft`, the outputs of a teacher (as the network's own in eval mode).

        `targets` are there for a mixture of both.
        """
        ...

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Metrics on the validation data, in eval mode. `score`, which picks the best weights, is among them.

        Higher is better. `score` is one of the others, or made of them: `checkpoint.json` lists it only when alone.
        """
        ...

    def record(self) -> dict[str, Any]:
        """The task's part of `checkpoint.json`, cheap and the same each time.

        model, config, inputs, outputs, decoding, samples, score as export/ reads them; `data` says what it learns
        from (with hashes), `validation` is {"data", "n"} for the scores of `validate`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """How to train. `lr` is divided by `lr_divide` after `patience` epochs without a score better by `min_gain`; with
    the `schedule` cosine it falls to `min_lr` in the last epoch.

    Training ends after `epochs`, or when a divided learning rate falls below `min_lr`. `batch_size` is that of all
    processes together; the problem is built with the same. `threads` are those of torch's CPU operators: the sums of
    another number may differ in the last bits. `amp` is mixed precision, see mixed.py. With `ema` above 0 the weights
    that are validated and kept are a running average, in which a step's weights count 1 - ema. `init` is the folder of
    an earlier run, whose best weights it begins with. From epoch `freeze_norm` on (from 1; 0: never) batch norms keep
    their statistics, as in use, and the network goes on from its running average: while it trains on those of each
    batch it leans on them.
    """

    out: Path
    init: Path | None = None
    epochs: int = 60
    batch_size: int = 32
    optimizer: str = "sgd"
    lr: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 1e-4
    ema: float = 0.0
    freeze_norm: int = 0
    schedule: str = "plateau"
    patience: int = 5
    min_gain: float = 0.0
    lr_divide: float = 2.0
    min_lr: float = 1e-5
    seed: int = 0
    ensemble: int = 1
    device: str = "cpu"
    amp: bool = False
    threads: int = 1
    restart: bool = False

    def check(self) -> None:
        """Raise UsageError for a value that cannot be meant."""
        rules = {
            "--optimizer": (self.optimizer in ("sgd", "adamw"), self.optimizer, "sgd or adamw"),
            "--schedule": (self.schedule in ("plateau", "cosine"), self.schedule, "plateau or cosine"),
            "--lr-divide": (self.lr_divide in (2, 5), self.lr_divide, "2 or 5"),
            "--lr": (0 < self.lr < math.inf, self.lr, "a positive number"),
            "--min-lr": (0 < self.min_lr < self.lr, self.min_lr, f"between 0 and --lr {self.lr:g}"),
            "--momentum": (0 <= self.momentum < 1, self.momentum, "0 or more and less than 1"),
            "--ema": (0 <= self.ema < 1, self.ema, "0 or more and less than 1"),
            "--weight-decay": (self.weight_decay >= 0, self.weight_decay, "0 or more"),
            "--init": (not self.weights or self.weights.is_file(), self.init, "a run's folder, with model.safetensors"),
            "--freeze-norm": (
                self.freeze_norm >= 0 and (self.freeze_norm != 1 or self.init),
                self.freeze_norm,
                "0 for never, an epoch from 2 on, or 1 with --init: statistics of a new network cannot be kept",
            ),
            "--out": (
                not self.init or self.init.resolve() != self.out.resolve(),
                self.out,
                "another folder than --init",
            ),
            "--epochs": (self.epochs >= 1, self.epochs, "1 or more"),
            "--batch-size": (self.batch_size >= 1, self.batch_size, "1 or more"),
            "--min-gain": (0 <= self.min_gain < 1, self.min_gain, "0 or more and less than 1"),
            "--patience": (self.patience >= 1, self.patience, "1 or more"),
            "--ensemble": (self.ensemble >= 1, self.ensemble, "1 or more"),
            "--threads": (self.threads >= 1, self.threads, "1 or more"),
            "--device": (self.device in ("cpu", "cuda"), self.device, "cpu or cuda"),
        }
        for option, (good, value, expected) in rules.items():
            if not good:
                raise UsageError(f"{option} is {value}; expected {expected}")

    def member(self, index: int) -> Options:
        """The options of member `index` of the ensemble."""
        return replace(self, out=self.out / f"member-{index}", seed=self.seed + index, ensemble=1)

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on: not where it lies, nor, but for a cosine, how long it goes."""
        passed = ("out", "restart") if self.schedule == "cosine" else ("out", "restart", "epochs")
        plain = {k: v for k, v in asdict(self).items() if k not in passed}
        return {**plain, "init": _sha256_once(self.weights) if self.weights else None}

    @property
    def weights(self) -> Path | None:
        """The file that `init` means."""
        return self.init / "model.safetensors" if self.init else None


@cache
def _sha256_once(file: Path) -> str:
    """The hash that the weights had when they were first asked for: another run may write there meanwhile."""
    return sha256(file)
