"""A bundle's prediction, from what its export counted."""

from __future__ import annotations

import pytest

from helmsight.devices.device import device
from helmsight.devices.errors import UsageError
from helmsight.devices.prediction import predict
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.profiler.predicted import Predicted, load_of, memory_bytes, precisions, predict_bundle

GRAPH = {
    "parameters": 1000,
    "macs": 5_000_000,
    "peak_bytes": 4000,
    "operators": {"Conv": 8, "Gemm": 2, "Relu": 7},
    "depthwise": 3,
}


def test_load_of_a_graph():
    load = load_of(GRAPH, "mine")
    assert (load.operations, load.parameters, load.layers, load.depthwise) == (1e7, 1000, 10, True)
    assert not load_of(GRAPH | {"depthwise": 2}, "mine").depthwise
    for missing in ("macs", "parameters", "operators"):
        with pytest.raises(UsageError, match=r"mine.*export it anew"):
            load_of({key: value for key, value in GRAPH.items() if key != missing}, "mine")
    with pytest.raises(UsageError, match=r"mine.* 8 convolutions are depthwise.*; measure it again with this version"):
        load_of({key: value for key, value in GRAPH.items() if key != "depthwise"}, "mine")


def test_memory_shrinks_with_the_precision():
    assert memory_bytes(GRAPH, "fp32") == 4 * 1000 + 4000
    assert memory_bytes(GRAPH, "int8") == 1000 + 1000
    assert memory_bytes({"parameters": 1000}, "fp16") is None


def test_memory_that_was_not_counted_says_why():
    said = predict(device("t4"), "fp16", load_of(GRAPH, "mine"))
    assert Predicted("mine", said, memory_bytes(GRAPH, "fp16"), 16e9).memory_note == ""
    older = Predicted("mine", said, memory_bytes({"parameters": 1000}, "fp16"), 16e9).to_json()
    assert (older["memory_bytes"], "; export it anew, or " in older["memory_note"]) == (None, True)


def test_precisions_are_those_that_the_gpu_computes_in():
    assert precisions(device("jetson-nano")) == ["fp32", "fp16"]
    assert precisions(device("dgx-a100")) == ["fp32", "fp16", "int8"]


def test_the_shipped_bundle_on_two_boards():
    found = list(predict_bundle(open_bundle("navigate"), [device("jetson-nano"), device("t4")]))
    assert [(one.prediction.device, one.prediction.precision) for one in found] == [
        ("jetson-nano", "fp32"), ("jetson-nano", "fp16"), ("t4", "fp32"), ("t4", "fp16"), ("t4", "int8"),
    ]  # fmt: skip
    assert found[0].prediction.ms > found[2].prediction.ms
    assert found[0].to_json()["predicted"] is True
