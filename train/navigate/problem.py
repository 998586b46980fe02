"""Navigation as a problem for the recipe: imitate the expert, then learn from one's own mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...devices.errors import UsageError
from ...runtime.bundle import TensorSpec, sha256
from ..loader import ahead
from ..problem import Batch, Loss, Options, Shard, Targets
from ..recipe import fit
from .collect import Frames, join
from .data import Batches, Collection, folder, validation_frames
from .evaluate import DATA, validate
from .loss import drive_loss
from .model import IMAGE_HW, MASK_HW, NavigateNet, build

INPUTS = (TensorSpec("image", (1, *IMAGE_HW, 3), "uint8", "NHWC", "BGR", (0, 255)),)
OUTPUTS = (
    TensorSpec("steer", (1, 1), "float32", range=(-1, 1)),
    TensorSpec("collision", (1, 1), "float32", range=(0, 1)),
    TensorSpec("free_space", (1, *MASK_HW), "float32", range=(0, 1)),
    TensorSpec("way", (1, *MASK_HW), "float32", range=(0, 1)),
)
ROUND_EPOCHS = 3
"""Epochs of the networks that only collect: they need to get about, not to be good."""
ROUND_BATCH, ROUND_THREADS = 32, 2
"""Theirs, whatever the recipe's are: the names of their frames tell seed, counts and precision, and no more."""
LIMITS = (
    "It has seen simulated rooms only, never a photograph: on a real robot its output is a suggestion, behind a "
    "bumper.",
    "Open-loop scores are on rendered frames; `helmsight evaluate navigate` drives laps. Where furniture narrows "
    "the way it may stop and wait for help.",
    "It learnt with cameras 0.2 to 0.4 m over the floor and 70 to 90 degrees of vertical view; others are outside"
    " of it.",
)
"""What the model card says of the network."""


@dataclass(frozen=True, slots=True)
class NavigateOptions:
    """`seed`, `batch_size` and, on a CPU, `amp` are the recipe's. The expert drives `courses` courses; in each of
    `rounds` rounds of DAgger a network trained so far drives `round_courses` more. `workers` processes collect, and
    make batches (0: this one)."""

    seed: int = 0
    batch_size: int = 48
    amp: bool = False
    courses: int = 450
    rounds: int = 2
    round_courses: int = 150
    workers: int = 2


class NavigateProblem:
    """Trains on frames from the simulator; the score is the mean of explained variance, F1 and IoU."""

    name = "navigate"
    task = "navigate"

    def __init__(self, options: NavigateOptions) -> None:
        self._options = options
        self._config: dict[str, Any] = {"widths": [16, 32, 56, 80], "dropout": 0.3}

    def prepare(self) -> None:
        """Collect all frames that are not on disk yet, training the networks that drive on the way.

        The recipe has it done when it needs them, except under `torchrun`.
        """
        for collection in self._collections:
            collection.load(self._options.workers)
        validation_frames(self._options.workers)

    def build(self) -> nn.Module:
        return build(**self._config)

    def batches(self, epoch: int, shard: Shard) -> Iterator[Batch]:
        options = self._options
        return ahead(Batches(self._frames, (options.seed, epoch), options.batch_size, shard), options.workers)

    def loss(self, model: nn.Module, images: Tensor, targets: Targets) -> Loss:
        return drive_loss(_logits(model, images), targets)

    def distil(self, model: nn.Module, images: Tensor, targets: Targets, soft: tuple[Tensor, ...]) -> Loss:
        return drive_loss(_logits(model, images), dict(zip(("steer", "collision", "free", "way"), soft, strict=True)))

    def validate(self, model: nn.Module) -> dict[str, float]:
        return validate(model, validation_frames(self._options.workers))

    def record(self) -> dict[str, Any]:
        return {
            "model": "helmsight.train.navigate.model:build",
            "config": self._config,
            "inputs": [asdict(spec) for spec in INPUTS],
            "outputs": [asdict(spec) for spec in OUTPUTS],
            "decoding": {},
            "samples": "helmsight.train.navigate.data:samples",
            "score": "helmsight.train.navigate.evaluate:score",
            "limits": LIMITS,
            "data": self._data,
            "validation": {"data": DATA, "n": len(validation_frames(self._options.workers))},
        }

    @cached_property
    def _collections(self) -> list[Collection]:
        """The expert's frames and those of each round, whose driver is trained here on what came before."""
        options = self._options
        made = [Collection(folder() / f"expert-{options.courses}.npz", "train", 0, options.courses)]
        for index in range(1, options.rounds + 1):
            mixed = "-amp" if options.amp else ""
            name = f"seed{options.seed}-{options.courses}-{options.round_courses}{mixed}-round{index}"
            first = options.courses + (index - 1) * options.round_courses
            file, run = folder() / f"{name}.npz", folder() / f"{name}-driver"
            if not file.is_file():
                _check_alone()
                before = NavigateProblem(replace(options, rounds=index - 1, batch_size=ROUND_BATCH))
                threads = torch.get_num_threads()
                try:
                    fit(before, _round_options(run, options))
                finally:
                    torch.set_num_threads(threads)
            made.append(Collection(file, "train", first, options.round_courses, run))
        return made

    @cached_property
    def _frames(self) -> Frames:
        return join([collection.load(self._options.workers) for collection in self._collections])

    @cached_property
    def _data(self) -> dict[str, Any]:
        """What it learns from, with the hashes."""
        self.prepare()
        files = {c.file.stem: sha256(c.file) for c in self._collections}
        return {
            "source": "helmsight's simulator: miniworld 2.1.0's textures and meshes, Apache-2.0",
            "frames": {c.file.stem: c.count() for c in self._collections},
            "sha256": files,
        }


def _check_alone() -> None:
    """A round trains a network of its own, which processes that already train another cannot."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise UsageError(
            "the frames of DAgger's rounds are not collected yet, and several processes cannot do it; run "
            "`helmsight train navigate` without torchrun until its first epoch, then start torchrun"
        )


def _round_options(out: Path, options: NavigateOptions) -> Options:
    return Options(
        out,
        epochs=ROUND_EPOCHS,
        batch_size=ROUND_BATCH,
        optimizer="adamw",
        lr=1e-3,
        seed=options.seed,
        amp=options.amp,
        threads=ROUND_THREADS,
    )


def _logits(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    assert isinstance(model, NavigateNet)
    return model.logits(images)
