"""A result that another program wrote, as far as its file tells; what it does not tell is None or empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layer_profile import LayerProfile

Samples = NDArray[np.uint64]
Series = Sequence[tuple[float, float]]
"""(seconds from the first one, value), in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """One result of `program`.

    `name` is the network's, or the file's where it does not tell. `stage` is what was timed: `inference`, the network
    alone, `query` where the program does not know what is in one, or "" where nothing was. `samples_ns` has the latency
    of each query, as it ran. Without samples there may be a `median_ms`, a `mean_ms` and a `tail` of (percentile in
    0..1, ms) that the program computed. `per_s` is a rate that it measured over all queries, `score` a (metric, value)
    where more is better. `watts` is a mean and `watts_of` what it is of. `series` are other sensors' readings over
    time. `facts` are pairs of a name and its value, to be shown with the figures.
    """

    program: str
    name: str
    stage: str = "inference"
    engine: str = ""
    precision: str = ""
    samples_ns: Samples | None = None
    median_ms: float | None = None
    mean_ms: float | None = None
    tail: tuple[tuple[float, float], ...] = ()
    per_s: float | None = None
    score: tuple[str, float] | None = None
    layers: LayerProfile | None = None
    watts: float | None = None
    watts_of: str = ""
    series: Mapping[str, Series] = field(default_factory=dict)
    facts: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """A file: its `name` without the ending, its `text`, and what that is as JSON, None where it is none."""

    name: str
    text: str
    data: Any


def nanoseconds(milliseconds: Sequence[float]) -> Samples:
    """(queries,) from milliseconds. Raises ValueError for what is no latency: negative, not finite, or none at all."""
    values = np.asarray(milliseconds, np.float64)
    if not values.size or not np.isfinite(values).all() or (values < 0).any() or (values > 1e9).any():
        raise ValueError(f"latencies are {values.size} numbers, not all of them of 0 to 1e9 ms")
    return np.rint(values * 1e6).astype(np.uint64)
