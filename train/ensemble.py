"""Several networks averaged, and one network for the device that learns from their average (distillation)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from . import checkpoint
from .distributed import Place, from_first
from .loop import fit_one
from .problem import Batch, Loss, Options, Problem, Shard, Targets


def fit_ensemble(problem: Problem, options: Options, place: Place) -> float:
    """Train members in `member-0`, `member-1`, ..., then their student in `options.out`; returns the student's score.

    Scores of the members, the ensemble and the student are left in `ensemble.json`. Each part goes on by itself when
    the command was interrupted.
    """
    if not options.restart:  # another run in this folder: say so before the members are trained, not after
        checkpoint.load_state(options.out, checkpoint.identity(problem, options, place.shard.world))
    members = [options.member(i) for i in range(options.ensemble)]
    scores = [fit_one(problem, member, place) for member in members]
    teacher = Average([_load(problem, member) for member in members]).to(place.device).eval()
    with torch.no_grad():
        mine = problem.validate(teacher)["score"] if place.first else None
    ensemble = from_first(mine, place)
    student = fit_one(Distillation(problem, teacher), options, place)
    if place.first:
        report = {"members": scores, "ensemble": ensemble, "distilled": student}
        checkpoint.write_file(options.out / "ensemble.json", json.dumps(report, indent=2) + "\n")
    return student


class Average(nn.Module):
    """The mean of the outputs of several networks, output by output."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        outputs = [member(images) for member in self.members]
        return tuple(torch.stack(same).mean(dim=0) for same in zip(*outputs, strict=True))


class Distillation:
    """A problem whose loss compares with a teacher's outputs instead of the targets alone."""

    def __init__(self, problem: Problem, teacher: nn.Module) -> None:
        self._problem, self._teacher = problem, teacher
        self.name, self.task = problem.name, problem.task

    def build(self) -> nn.Module:
        return self._problem.build()

    def batches(self, epoch: int, shard: Shard) -> Iterator[Batch]:
        return self._problem.batches(epoch, shard)

    def loss(self, model: nn.Module, images: Tensor, targets: Targets) -> Loss:
        with torch.no_grad():
            soft = self._teacher(images)
        return self._problem.distil(model, images, targets, soft)

    def distil(self, model: nn.Module, images: Tensor, targets: Targets, soft: tuple[Tensor, ...]) -> Loss:
        return self._problem.distil(model, images, targets, soft)

    def validate(self, model: nn.Module) -> dict[str, float]:
        return self._problem.validate(model)

    def record(self) -> dict[str, Any]:
        return self._problem.record()


def _load(problem: Problem, member: Options) -> nn.Module:
    model = problem.build()
    model.load_state_dict(load_file(member.out / "model.safetensors"))
    return model
