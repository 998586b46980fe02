"""The counts and times of a run."""

from __future__ import annotations

from helmsight.runtime.meter import KEPT, Meter


def test_percentiles_are_of_the_newest_samples() -> None:
    meter = Meter()
    for i in range(KEPT + 100):
        meter.add("age", i * 1_000_000 if i >= 100 else 10**12)
    age = meter.summary({}, {}, 0).times["age"]
    assert age.n == KEPT
    assert age.p50_ms == 100 + (KEPT - 1) / 2


def test_a_time_with_few_samples_is_of_those_alone() -> None:
    meter = Meter()
    for span_ns in (2_000_000, 4_000_000, 3_000_000):
        meter.add("capture", span_ns)
    capture = meter.summary({}, {}, 0).times["capture"]
    assert (capture.n, capture.p50_ms) == (3, 3.0)
