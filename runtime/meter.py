"""What a run of the pipeline cost: counts and times, in bounded memory."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
class SourceState:
    """How the source is, since `since_ns` (`time.perf_counter_ns()`), and why.

    `name` is `opening`, `open`, `silent` (nothing comes, `read` has not returned), `lost` (being opened again),
    `frozen` (gave the same frame again and again; being opened again) or `ended`.
    """

    name: str
    since_ns: int
    reason: str = ""

    @property
    def lasted_s(self) -> float:
        """Seconds so far."""
        return (time.perf_counter_ns() - self.since_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Summary:
    """What happened in a run.

    `overwritten` counts, for each model, the frames that it never looked at, for the first one also those whose result
    no sink saw, `repeated` those of a camera that showed nothing new and that no model got. `late` counts, for each
    model with a period, the answers that took longer than that, `shed_steps` how often load was taken off the others
    for it. `times` has `age` (capture to sink), `capture`, `sinks` and, for each model, its stages.
    """

    results: int
    seconds: float
    frames_per_s: float
    overwritten: Mapping[str, int]
    stops: int
    reopened: int
    repeated: int
    late: Mapping[str, int]
    shed_steps: int
    times: Mapping[str, Times]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class _Newest:
    """The newest `KEPT` samples of a time, added by one thread at a time. Its room is taken at once, 8 bytes a sample,
    so that a run does not grow while it fills up."""

    __slots__ = ("_count", "_ring")

    def __init__(self) -> None:
        self._ring = array("q", bytes(8 * KEPT))
        self._count = 0

    def add(self, span_ns: int) -> None:
        self._ring[self._count % KEPT] = span_ns
        self._count += 1

    def values(self) -> NDArray[np.int64]:
        """A copy, in no order."""
        return np.array(self._ring[: self._count], np.int64)


class Meter:
    """Collects samples; `add` may be called from any thread. `source` is replaced whole, so any thread may read it."""

    def __init__(self) -> None:
        self.results = 0
        self.stops = 0
        self._stopping = threading.Lock()
        self.reopened = 0
        self.repeated = 0
        self.source = SourceState("opening", time.perf_counter_ns())
        self._samples: dict[str, _Newest] = {}
        self._first_ns = 0
        self._last_ns = 0

    def add(self, name: str, span_ns: int) -> None:
        """One sample of a time, in nanoseconds."""
        samples = self._samples.get(name)
        if samples is None:
            samples = self._samples.setdefault(name, _Newest())
        samples.add(span_ns)

    def stopped(self) -> None:
        """A robot is told to stop."""
        with self._stopping:
            self.stops += 1

    def source_is(self, name: str, reason: str = "") -> None:
        """The source's state from now on."""
        self.source = SourceState(name, time.perf_counter_ns(), reason)

    def result(self, result: Result, now_ns: int) -> None:
        """A result that goes to the sinks now."""
        self.results += 1
        self._first_ns = self._first_ns or result.frame.captured_ns
        self._last_ns = now_ns
        self.add("age", now_ns - result.frame.captured_ns)

    def summary(self, overwritten: Mapping[str, int], late: Mapping[str, int], shed_steps: int) -> Summary:
        """The counts and the percentiles so far."""
        seconds = (self._last_ns - self._first_ns) / 1e9
        times = {name: _times(samples.values()) for name, samples in sorted(self._samples.items())}
        rate = self.results / seconds if seconds > 0 else 0.0
        return Summary(
            results=self.results,
            seconds=seconds,
            frames_per_s=rate,
            overwritten=dict(overwritten),
            stops=self.stops,
            reopened=self.reopened,
            repeated=self.repeated,
            late=dict(late),
            shed_steps=shed_steps,
            times=times,
        )


def _times(spans_ns: NDArray[np.int64]) -> Times:
    p50, p90, p99 = np.percentile(spans_ns / 1e6, [50, 90, 99])
    return Times(float(p50), float(p90), float(p99), len(spans_ns))
