"""How far a step moves the weights: the ratio of the update's norm to the weights' norm, which should be near 1e-3.

The rule of thumb is Bottou's (2012, Stochastic Gradient Descent Tricks) and CS231n's: much less and nothing is
learnt, much more and training is unstable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch
from torch import Tensor, nn

TARGET = 1e-3
LOW, HIGH = 1e-4, 1e-2
"""Outside these, the learning rate is far off."""


class UpdateRatio:
    """Measures on every `every`-th step of an epoch, the first included; it costs a copy of the weights on those."""

    def __init__(self, model: nn.Module, every: int = 10) -> None:
        self._weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
        self._every = every
        self._seen: list[float] = []

    @contextmanager
    def watch(self, step: int) -> Iterator[None]:
        """Around the optimiser's step number `step` of the epoch, from 0."""
        if step % self._every:
            yield
            return
        before = [w.detach().clone() for w in self._weights]
        yield
        self._seen.append(median(_ratio(w.detach(), b) for w, b in zip(self._weights, before, strict=True)))

    def take(self) -> float:
        """The median over the tensors, and over the steps measured since it was last asked."""
        value = median(self._seen)
        self._seen.clear()
        return value


def advice(ratio: float) -> str:
    """A warning when the ratio is far from 1e-3, else an empty text."""
    if not (ratio < LOW or ratio > HIGH):
        return ""
    side = "small: learning is slow, raise --lr" if ratio < LOW else "large: training may be unstable, lower --lr"
    return f"update-to-weight ratio {ratio:.1e} is far from {TARGET:.0e}: too {side} (expected {LOW:.0e} to {HIGH:.0e})"


def _ratio(after: Tensor, before: Tensor) -> float:
    return float(torch.linalg.vector_norm(after - before) / torch.linalg.vector_norm(before).clamp(min=1e-12))
