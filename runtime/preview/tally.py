"""What the page and Prometheus show of the results: counts, histograms and the last minute, in bounded memory."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from ..results import Result

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.033, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the histograms: the default `--max-age-ms` and the frame times of usual cameras are among them."""
POINT_S = 0.5
POINTS = 120
"""A minute."""


class Histogram:
    """Counts of seconds up to each of `BOUNDS_S`, and above."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, value_s: float) -> None:
        self.counts[bisect_left(BOUNDS_S, value_s)] += 1
        self.sum_s += value_s


@dataclass(slots=True)
class _Interval:
    """What came within one `POINT_S`."""

    number: int
    ages_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def point(self) -> dict[str, Any]:
        """Time since the start, results a second, ages, and the mean of each model's stages."""
        return {
            "t": (self.number + 1) * POINT_S,
            "rate": len(self.ages_ms) / POINT_S,
            "age": round(median(self.ages_ms), 2),
            "age_max": round(max(self.ages_ms), 2),
            "stages": {
                model: {stage: round(fmean(spans), 2) for stage, spans in stages.items()}
                for model, stages in self.stages_ms.items()
            },
        }


class Tally:
    """Sums results up; every method may be called from any thread. Times are `time.perf_counter_ns()`."""

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self.results = 0
        self.newest: Result | None = None
        self.ages = Histogram()
        self.stages: dict[tuple[str, str], Histogram] = {}
        self._lock = threading.Lock()
        self._points: deque[dict[str, Any]] = deque(maxlen=POINTS)
        self._interval = _Interval(0)
        self._made = 0
        self._seen: dict[str, int] = {}

    def add(self, result: Result, now_ns: int) -> None:
        age_ns = now_ns - result.frame.captured_ns
        with self._lock:
            self._advance(now_ns)
            self.results += 1
            self.newest = result
            self.ages.add(age_ns / 1e9)
            self._interval.ages_ms.append(age_ns / 1e6)
            for model, reading in result.readings.items():
                if self._seen.get(model) != reading.done_ns:  # a slower model's reading comes with several results
                    self._seen[model] = reading.done_ns
                    self._stages(model, reading.stage_ms)

    def points(self, after: int, now_ns: int) -> tuple[list[dict[str, Any]], int]:
        """The points of the last minute from number `after` on, and the number to ask for next."""
        with self._lock:
            self._advance(now_ns)
            wanted = min(max(0, self._made - after), len(self._points))
            return list(self._points)[len(self._points) - wanted :], self._made

    def _stages(self, model: str, stage_ms: Any) -> None:
        spans = self._interval.stages_ms.setdefault(model, {})
        for stage, span_ms in stage_ms.items():
            if (model, stage) not in self.stages:
                self.stages = {**self.stages, (model, stage): Histogram()}  # others are reading it
            self.stages[model, stage].add(span_ms / 1e3)
            spans.setdefault(stage, []).append(span_ms)

    def _advance(self, now_ns: int) -> None:
        number = int((now_ns - self.start_ns) / 1e9 / POINT_S)
        if number == self._interval.number:
            return
        if self._interval.ages_ms:
            self._points.append(self._interval.point())
            self._made += 1
        self._interval = _Interval(number)
