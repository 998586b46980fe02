"""The gate of what is computed, on functions that stand for networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, GateFailed
from helmsight.runtime.parity import Tolerance, check_parity, tolerance

COUNT = 32
FEEDS = [{"x": np.full((1, 4), float(i), np.float32)} for i in range(COUNT)]


def times(factor: float, offset: float = 0.0) -> Any:
    return lambda feeds: {"y": (feeds["x"] * factor + offset).astype(np.float32)}


def test_parity_says_how_far_off_it_is() -> None:
    parity = check_parity(times(1), times(1, 5e-5), FEEDS, Tolerance())
    assert parity.n == COUNT
    assert parity.max_abs == pytest.approx(5e-5, rel=0.1)
    assert parity.outputs["y"]["max_rel"] == 1.0, "the reference is all zeros on the first input"


@pytest.mark.parametrize(
    ("exported", "message"),
    [
        (times(1, 2e-4), r"output 'y' differs on input 0: 0.0002, expected 0 .off by 0.0002"),
        (times(1.002), "output 'y' differs on input 1"),
        (times(np.nan), "output 'y' of the exported file has 4 of 4 values that are not finite on input 0; nothing"),
        (
            lambda feeds: {"y": feeds["x"][:, :2]},
            "output 'y' of the exported file is float32 .1, 2., expected float32 .1, 4.",
        ),
        (lambda feeds: {"y": feeds["x"].astype(np.float64)}, "is float64 .*, expected float32"),
    ],
)
def test_parity_fails(exported: Any, message: str) -> None:
    with pytest.raises(GateFailed, match=message):
        check_parity(times(1), exported, FEEDS, Tolerance())


def test_a_network_that_fails_on_an_input() -> None:
    with pytest.raises(BadArtefact, match=r"the exported file fails on input 0 \(KeyError: 'z'\)"):
        check_parity(times(1), lambda feeds: {"y": feeds["z"]}, FEEDS, Tolerance())


def test_a_looser_tolerance_is_taken() -> None:
    assert check_parity(times(1), times(1, 0.05), FEEDS, Tolerance(atol=0.1)).max_abs == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(
    ("limit", "off", "message"),
    [
        (Tolerance(scale=0.1), 3.0, None),
        (Tolerance(scale=0.1), 3.2, r"differs on input 0: 3.2, expected 0 .* 0.1 of its largest"),
        (Tolerance(scale=0.5, rms=0.1), 1.0, None),
        (Tolerance(scale=0.5, rms=0.1), 2.0, r"output 'y' is off by 0.111 of its size .* over 32 inputs., allowed 0.1"),
    ],
)
def test_a_lower_precision_is_held_to_the_whole_output(limit: Tolerance, off: float, message: str | None) -> None:
    """The values go up to 31, their root mean square is 18."""
    if message is None:
        assert check_parity(times(1), times(1, off), FEEDS, limit).outputs["y"]["rms"] == pytest.approx(off / 18, 0.02)
        return
    with pytest.raises(GateFailed, match=message):
        check_parity(times(1), times(1, off), FEEDS, limit)


def test_each_precision_has_its_tolerance() -> None:
    assert tolerance("fp32") == Tolerance()
    assert tolerance("fp32").rms > tolerance("int8").rms > tolerance("fp16").rms
    assert tolerance("int8", 0.5) == Tolerance(0.5, 1e-3, 0.6, 0.15)
