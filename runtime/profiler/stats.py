"""The statistics of a profile: order statistics, how many samples a tail needs, and bootstrap draws.

Pure numpy on one-dimensional arrays; nothing here knows what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.integer[Any]]
"""One-dimensional, in the order in which they were measured."""

CONFIDENCE = 0.99
BLOCKS = 32
DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval, in the unit of what it was drawn from."""

    low: float
    high: float


def rank(p: float, n: int) -> int:
    """Index, from 0, of the nearest-rank percentile in `n` sorted samples: the smallest one with n*p at or below it."""
    if not 0 < p <= 1 or n < 1:
        raise ValueError(f"percentile {p} of {n} samples; expected 0 < p <= 1 and a sample")
    # The product of 0.07 and 100 is 7.000000000000001: without rounding, its ceiling would be one rank too high.
    return max(math.ceil(round(p * n, 9)), 1) - 1


def percentile(samples: Samples, p: float) -> int:
    """The nearest-rank percentile, `p` in 0..1: always one of the samples, never a mean of two."""
    at = rank(p, len(samples))
    return int(np.partition(samples, at)[at])


def percentile_ms(milliseconds: Sequence[float], p: float) -> float:
    """`percentile` of milliseconds."""
    return sorted(milliseconds)[rank(p, len(milliseconds))]


def queries_needed(p: float, confidence: float = CONFIDENCE) -> int:
    """How many samples support the percentile `p`: 23,886 for p90, 262,742 for p99.

    Reddi et al., "MLPerf Inference Benchmark", ISCA 2020 (arXiv 1911.02549), equations 1 and 2: the margin is a
    twentieth of the tail, and the number of queries is z^2 * p * (1 - p) / margin^2, z the normal quantile of the
    two-sided confidence.
    """
    margin = (1 - p) / 20
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return round(z * z * p * (1 - p) / (margin * margin))  # rounded, as the paper prints it


def bootstrap(samples: Samples, p: float, seed: int = 0, draws: int = DRAWS) -> NDArray[np.integer[Any]]:
    """(draws,) percentiles of resampled runs, sorted; the same seed gives the same draws.

    The run is cut into at most 32 blocks of consecutive samples, and blocks are drawn with replacement (Carlstein,
    Annals of Statistics 14, 1986): neighbours share clocks, heat and cache, and drawing them one by one would promise
    an interval much too narrow. A resample is never built: how many of its samples lie at or below a value is a sum
    over blocks, so its percentile is found by bisection over the sorted run, for all draws at once.
    """
    ordered = np.sort(samples)
    blocks = [np.sort(b) for b in np.array_split(samples, min(BLOCKS, len(samples)))]
    picks = np.random.default_rng(seed).multinomial(len(blocks), [1 / len(blocks)] * len(blocks), size=draws)
    totals = picks @ np.array([len(b) for b in blocks])
    need = np.array([rank(p, int(n)) + 1 for n in totals])
    low = np.zeros(draws, np.int64)
    high = np.full(draws, len(ordered) - 1)
    while (low < high).any():
        middle = (low + high) // 2
        counts = np.stack([np.searchsorted(b, ordered[middle], side="right") for b in blocks], axis=1)
        enough = (picks * counts).sum(axis=1) >= need
        high = np.where(enough, middle, high)
        low = np.where(enough, low, middle + 1)
    return np.sort(ordered[low])


def interval(draws: NDArray[Any]) -> Interval:
    """The middle 95 % of bootstrap draws."""
    low, high = np.quantile(draws, [0.025, 0.975], method="nearest")
    return Interval(float(low), float(high))


def ratio_draws(a: Samples, b: Samples, p: float, seed: int = 0) -> NDArray[np.float64]:
    """(DRAWS,) ratios b/a of a percentile, each run resampled on its own."""
    first = bootstrap(a, p, seed)
    second = np.random.default_rng(seed + 1).permutation(bootstrap(b, p, seed + 1))
    # A stage that took no measurable time has no ratio; 1 ns in its place keeps the figure finite.
    ratios: NDArray[np.float64] = second / np.maximum(first, 1)
    return ratios
