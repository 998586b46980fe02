"""A problem that trains in a second: which side of a small picture is brighter. Run as a script it is fitted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from helmsight.train.recipe import Batch, Loss, Normalise, Options, Shard, Targets, fit, init_by_fan_in


class TinyNet(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(Normalise(), nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(16, 1)
        init_by_fan_in(self)

    def logits(self, images: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(images))
        return out

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (torch.sigmoid(self.logits(images)),)


class TinyProblem:
    name = "tiny"
    task = ""

    def __init__(
        self, batch_size: int = 16, pause_s: float = 0.0, poison: int = -1, uneven: bool = False, dropout: float = 0.2
    ) -> None:
        self.batch_size, self.pause_s, self.poison, self.uneven = batch_size, pause_s, poison, uneven
        self.dropout = dropout

    def build(self) -> nn.Module:
        return TinyNet(self.dropout)

    def batches(self, epoch: int, shard: Shard) -> Iterator[Batch]:
        for step in range(12):
            images, targets = make(self.batch_size, 1000 * epoch + step)
            if self.poison == step:
                targets["right"] = targets["right"] * float("nan")
            time.sleep(self.pause_s)
            rows = shard.rows(self.batch_size)
            mine = slice(rows.start - (shard.rank if self.uneven else 0), rows.stop)
            yield images[mine], {k: v[mine] for k, v in targets.items()}

    def loss(self, model: nn.Module, images: Tensor, targets: Targets) -> Loss:
        loss = nn.functional.binary_cross_entropy_with_logits(model.logits(images), targets["right"])
        return loss, {"bce": loss.item()}

    def distil(self, model: nn.Module, images: Tensor, targets: Targets, soft: tuple[Tensor, ...]) -> Loss:
        return self.loss(model, images, {"right": soft[0]})

    def validate(self, model: nn.Module) -> dict[str, float]:
        images, targets = make(128, 7)
        right = (model(images)[0] > 0.5) == (targets["right"] > 0.5)
        return {"score": right.float().mean().item()}

    def record(self) -> dict[str, Any]:
        return {
            "model": "tiny:TinyNet",
            "config": {"dropout": self.dropout},
            "inputs": [],
            "outputs": [],
            "decoding": {},
            "samples": "",
            "score": "",
            "data": {"batch_size": self.batch_size},
            "validation": {"data": "tiny validation", "n": 128},
        }


def make(n: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 4, 4, 3), generator=generator, dtype=torch.uint8)
    means = images.float().mean(dim=(1, 3))
    return images, {"right": (means[:, 2:].mean(1) > means[:, :2].mean(1)).float()[:, None]}


if __name__ == "__main__":
    out, epochs, pause_s, mode = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    problem = TinyProblem(pause_s=pause_s, uneven=mode == "uneven", dropout=0 if mode == "plain" else 0.2)
    fit(problem, Options(out, epochs=epochs, batch_size=16, lr=0.05, seed=3))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # all is written; torch 2.13 now and then aborts when gloo's threads outlive the interpreter
