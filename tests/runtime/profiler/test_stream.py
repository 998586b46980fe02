"""The loop: order, counts and the ends of a run. No time is asserted but what a sleep guarantees."""

import time
from typing import Any

import numpy as np
import pytest

from helmsight.runtime.profiler import stream
from helmsight.runtime.profiler.stream import Limits, measure_overhead, single_stream, warm_up


def test_items_pass_through_the_stages_in_turn() -> None:
    seen: list[Any] = []
    stages = (lambda x: x + 1, lambda x: x * 10, seen.append)
    times = single_stream([1, 2], stages, Limits(0, 5))
    assert seen == [20, 30, 20, 30, 20]
    assert times.shape == (5, 3)
    assert times.dtype == np.uint64


def test_every_sample_is_kept_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BLOCK", 4)
    naps = iter([0.0] * 9 + [0.02] + [0.0] * 3)
    times = single_stream([None], [lambda _: time.sleep(next(naps))], Limits(0, 13))
    assert times.shape == (13, 1)
    assert times[9, 0] >= 20e6
    assert times.argmax() == 9


def test_a_run_ends_when_both_limits_are_reached() -> None:
    begin = time.perf_counter()
    times = single_stream([None], [lambda _: time.sleep(0.001)], Limits(0.05, 3))
    assert time.perf_counter() - begin >= 0.05
    assert len(times) > 3
    assert len(single_stream([None], [lambda _: None], Limits(0, 1))) == 1


def test_the_stages_add_up_to_the_latency() -> None:
    naps = (0.002, 0.004)
    times = single_stream([None], [lambda _: time.sleep(naps[0]), lambda _: time.sleep(naps[1])], Limits(0, 3))
    assert (times[:, 0] >= 2e6).all()
    assert (times[:, 1] >= 4e6).all()


def test_warm_up_says_when_it_does_not_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "WINDOW_S", 0.0)
    naps = iter(0.001 * 2 ** (i // 3) for i in range(100))  # each window of three is twice as slow as the last
    found = warm_up([None], [lambda _: time.sleep(next(naps))], limit_s=0.01)
    assert not found.stable
    assert found.queries == 9


def test_warm_up_ends_as_soon_as_it_settles() -> None:
    found = warm_up([None], [lambda _: time.sleep(0.01)], limit_s=60, tolerance=10.0)
    assert found.stable
    assert found.seconds < 60
    assert found.tolerance == 10.0


def test_the_overhead_is_measured_for_the_stages_at_hand() -> None:
    found = measure_overhead(3, Limits(0, 200))
    assert found.in_sample_us > 0
    assert found.per_query_us > 0
