"""The measured loop: one query at a time, the next when the last ends, every sample kept (MLPerf's SingleStream).

A query is an item that passes through stages, one function each. This file knows no bundle, no back end and no frame.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .stats import percentile

Stage = Callable[[Any], Any]
Times = NDArray[np.uint64]
"""(queries, stages) in nanoseconds."""

BLOCK = 16384
WINDOW_S = 0.1
WINDOW_QUERIES = 3
STABLE_WINDOWS = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """A run ends when it has lasted `duration_s` and has answered `queries`, whichever comes later."""

    duration_s: float = 10.0
    queries: int = 100


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What ran before the first sample. `stable`: the medians of the last windows lay within `tolerance`."""

    queries: int
    seconds: float
    stable: bool
    tolerance: float


@dataclass(frozen=True, slots=True)
class Overhead:
    """What the loop itself costs, from the same loop over stages that do nothing.

    `per_query_us`: wall time of one turn. `in_sample_us`: the part of it that counts as latency (median).
    """

    per_query_us: float
    in_sample_us: float


@dataclass(frozen=True, slots=True, eq=False)
class Streamed:
    """`times` of a stream, and when it began and its last query ended, by `perf_counter_ns`.

    It took longer than its times add up to: what lies between two queries is in none of them.
    """

    times: Times
    begin_ns: int
    end_ns: int


def single_stream(items: Sequence[Any], stages: Sequence[Stage], limits: Limits) -> Times:
    """The times of `stream`."""
    return stream(items, stages, limits).times


def stream(items: Sequence[Any], stages: Sequence[Stage], limits: Limits) -> Streamed:
    """Send `items`, over and over, through `stages`; each stage takes what the one before returned.

    A stage's time begins where the one before ended, so the stages of a query add up to its latency. Times go into
    blocks allocated ahead; a new block is made between two queries, never inside one.
    """
    clock = time.perf_counter_ns
    width = len(stages)
    full: list[array[int]] = []
    block, at, end_of_block = _block(width), 0, BLOCK * width
    count, end = 0, 0
    start = clock()
    finish = start + int(limits.duration_s * 1e9)
    while end < finish or count < limits.queries:
        value = items[count % len(items)]
        begin = clock()
        for stage in stages:
            value = stage(value)
            end = clock()
            block[at] = end - begin
            at += 1
            begin = end
        count += 1
        if at == end_of_block:
            full.append(block)
            block, at = _block(width), 0
    parts = [np.frombuffer(b, np.uint64) for b in (*full, block[:at])]
    return Streamed(np.concatenate(parts).reshape(-1, width), start, end)


def warm_up(items: Sequence[Any], stages: Sequence[Stage], limit_s: float = 10.0, tolerance: float = 0.05) -> WarmUp:
    """Run until the medians of three windows in a row (0.1 s, at least 3 queries each) lie within `tolerance`.

    Ends after `limit_s` in any case; then `stable` is False. At least three windows are run.
    """
    begin = time.perf_counter()
    medians: list[int] = []
    queries = 0
    while True:
        times = single_stream(items, stages, Limits(WINDOW_S, WINDOW_QUERIES))
        queries += len(times)
        medians = [*medians, percentile(times.sum(axis=1), 0.5)][-STABLE_WINDOWS:]
        seconds = time.perf_counter() - begin
        stable = len(medians) == STABLE_WINDOWS and max(medians) <= min(medians) * (1 + tolerance)
        if stable or (len(medians) == STABLE_WINDOWS and seconds >= limit_s):
            return WarmUp(queries, round(seconds, 3), stable, tolerance)


def measure_overhead(stages: int, limits: Limits | None = None) -> Overhead:
    """What `single_stream` costs with this many stages, measured on this machine now."""
    begin = time.perf_counter_ns()
    times = single_stream([None], [_nothing] * stages, limits or Limits(0.2, 1000))
    wall_ns = time.perf_counter_ns() - begin
    return Overhead(round(wall_ns / len(times) / 1e3, 3), round(percentile(times.sum(axis=1), 0.5) / 1e3, 3))


def _nothing(value: Any) -> Any:
    return value


def _block(width: int) -> array[int]:
    # Written with zeros here, so that the kernel hands out its pages now and not at the first sample.
    return array("Q", bytes(8 * BLOCK * width))
