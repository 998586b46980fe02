"""The learning rate: divided when the score stops improving, until it is so small that training ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .problem import Options


@dataclass(frozen=True, slots=True)
class Plateau:
    """State of the schedule after an epoch.

    `bad` counts the epochs since the score last beat `goal`, or since the last division.
    """

    lr: float
    best: float = float("-inf")
    bad: int = 0
    goal: float = float("-inf")

    def after(self, score: float, options: Options) -> Plateau:
        """The state after an epoch with this validation score."""
        best = max(score, self.best)
        if score > self.goal:
            return Plateau(self.lr, best, 0, score + options.min_gain)
        if self.bad + 1 < options.patience:
            return replace(self, best=best, bad=self.bad + 1)
        return Plateau(self.lr / options.lr_divide, best, 0, best + options.min_gain)

    def ended(self, options: Options) -> bool:
        return self.lr < options.min_lr
