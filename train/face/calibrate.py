"""Scores that mean what they say: of the detections at 0.8, about eight in ten are faces.

The network learns to give the IoU that its box will reach, which is no probability. Platt's scaling (Platt 1999) makes
it one: a slope and an offset on the logits, fitted by the likelihood of right and wrong detections.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from ...runtime.results import Floats
from .evaluate import Matches

STEPS = 50
TINY = 1e-4


def fit(matches: Matches) -> tuple[float, float]:
    """Slope and offset; (1, 0) where there is nothing to fit to, or no more right ones among higher scores."""
    right = torch.from_numpy(matches.right.astype(np.float64))
    if not 0 < right.sum() < len(right):
        return 1.0, 0.0
    logits = torch.logit(torch.from_numpy(matches.score.astype(np.float64)), TINY)
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([line], max_iter=STEPS, line_search_fn="strong_wolfe")

    def cost() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(line[0] * logits + line[1], right)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():  # the recipe validates without gradients
        optimizer.step(cost)  # type: ignore[no-untyped-call]
    slope, offset = (float(v) for v in line.detach())
    return (slope, offset) if slope > 0 else (1.0, 0.0)


def apply(score: Floats, slope: float, offset: float) -> Floats:
    """The scores after calibration; their order stays."""
    logits = torch.logit(torch.from_numpy(score.astype(np.float64)), TINY)
    return torch.sigmoid(slope * logits + offset).numpy().astype(np.float32)


def calibration_error(score: Floats, right: Floats, bins: int = 10) -> float:
    """Expected calibration error (Guo et al. 2017): how far score and share of right ones are apart, over ten bins."""
    which = np.minimum((score * bins).astype(int), bins - 1)
    parts = [(which == i) for i in range(bins)]
    return float(sum(abs(score[p].mean() - right[p].mean()) * p.mean() for p in parts if p.any()))
