"""Comparisons: ratios, the gate, and what may not be compared."""

from typing import Any

import numpy as np
import pytest

from helmsight.devices.errors import UsageError
from helmsight.runtime.profiler.compare import compare, pairs
from helmsight.runtime.profiler.layer_profile import Layer, LayerProfile
from helmsight.runtime.profiler.rates import Rates

from ...profiles import a_profile, around


def test_a_ratio_and_its_interval() -> None:
    found = compare(a_profile(around(10**6)), a_profile(around(2 * 10**6, seed=1)))
    row = found.rows[0]
    assert (row.stage, row.p) == ("inference", 0.5)
    assert row.ratio == pytest.approx(2.0, abs=0.01)
    assert row.ratio_95.low <= row.ratio <= row.ratio_95.high
    assert found.unlike == found.notes == ()


@pytest.mark.parametrize(
    ("percent", "slower", "undecided"), [(-10, False, False), (0, False, False), (4, False, False), (7, True, False)]
)
def test_slower_means_slower_than_the_tolerance(percent: int, slower: bool, undecided: bool) -> None:
    found = compare(a_profile(around(10**6)), a_profile(around(10**6 * (100 + percent) // 100, seed=1)))
    assert found.slower(0.05) is slower
    assert found.undecided(0.05) is undecided


def test_a_drifting_run_is_undecided_not_slower() -> None:
    drifting = np.linspace(900_000, 1_300_000, 2000)
    found = compare(a_profile(around(10**6)), a_profile(drifting))
    assert found.rows[0].ratio > 1.05
    assert not found.slower(0.05)
    assert found.undecided(0.05)


def test_the_gate_is_on_the_whole_query() -> None:
    was = np.stack([around(10**6, seed=i) for i in range(3)], axis=1)
    now = was * np.array([3, 1, 1], np.uint64)
    found = compare(a_profile(was), a_profile(now))
    assert {r.stage for r in found.rows} == {"prepare", "inference", "decode", "total"}
    assert found.gate.stage == "total"
    assert found.gate.ratio == pytest.approx(5 / 3, rel=0.01)
    assert found.slower(0.5)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"inputs": {"image": {"shape": [1, 480, 640, 3], "dtype": "uint8"}}}, "input: image 1x240x320x3 uint8"),
        ({"precision": "fp16"}, "precision: fp32 against fp16"),
        ({"device": "cuda"}, "device: cpu against cuda"),
        ({"threads": 2}, "threads: 1 against 2"),
    ],
)
def test_unlike_things_are_named(change: dict[str, Any], what: str) -> None:
    found = compare(a_profile(around(10**6)), a_profile(around(10**6), **change))
    assert len(found.unlike) == 1
    assert what in found.unlike[0]


def test_other_stages_are_unlike_and_only_what_both_have_is_compared() -> None:
    staged = a_profile(np.stack([around(10**6)] * 3, axis=1))
    found = compare(a_profile(around(10**6)), staged)
    assert found.unlike == ("stages: inference against prepare, inference, decode",)
    assert {r.stage for r in found.rows} == {"inference"}


def test_what_to_know_is_noted() -> None:
    other = a_profile(
        around(10**6), other_cores=0.7, feeds="x", machine={"cpu": {"model": "another"}}, versions={"numpy": "2.1"}
    )
    text = " | ".join(compare(a_profile(around(10**6)), other).notes)
    for part in ("B: other processes used 0.70 cores", "fed with", "different machines", "numpy 2.0 against 2.1"):
        assert part in text


def test_files_are_paired_by_bundle() -> None:
    face, navigate = a_profile(around(10**6)), a_profile(around(10**6), bundle="navigate")
    assert pairs([face], [navigate]) == [(face, navigate)]
    assert pairs([face, navigate], [navigate, face]) == [(face, face), (navigate, navigate)]
    for unpaired in ([face, navigate], [face]), ([face, face], [face, face]):
        with pytest.raises(UsageError, match="expected the same bundles"):
            pairs(*unpaired)


def test_layers_that_differ_most_are_named() -> None:
    def profiled(*times_ms: float) -> LayerProfile:
        layers = [Layer(f"n{i}", "stem.2" if i == 1 else None, "Conv", ms, None, None) for i, ms in enumerate(times_ms)]
        return LayerProfile("a profiler", 50, 4.0, Rates(None, None, "none"), tuple(layers))

    was = a_profile(around(10**6), layers=profiled(1.0, 2.0, 3.0, 4.0))
    found = compare(was, a_profile(around(10**6), layers=profiled(1.1, 2.9, 3.0, 3.8, 9.0)))
    assert found.notes == (
        "layers that differ most, by the profiler and without an interval: stem.2 (Conv) 2.000 to 2.900 ms; "
        "n3 (Conv) 4.000 to 3.800 ms; n0 (Conv) 1.000 to 1.100 ms",
    )
    assert compare(was, a_profile(around(10**6))).notes == ()
    assert compare(was, was).notes == ()
