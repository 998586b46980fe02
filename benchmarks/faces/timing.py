"""Time a frame, of all detectors in turns on the same core."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from helmsight.runtime.profiler.others import OthersWatch

from .worker import timed

CALLS = 3
"""Of one detector before the next has its turn: the first brings its memory back into the caches."""

Timed = Callable[[int], list[tuple[float, float]]]
"""Makes that many calls: wall and processor milliseconds of each."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians over all calls in milliseconds; `ratio` is the median over the rounds to the base's in the same round."""

    wall_ms: float
    cpu_ms: float
    ratio: float | None


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This thread on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def in_turns(detectors: Mapping[str, Timed], base: str, rounds: int) -> tuple[dict[str, Timing], float | None]:
    """Timings by name, and how many cores other programs used meanwhile.

    Ratios are of processor time: on one core and one thread that is the time on the wall less what other programs took.
    """
    for run in detectors.values():
        run(CALLS)  # warm-up
    begin = time.perf_counter()
    with OthersWatch() as others:
        turns = [{name: run(CALLS) for name, run in detectors.items()} for _ in range(rounds)]
    seconds = time.perf_counter() - begin
    made = {}
    for name in detectors:
        wall, cpu = zip(*[call for turn in turns for call in turn[name]], strict=True)
        ratios = [_median_cpu(turn[name]) / _median_cpu(turn[base]) for turn in turns] if base in detectors else []
        ratio = statistics.median(ratios) if ratios else None
        made[name] = Timing(statistics.median(wall), statistics.median(cpu), ratio)
    if others.cores is None:
        return made, None
    # The watch takes the peers' process for another program.
    theirs = sum(cpu for turn in turns for calls in turn.values() for _, cpu in calls) / 1e3 / seconds
    return made, max(0.0, others.cores - theirs)


def here(call: Callable[[], object]) -> Timed:
    """The same for a call in this process."""
    return lambda calls: timed(call, calls)


def _median_cpu(calls: list[tuple[float, float]]) -> float:
    return statistics.median(cpu for _, cpu in calls)
