"""TensorRT's layers: what its profiler and its inspector say, on the fake; the real ones are in test_gpu.py."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from helmsight.devices.errors import UsageError
from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.backends.layer_times import HasLayers, Span
from helmsight.runtime.bundle import Bundle
from helmsight.runtime.engines.build import build
from helmsight.runtime.engines.layers import runs_of
from helmsight.runtime.profiler import ProfileOptions
from helmsight.runtime.profiler.layers import profile_layers

from .conftest import Machine
from .fakes import TIMES


def tensor(*shape: int, kind: str = "Half") -> dict[str, Any]:
    return {"Name": "t", "Dimensions": list(shape), "Format/Datatype": kind}


CONVOLUTION = {
    "Name": "conv1 + relu1",
    "LayerType": "CaskConvolution",
    "ParameterType": "Convolution",
    "Inputs": [tensor(1, 3, 8, 8)],
    "Outputs": [tensor(1, 4, 8, 8, kind="Row major linear FP32")],
    "Metadata": "[ONNX Layer: node_Conv_1]\x1e[ONNX Layer: node_relu]",
}


def test_a_layer_has_what_the_inspector_knows_of_it() -> None:
    (run,) = runs_of([(Span(1000.0, 900.0), TIMES)], json.dumps({"Layers": [CONVOLUTION, "only a name"]}))
    first, *others = run.layers
    assert (first.name, first.operator, first.span) == ("conv1 + relu1", "Convolution", Span(1000.0, 300.0))
    assert (first.inputs, first.outputs) == (((1, 3, 8, 8),), ((1, 4, 8, 8),))
    assert first.activation_bytes == 2 * 3 * 64 + 4 * 4 * 64
    assert "node_Conv_1" in first.made_of
    assert [(e.span.begin_us, e.operator, e.outputs, e.activation_bytes) for e in others] == [
        (1300.0, "", (), None), (1350.0, "", (), None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "[]", '{"Layers": 3}', json.dumps({"Layers": [{"Name": "fc", "Inputs": [{}], "Outputs": 3}]})]
)
def test_without_an_inspector_layers_have_names_and_times(text: str) -> None:
    (run,) = runs_of([(Span(0.0, 1.0), TIMES)], text)
    assert [(e.name, round(e.span.duration_us)) for e in run.layers] == [(name, round(ms * 1e3)) for name, ms in TIMES]
    assert all(e.activation_bytes is None for e in run.layers)


def test_a_profiled_engine_tells_of_each_run_and_is_no_graph(bundle: Bundle, machine: Machine, tmp_path: Any) -> None:
    build(bundle)
    with load(bundle, SessionOptions("tensorrt", layers=tmp_path)) as session:
        assert isinstance(session, HasLayers)
        x = np.ones((1, 3), np.float32)
        for _ in range(3):
            np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x)
        assert machine.cuda.launches == 0
        runs = session.layer_runs()
    assert [len(run.layers) for run in runs] == [3, 3, 3]
    assert not machine.cuda.memories


def test_the_layers_of_an_engine_are_profiled(bundle: Bundle, machine: Machine) -> None:
    build(bundle)
    found, timeline = profile_layers(bundle, ProfileOptions(SessionOptions("tensorrt")))
    assert found.profiler == "TensorRT's profiler"
    assert [(layer.name, round(layer.ms, 3)) for layer in found.layers] == list(TIMES)
    assert all(layer.operations is None for layer in found.layers)
    assert len(timeline.runs) == found.runs


def test_a_product_without_a_profiler_is_refused(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="--device fake does not time its layers; expected cpu, tensorrt"):
        profile_layers(bundle, ProfileOptions(SessionOptions("fake")))
