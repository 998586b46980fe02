"""Predictions: what a network would take on a GPU that is not here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helmsight.devices.device import device
from helmsight.devices.errors import DeviceMismatch, UsageError
from helmsight.devices.prediction import Limits, Load, features, latency_model, predict

RESNET50 = Load(operations=8.2e9, parameters=25.6e6, layers=54, depthwise=False)


@pytest.mark.parametrize(
    ("board", "precision", "published_ms"),
    [  # one figure a row of benchmarks/data/published_latency.csv, of the same network from several sources
        ("t4", "fp16", 2.0),
        ("dgx-a100", "int8", 0.5),
        ("jetson-nano", "fp16", 28.0),
    ],
)
def test_a_published_figure_lies_in_the_interval(board, precision, published_ms):
    said = predict(device(board), precision, RESNET50)
    assert said.low_ms < published_ms < said.high_ms
    assert said.low_ms < said.ms < said.high_ms
    assert not said.outside
    assert said.to_json()["predicted"] is True


def test_more_work_takes_longer_and_a_larger_gpu_less():
    orin, nano = device("jetson-agx-orin-64g"), device("jetson-nano")
    twice = replace(RESNET50, operations=2 * RESNET50.operations)
    assert predict(orin, "fp16", twice).ms > predict(orin, "fp16", RESNET50).ms
    assert predict(orin, "fp16", RESNET50).ms < predict(nano, "fp16", RESNET50).ms
    assert predict(orin, "int8", RESNET50).ms < predict(orin, "fp32", RESNET50).ms


def test_the_least_of_networks_still_takes_the_fixed_cost():
    tiny = Load(operations=1e6, parameters=1e3, layers=2, depthwise=False)
    said = predict(device("dgx-a100"), "fp16", tiny)
    assert said.ms >= latency_model().constant_ms
    assert "less than the least" in said.outside[0]


def test_more_layers_for_the_same_work_take_longer():
    board, deeper = device("jetson-agx-orin-64g"), replace(RESNET50, layers=105)
    assert predict(board, "fp16", deeper).ms > predict(board, "fp16", RESNET50).ms


def test_features_of_a_load():
    limits = Limits(peak_gflops=1000.0, bandwidth_gb_s=100.0, multiprocessors=16)
    one, at_peak, size, weights, layers, int8, fp16, depthwise = features(RESNET50, "fp16", limits)
    assert (one, int8, fp16, depthwise) == (1, 0, 1, 0)
    assert at_peak == pytest.approx(2.104, abs=1e-3)  # ln of 8.2 ms: 8.2e9 operations at 1e12 a second
    assert size == pytest.approx(2.773, abs=1e-3)
    assert weights == pytest.approx(-0.669, abs=1e-3)  # ln of 0.512 ms: 51.2 MB at 1e11 bytes a second
    assert layers == pytest.approx(3.989, abs=1e-3)


@pytest.mark.parametrize("board", ["jetson-tk1", "rpi4b"])
def test_boards_that_tensorrt_never_reached_are_refused(board):
    with pytest.raises(DeviceMismatch, match=f"--on {board}.*measure on the board"):
        predict(device(board), "fp32", RESNET50)


def test_what_a_gpu_or_the_figures_lack_is_refused():
    with pytest.raises(DeviceMismatch, match="does not compute in int8"):
        predict(device("jetson-nano"), "int8", RESNET50)
    with pytest.raises(UsageError, match=r"bf16.*expected fp32, fp16, int8"):
        predict(device("t4"), "bf16", RESNET50)
    with pytest.raises(UsageError, match="no operations"):
        predict(device("t4"), "fp16", replace(RESNET50, operations=0))
    with pytest.raises(UsageError, match="no operations"):
        predict(device("t4"), "fp16", replace(RESNET50, layers=0))
