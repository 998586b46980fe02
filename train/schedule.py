"""The learning rate: divided when the score stops improving, until it is so small that training ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .problem import Options


@dataclass(frozen=True, slots=True)
class Plateau:
    """State of the schedule after an epoch. `bad` counts the epochs since the best score or the last division."""

    lr: float
    best: float = float("-inf")
    bad: int = 0

    def after(self, score: float, options: Options) -> Plateau:
        """The state after an epoch with this validation score."""
        if score > self.best:
            return Plateau(self.lr, score, 0)
        if self.bad + 1 < options.patience:
            return replace(self, bad=self.bad + 1)
        return Plateau(self.lr / options.lr_divide, self.best, 0)

    def ended(self, options: Options) -> bool:
        return self.lr < options.min_lr
