"""The learning rate: divided when the score stops improving, or along a cosine to the last epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .problem import Options


@dataclass(frozen=True, slots=True)
class Schedule:
    """State after an epoch.

    `bad` counts the epochs since the score last beat `goal`, or since the last division.
    """

    lr: float
    best: float = float("-inf")
    bad: int = 0
    goal: float = float("-inf")

    def after(self, score: float, options: Options, done: int) -> Schedule:
        """The state after an epoch with this validation score, the `done`-th (from 1)."""
        best = max(score, self.best)
        if options.schedule == "cosine":
            return replace(self, best=best, lr=_cosine(options, done))
        if score > self.goal:
            return Schedule(self.lr, best, 0, score + options.min_gain)
        if self.bad + 1 < options.patience:
            return replace(self, best=best, bad=self.bad + 1)
        return Schedule(self.lr / options.lr_divide, best, 0, best + options.min_gain)

    def ended(self, options: Options) -> bool:
        """Whether the learning rate was divided below `min_lr`; a cosine only gets there."""
        return options.schedule == "plateau" and self.lr < options.min_lr


def _cosine(options: Options, done: int) -> float:
    """From `lr` in the first epoch to `min_lr` in the last, along half a cosine (Loshchilov and Hutter 2017, SGDR)."""
    share = min(1.0, done / max(1, options.epochs - 1))
    return options.min_lr + (options.lr - options.min_lr) * (1 + math.cos(math.pi * share)) / 2
