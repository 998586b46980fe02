"""The fits to published latencies, and that what ships is one of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.latency_fits import FORMS, SHIPS, by_device, fit, held_back, read
from benchmarks.prediction import factor_of, held

from helmsight.devices.device import device
from helmsight.devices.prediction import latency_model


@pytest.fixture(scope="module")
def rows():
    return read()


def test_what_ships_is_the_fit_to_the_published_figures(rows):
    fitted, ships = fit(rows, SHIPS).model, latency_model()
    np.testing.assert_allclose(fitted.weights, ships.weights, rtol=1e-3, atol=1e-3)
    assert fitted.constant_ms == pytest.approx(ships.constant_ms, rel=1e-3)


def test_an_engines_figure_is_predicted_as_the_model_that_ships_does(rows):
    fitted = fit(rows, SHIPS)
    row = next(r for r in rows if r.harness == "engine")
    expected = math.log(fitted.model.ms(row.load, row.precision, row.limits))
    assert fitted([row])[0] == pytest.approx(expected)
    slower, tuned = (fitted([replace(row, harness=harness)])[0] for harness in ("framework", "mlperf"))
    assert tuned < expected < slower


def test_every_form_is_fitted(rows):
    assert len(FORMS) == len(set(FORMS)) == 16
    few = [r for r in rows if r.device in ("t4", "jetson-nano")]
    for form in FORMS:
        assert np.abs(fit(few, form)(few) - np.log([r.ms for r in few])).mean() < 0.4


def test_a_fold_sees_nothing_of_what_is_held_back(rows):
    seen = []

    def make(known):
        seen.append({r.device for r in known})
        return lambda wanted: np.zeros(len(wanted))

    errors = held_back(rows, by_device, make)
    np.testing.assert_allclose(errors, -np.log([r.ms for r in rows]))
    devices = {r.device for r in rows}
    assert [devices - known for known in seen] == [{name} for name in sorted(devices)]


def test_the_interval_of_a_device_is_of_the_others(rows):
    few = [replace(rows[0], device=name, harness="engine") for name in "aab"]
    errors = np.array([0.1, 0.2, 1.0])
    assert factor_of(errors[:2], few[:2]) == pytest.approx(0.193)
    assert held(errors, few).tolist() == [True, True, False]


def test_figures_in_tf32_are_of_gpus_that_have_it(rows):
    capable = {r.device for r in rows if float(device(r.device).gpu.compute_capability) >= 8}
    assert all(r.tf32 == (r.precision == "fp32" and r.device in capable) for r in rows)
    above = [r for r in rows if r.tf32 and r.load.operations / r.ms / 1e6 > device(r.device).gpu.fp32_gflops]
    assert {r.device for r in above} == {r for r in capable if r.startswith("jetson")}  # faster than FP32 can be
