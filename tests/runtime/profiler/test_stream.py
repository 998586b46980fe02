"""The loop: order, counts, times and the ends of a run, on a clock that only moves when a stage says so."""

from typing import Any

import numpy as np
import pytest

from helmsight.runtime.profiler import stream
from helmsight.runtime.profiler.stream import Limits, Stage, measure_overhead, single_stream, warm_up


class Clock:
    """Stands in for `time` in the module; `spend` is a stage that takes as long as its next figure says, in ns."""

    def __init__(self) -> None:
        self.now_ns = 0

    def perf_counter_ns(self) -> int:
        return self.now_ns

    def perf_counter(self) -> float:
        return self.now_ns / 1e9

    def spend(self, *spans_ns: int) -> Stage:
        turns = iter(spans_ns)

        def stage(value: Any) -> Any:
            self.now_ns += next(turns)
            return value

        return stage


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(stream, "time", made)
    return made


def test_items_pass_through_the_stages_in_turn() -> None:
    seen: list[Any] = []
    stages = (lambda x: x + 1, lambda x: x * 10, seen.append)
    times = single_stream([1, 2], stages, Limits(0, 5))
    assert seen == [20, 30, 20, 30, 20]
    assert times.shape == (5, 3)
    assert times.dtype == np.uint64


def test_every_sample_is_kept_across_blocks(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BLOCK", 4)
    spans = [7 * i + 1 for i in range(13)]
    assert single_stream([None], [clock.spend(*spans)], Limits(0, 13)).tolist() == [[s] for s in spans]


def test_the_stages_are_timed_apart(clock: Clock) -> None:
    stages = (clock.spend(1, 2, 3), clock.spend(10, 20, 30), clock.spend(2**40, 0, 5))
    assert single_stream([None], stages, Limits(0, 3)).tolist() == [[1, 10, 2**40], [2, 20, 0], [3, 30, 5]]


@pytest.mark.parametrize(
    ("duration_s", "queries", "expected"),
    [(0, 1, 1), (0, 7, 7), (0.05, 3, 5), (0.05, 9, 9), (0.051, 1, 6)],
)
def test_a_run_ends_when_both_limits_are_reached(clock: Clock, duration_s: float, queries: int, expected: int) -> None:
    ten_ms = clock.spend(*[10_000_000] * 100)
    assert len(single_stream([None], [ten_ms], Limits(duration_s, queries))) == expected


def test_real_time_is_what_is_measured() -> None:
    import time

    times = single_stream([None], [lambda _: time.sleep(0.002), lambda _: time.sleep(0.004)], Limits(0, 3))
    assert (times[:, 0] >= 2e6).all()  # a sleep is never shorter than asked for
    assert (times[:, 1] >= 4e6).all()


def test_warm_up_ends_as_soon_as_it_settles(clock: Clock) -> None:
    ms = 1_000_000
    windows = [w for span in (90, 60, 50, 51, 50) for w in [span * ms] * 3]  # each lasts longer than 0.1 s
    found = warm_up([None], [clock.spend(*windows)], limit_s=60)
    assert (found.stable, found.queries, found.tolerance) == (True, 15, 0.05)
    assert found.seconds == pytest.approx(0.903)


def test_warm_up_says_when_it_does_not_settle(clock: Clock) -> None:
    ever_slower = clock.spend(*(50_000_000 * 2 ** (i // 3) for i in range(100)))
    found = warm_up([None], [ever_slower], limit_s=2)
    assert not found.stable
    assert found.queries >= 9
    assert found.seconds >= 2


def test_the_overhead_is_measured_for_the_stages_at_hand() -> None:
    found = measure_overhead(3, Limits(0, 200))
    assert found.in_sample_us > 0
    assert found.per_query_us > 0
