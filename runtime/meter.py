"""What a run of the pipeline cost: counts and times, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .results import Result

KEPT = 10_000
"""Newest samples kept of each time, so that a run of any length has the same memory."""


@dataclass(frozen=True, slots=True)
class Times:
    """Percentiles in milliseconds over the newest `n` samples."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    n: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What happened in a run.

    `overwritten` counts, for each model, the frames that it never looked at. `times` has `age` (capture to sink),
    `capture`, `sinks` and, for each model, its stages.
    """

    results: int
    seconds: float
    frames_per_s: float
    overwritten: Mapping[str, int]
    stops: int
    reopened: int
    times: Mapping[str, Times]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Meter:
    """Collects samples; `add` may be called from any thread."""

    def __init__(self) -> None:
        self.results = 0
        self.stops = 0
        self.reopened = 0
        self._samples: dict[str, deque[int]] = {}
        self._first_ns = 0
        self._last_ns = 0

    def add(self, name: str, span_ns: int) -> None:
        """One sample of a time, in nanoseconds."""
        samples = self._samples.get(name)
        if samples is None:
            samples = self._samples.setdefault(name, deque(maxlen=KEPT))
        samples.append(span_ns)

    def result(self, result: Result, now_ns: int) -> None:
        """A result that goes to the sinks now."""
        self.results += 1
        self._first_ns = self._first_ns or result.frame.captured_ns
        self._last_ns = now_ns
        self.add("age", now_ns - result.frame.captured_ns)

    def summary(self, overwritten: Mapping[str, int]) -> Summary:
        """The counts and the percentiles so far."""
        seconds = (self._last_ns - self._first_ns) / 1e9
        times = {name: _times(list(samples)) for name, samples in sorted(self._samples.items())}
        rate = self.results / seconds if seconds > 0 else 0.0
        return Summary(self.results, seconds, rate, dict(overwritten), self.stops, self.reopened, times)


def _times(spans_ns: list[int]) -> Times:
    p50, p90, p99 = np.percentile(np.array(spans_ns) / 1e6, [50, 90, 99])
    return Times(float(p50), float(p90), float(p99), len(spans_ns))
