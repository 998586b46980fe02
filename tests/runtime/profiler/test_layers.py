"""The layers of the networks that ship, by ONNX Runtime's own profiler, and the trace of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from helmsight.devices.device import device
from helmsight.devices.errors import BadArtefact, UsageError
from helmsight.runtime.backends import SessionOptions
from helmsight.runtime.backends.layer_times import EngineRun, LayerEvent, Span, read_onnxruntime
from helmsight.runtime.bundle import Bundle, Manifest, TensorSpec, open_bundle, write_bundle
from helmsight.runtime.onnx_nodes import Node, OnnxGraph, Weight
from helmsight.runtime.profiler import ProfileOptions, load_profiles, save_profiles
from helmsight.runtime.profiler.layer_profile import Layer, LayerProfile
from helmsight.runtime.profiler.layers import Timeline, _layers, profile_layers
from helmsight.runtime.profiler.measure import random_feeds
from helmsight.runtime.profiler.rates import Rates, measured_rates, rates_of
from helmsight.runtime.profiler.trace import process_of, read_trace, write_trace

from ...profiles import a_profile

ONE_THREAD = SessionOptions(threads=1)


@pytest.fixture(scope="module", params=["face", "navigate"])
def measured(request: pytest.FixtureRequest) -> tuple[Bundle, LayerProfile, Timeline]:
    bundle = open_bundle(request.param)
    return bundle, *profile_layers(bundle, ProfileOptions(ONE_THREAD, stages=True))


def test_all_operations_are_found_again(measured: tuple[Bundle, LayerProfile, Timeline]) -> None:
    bundle, found, _ = measured
    counted = bundle.manifest.provenance["graph"]["macs"]
    assert sum(layer.operations or 0 for layer in found.layers) == 2 * counted
    assert all(layer.operations is not None and layer.moved_bytes for layer in found.layers)


def test_every_layer_with_operations_has_its_module(measured: tuple[Bundle, LayerProfile, Timeline]) -> None:
    _, found, _ = measured
    known = {layer.module for layer in found.layers if layer.operations}
    assert None not in known
    assert {layer.module for layer in found.layers if layer.operator.startswith("Reorder")} <= {None}
    stem = found.layers[2:6]
    assert any((layer.module or "").startswith("stem.") for layer in stem)


def test_times_are_parts_of_a_run(measured: tuple[Bundle, LayerProfile, Timeline]) -> None:
    _, found, timeline = measured
    assert found.runs >= 5
    assert found.profiler == "ONNX Runtime's profiler"
    for run in timeline.runs:
        assert sum(event.span.duration_us for event in run.layers) <= run.span.duration_us
    slowest = found.slowest(10)
    assert [layer.ms for layer in slowest] == sorted((layer.ms for layer in slowest), reverse=True)
    assert len(slowest) == 10


def test_a_run_lies_within_its_stage(measured: tuple[Bundle, LayerProfile, Timeline]) -> None:
    _, _, timeline = measured
    for stages, run in zip(timeline.stages, timeline.runs, strict=True):
        assert list(stages) == ["prepare", "inference", "decode"]
        inference = stages["inference"]
        assert inference.begin_us <= run.span.begin_us
        assert run.span.end_us <= inference.end_us
        assert stages["prepare"].end_us <= inference.begin_us


def test_the_trace_nests_layers_in_runs_in_stages(
    measured: tuple[Bundle, LayerProfile, Timeline], tmp_path: Path
) -> None:
    bundle, found, timeline = measured
    name = bundle.manifest.name
    write_trace(tmp_path / "t.json", [process_of(timeline, name)] * 2)
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert {e["args"]["name"] for e in events if e["ph"] == "M"} == {name, "stages and layers"}
    assert {e["pid"] for e in events} == {1, 2}
    shown = [e for e in events if e["ph"] == "X" and e["pid"] == 1]
    assert all({"name", "cat", "ts", "dur", "tid", "args"} <= set(e) for e in shown)
    assert min(e["ts"] for e in shown) == 0
    # Viewers draw by nesting: what overlaps without lying within the other is drawn wrong.
    open_until: list[float] = []
    for event in sorted(shown, key=lambda e: (e["ts"], -e["dur"])):
        while open_until and open_until[-1] <= event["ts"] + 1e-2:
            open_until.pop()
        assert not open_until or event["ts"] + event["dur"] <= open_until[-1] + 1e-2
        open_until.append(event["ts"] + event["dur"])
    layers = [e for e in shown if e["cat"] == "layer"]
    assert len(layers) == found.runs * len(found.layers)
    assert {"layer", "operator", "module", "operations", "moved_bytes"} == set(layers[0]["args"])


def test_a_trace_that_was_written_elsewhere_is_read(
    measured: tuple[Bundle, LayerProfile, Timeline], tmp_path: Path
) -> None:
    bundle, _, timeline = measured
    here = process_of(timeline, "here")
    write_trace(tmp_path / "t.json", [process_of(timeline, bundle.manifest.name)])
    read = read_trace((tmp_path / "t.json").read_bytes(), "here", 1 << 26)
    assert [{key: value for key, value in event.items() if key != "pid"} for event in read] == here


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"traceEvents": [{"ph": "X", "name": "a", "args": 1}]}'])
def test_what_is_no_trace_is_refused(content: bytes) -> None:
    with pytest.raises((BadArtefact, ValueError)):
        read_trace(content, "here", 1 << 26)


def test_a_size_that_is_chosen_has_its_own_operations() -> None:
    usual = open_bundle("face")
    twice, _ = profile_layers(usual.resized((640, 480)), ProfileOptions(ONE_THREAD))
    counted = usual.manifest.provenance["graph"]["macs"]
    assert sum(layer.operations or 0 for layer in twice.layers) == pytest.approx(8 * counted, rel=0.02)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_network_in_another_precision_keeps_its_modules_and_operations(precision: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    from helmsight.export.lowering import lower_to

    full = open_bundle("navigate")
    feeds = [random_feeds(full.manifest.inputs, seed) for seed in range(4)]
    model = lower_to(precision, onnx.load(full.model), feeds, tmp_path)()
    bundle = write_bundle(tmp_path / "l.bundle", full.manifest, {"model.onnx": model.SerializeToString()})
    found, _ = profile_layers(bundle, ProfileOptions(ONE_THREAD))
    assert sum(layer.operations or 0 for layer in found.layers) == 2 * full.manifest.provenance["graph"]["macs"]
    assert {"stem.1", "stage4.body.3", "drive.4", "masks"} <= {
        layer.module for layer in found.layers if layer.operations
    }


def test_what_multiplies_in_ways_that_are_not_counted_says_so(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], name="turn", perm=[1, 0]),
        helper.make_node("MatMul", ["t", "w"], ["p"], name="/head/MatMul"),
        helper.make_node("Einsum", ["p", "w2"], ["y"], name="mix", equation="ij,jk->ik"),
    ]
    weights = [helper.make_tensor(name, kind, dims, [0.5] * 32) for name, dims in (("w", (4, 8)), ("w2", (8, 4)))]
    values = [helper.make_tensor_value_info(name, kind, dims) for name, dims in (("x", (4, 3)), ("y", (3, 4)))]
    model = helper.make_model(
        helper.make_graph(nodes, "g", values[:1], values[1:], weights), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 9
    specs = TensorSpec("x", (4, 3), "float32"), TensorSpec("y", (3, 4), "float32")
    manifest = Manifest("m", "", specs[:1], specs[1:], parity={"cpu": {"precision": "fp32"}})
    bundle = write_bundle(tmp_path / "m.bundle", manifest, {"model.onnx": model.SerializeToString()})
    layers, _ = profile_layers(bundle, ProfileOptions(ONE_THREAD))
    products = [layer for layer in layers.layers if "MatMul" in layer.operator]
    assert [(layer.module, layer.operations) for layer in products][:1] == [("head", 2 * 3 * 4 * 8)]
    assert [layer.operations for layer in layers.layers if "Einsum" in layer.operator] == [None]


def test_what_runs_inside_another_node_counts_once(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    helper, kind, side = onnx.helper, onnx.TensorProto.FLOAT, 256
    made = helper.make_tensor_value_info("p", kind, (side, side))
    product = [helper.make_node("MatMul", ["x", "x"], ["p"], name="product")]
    other = [helper.make_node("Neg", ["x"], ["p"], name="other")]
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["high"], name="high", keepdims=0),
        helper.make_node("Greater", ["high", "zero"], ["positive"], name="positive"),
        helper.make_node(
            "If",
            ["positive"],
            ["y"],
            name="choice",
            then_branch=helper.make_graph(product, "then", [], [made]),
            else_branch=helper.make_graph(other, "else", [], [made]),
        ),
    ]
    values = [helper.make_tensor_value_info(name, kind, (side, side)) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", values[:1], values[1:], [helper.make_tensor("zero", kind, (), [0.0])]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    specs = [TensorSpec(name, (side, side), "float32") for name in "xy"]
    manifest = Manifest("m", "", (specs[0],), (specs[1],), parity={"cpu": {"precision": "fp32"}})
    bundle = write_bundle(tmp_path / "m.bundle", manifest, {"model.onnx": model.SerializeToString()})
    _, timeline = profile_layers(bundle, ProfileOptions(ONE_THREAD))
    for run in timeline.runs:
        assert sum(event.own_us for event in run.layers) <= run.span.duration_us
        inside = [event.span.duration_us for event in run.layers if event.operator == "MatMul"]
        assert [event.inner_us for event in run.layers if event.operator == "If"] == inside


@pytest.mark.parametrize("operator", ["Conv", "Gemm", "MatMul"])
def test_a_layer_of_other_ranks_than_the_node_of_its_name_is_not_counted(operator: str) -> None:
    graph = OnnxGraph((Node("node", operator, ("x", "w"), ("y",), "head"),), {"w": Weight((8, 3, 3, 3), 864)})
    event = LayerEvent("0 node/Shape", "node/Shape", "Shape", Span(0, 5), ((2, 3, 8, 8),), ((),))
    layer = _layers(graph, [EngineRun(Span(0, 5), (event,))])[event.key]
    assert (layer.module, layer.operations) == ("head", None)


def test_a_back_end_without_a_profiler_is_refused() -> None:
    with pytest.raises(UsageError, match="--device fake does not time its layers; expected cpu"):
        profile_layers(open_bundle("face"), ProfileOptions(SessionOptions("fake")))


CONVOLUTION = Layer("c", "stem", "Conv", 2.0, 4_000_000_000, 1_000_000)
COPY = Layer("t", "", "Transpose", 0.5, 0, 1_000_000)
UNKNOWN = Layer("u", None, "Attention", 1.0, None, None)


def layers(peak: float | None = 4000.0, bandwidth: float | None = 10.0) -> LayerProfile:
    return LayerProfile("a profiler", 50, 4.0, Rates(peak, bandwidth, "made up"), (COPY, CONVOLUTION, UNKNOWN))


def test_the_share_of_the_roofline() -> None:
    found = layers()
    assert found.slowest(2) == [CONVOLUTION, UNKNOWN]
    assert found.of_roofline(CONVOLUTION) == (pytest.approx(0.5), "compute")  # 1 ms at 4e12 a second
    assert found.of_roofline(COPY) == (pytest.approx(0.2), "memory")  # 0.1 ms at 1e10 a second
    assert found.of_roofline(UNKNOWN) is None
    assert layers(peak=None).of_roofline(CONVOLUTION) is None
    assert layers(peak=None).of_roofline(COPY) == (pytest.approx(0.2), "memory")
    assert layers(bandwidth=None).of_roofline(COPY) is None


def test_rates_are_measured_of_a_processor_and_catalogued_of_a_gpu() -> None:
    here = measured_rates("fp32", 1)
    assert here.peak_gflops is not None
    assert here.bandwidth_gb_s is not None
    assert 0.1 < here.peak_gflops < 1e4
    assert 0.1 < here.bandwidth_gb_s < 1e4
    assert "measured on that machine with 1 thread" in here.origin
    assert measured_rates("int8", 1).peak_gflops is None
    board = device("jetson-nano")
    gpu = rates_of("cuda", "fp16", 1, board)
    assert board.gpu is not None
    assert gpu.peak_gflops == board.gpu.fp16_gflops
    assert gpu.bandwidth_gb_s == board.memory.bandwidth_gb_s
    assert rates_of("cuda", "fp32", 1, None) == Rates(
        None, None, "not available: the catalogue does not have this machine"
    )


def test_a_record_keeps_its_layers(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    save_profiles(path, [replace(a_profile([1_000_000] * 10), layers=layers()), a_profile([1_000_000] * 10)])
    with_layers, without = load_profiles(path)
    assert with_layers.layers == layers()
    assert without.layers is None
    assert "layers" not in json.loads(path.read_text())["profiles"][1]
    broken = json.loads(path.read_text())
    del broken["profiles"][0]["layers"]["rates"]
    path.write_text(json.dumps(broken))
    with pytest.raises(BadArtefact, match=r"layers has no rates"):
        load_profiles(path)


@pytest.mark.parametrize("text", ["", "[{}]", "{", '[{"cat": "Node", "name": "x_kernel_time"}]'])
def test_a_profile_that_is_cut_off_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "layers.json").write_text(text)
    with pytest.raises(BadArtefact, match=r"ONNX Runtime's profile .* cannot be read"):
        read_onnxruntime(tmp_path / "layers.json")


@pytest.mark.parametrize(("kind", "expected"), [("float", (24, 8)), ("bfloat16", ()), ("string", ())])
def test_the_size_of_a_type_that_is_not_known_is_not_nothing(
    tmp_path: Path, kind: str, expected: tuple[int, ...]
) -> None:
    said = {"node_index": "0", "op_name": "Split", "activation_size": "0", "output_size": "0", "parameter_size": "0"}
    said |= {"input_type_shape": [], "output_type_shape": [{kind: [2, 3]}, {"int64": [1]}]}
    node = {"cat": "Node", "name": "x_kernel_time", "ts": 1, "dur": 1, "args": said}
    run = {"cat": "Session", "name": "model_run", "ts": 0, "dur": 3}
    (tmp_path / "layers.json").write_text(json.dumps([run, node]))
    ((layer,),) = (one.layers for one in read_onnxruntime(tmp_path / "layers.json"))
    assert layer.output_bytes == expected
