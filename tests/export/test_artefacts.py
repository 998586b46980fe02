"""What targets get: files for TensorRT, also of JetPack 4 and 5, and engines of TensorRT-RTX, all of them real."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, DeviceMismatch, GateFailed, MissingExtra
from helmsight.export.artefacts import Order, check_tools, make, make_all, same_network
from helmsight.export.artefacts.trtexec import VERSIONS, trtexec_line
from helmsight.export.build import ExportOptions, export
from helmsight.export.gates import score_gate
from helmsight.export.precision import read_precision
from helmsight.export.targets import RTX_CAPABILITIES, Target, row
from helmsight.runtime.bundle import Bundle, open_bundle, write_bundle
from helmsight.runtime.parity import Tolerance, plain_onnx_run

onnx = pytest.importorskip("onnx", reason="needs the train extra")
pytest.importorskip("onnxruntime", reason="needs the cpu extra")
T = onnx.TensorProto

WEIGHTED = 32
"""Convolutions and products of the navigation network."""


def order(draft: Bundle, name: str, folder: Path, precision: str = "fp32", count: int = 2) -> Order:
    (spec,) = draft.manifest.inputs
    rng = np.random.default_rng(0)
    feeds = [{spec.name: rng.integers(0, 256, spec.shape).astype(spec.dtype)} for _ in range(count)]
    folder.mkdir(exist_ok=True)
    return Order(draft, Target(row(name), precision), folder, feeds, Tolerance(), lambda line: None)


@pytest.fixture(scope="module")
def drafts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The navigation network in each precision, int8 as NVIDIA's engines read it; the gates are tested elsewhere."""
    from helmsight.export.lowering import lower_to

    full = open_bundle("navigate")
    folder = tmp_path_factory.mktemp("drafts")
    shape = full.manifest.inputs[0].shape
    feeds = [{"image": np.random.default_rng(i).integers(0, 256, shape, np.uint8)} for i in range(4)]
    made = {"fp32": full}
    for precision in ("fp16", "int8"):
        work = folder / precision
        work.mkdir()
        lowered = lower_to(precision, onnx.load(full.model), feeds, work, for_nvidia=True)()
        parity = {"cpu": {"precision": precision}}
        manifest = replace(full.manifest, parity=parity)
        files: dict[str, Path | bytes] = {"model.onnx": lowered.SerializeToString()}
        made[precision] = write_bundle(folder / f"{precision}.bundle", manifest, files)
    return made


def test_pairs_stand_before_products_and_sums_only(drafts: dict[str, Bundle]) -> None:
    graph = onnx.load(drafts["int8"].model).graph
    dequantised = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    fed = {node.op_type for node in graph.node if dequantised & set(node.input)}
    assert fed - {"Reshape", "Transpose"} == {"Add", "Conv", "Gemm"}
    assert not dequantised & {value.name for value in graph.output}, "what is decoded stays in float"
    assert read_precision(onnx.load(drafts["int8"].model)).weighted_ops == {"int8": WEIGHTED}


def test_the_score_is_of_the_file_that_the_target_gets(drafts: dict[str, Bundle], tmp_path: Path) -> None:
    draft = drafts["int8"]
    scored = {"score": {"steer_rmse": {"fp32": 0.3164, "exported": 0.3165}}}
    parity = {"cpu": {"precision": "int8", **scored}}
    draft = replace(draft, manifest=replace(draft.manifest, parity=parity))
    run = plain_onnx_run(draft.model, draft.manifest.outputs)
    worse = {"steer_rmse": {"value": 0.33, "better": "lower"}}
    gate = score_gate(lambda run, manifest: worse, draft.manifest, 0.01)
    asked = replace(order(draft, "dgx-a100", tmp_path / "t", "int8"), score=gate)
    assert same_network(asked, run)["score"] == scored["score"], "to the last bit: it is the bundle's"

    def other(feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: values + np.float32(1e-6) for name, values in run(feeds).items()}

    with pytest.raises(GateFailed, match=r"steer_rmse goes from 0.3164 in the source to 0.33 exported"):
        same_network(asked, other)
    worse["steer_rmse"]["value"] = 0.3
    found = same_network(asked, other)
    assert (found["scored"], found["score"]["steer_rmse"]["exported"]) == ("this file", 0.3)


def bad_draft(folder: Path, kind: str, operator_set: int = 18) -> Bundle:
    """A network with one operator after a Relu."""
    helper = onnx.helper
    x, y = (helper.make_tensor_value_info(name, T.FLOAT, [1, 3, 4, 4]) for name in "xy")
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "first"),
        helper.make_node(kind, ["r"], ["y"], f"my_{kind.lower()}"),
    ]
    made = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", operator_set)], ir_version=10
    )
    shipped = open_bundle("navigate").manifest
    spec = replace(shipped.inputs[0], name="x", shape=(1, 3, 4, 4), dtype="float32", layout="NCHW")
    outputs = (replace(shipped.outputs[0], name="y", shape=(1, 3, 4, 4)),)
    manifest = replace(shipped, inputs=(spec,), outputs=outputs)
    return write_bundle(folder / f"{kind}.bundle", manifest, {"model.onnx": made.SerializeToString()})


@pytest.mark.parametrize(
    ("board", "opset", "dtype"), [("jetson-nano", 13, "float32"), ("jetson-xavier-nx", 17, "uint8")]
)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_file_for_trtexec_computes_the_same(
    drafts: dict[str, Bundle], tmp_path: Path, board: str, opset: int, dtype: str, precision: str
) -> None:
    if precision not in row(board).precisions:
        pytest.skip(f"{board} has no {precision}")
    wanted = replace(order(drafts[precision], board, tmp_path / "t", precision), tolerance=Tolerance(1e-3, 1e-3))
    record = make("trtexec", wanted)
    model = onnx.load(tmp_path / "t" / "trtexec.onnx")
    assert [one.version for one in model.opset_import if one.domain == ""] == [opset]
    assert record["precision"] == precision == read_precision(model).name
    assert record["real"]["weighted_ops"] == {precision: WEIGHTED}
    assert record["n"] == 2
    assert record["max_abs"] < 1e-3
    kind = {"float32": T.FLOAT, "uint8": T.UINT8}[dtype]
    assert [v.type.tensor_type.elem_type for v in model.graph.input] == [kind]
    assert record["inputs"] == {"image": dtype}
    script = tmp_path / "t" / "trtexec.sh"
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
    line = script.read_text().splitlines()[-1]
    assert line.startswith("/usr/src/tensorrt/bin/trtexec --onnx=trtexec.onnx --saveEngine=trtexec.engine")
    assert ("--fp16" in line.split(), "--int8" in line.split()) == (precision == "fp16", precision == "int8")
    assert line in (tmp_path / "t" / "trtexec.md").read_text()


def test_each_trtexec_knows_the_options_of_its_line() -> None:
    """8.2 and 8.5 differ in the option for scratch memory, and only 8.5 can be told a layer's type."""
    old, new = trtexec_line(VERSIONS[13], ("fp16",)), trtexec_line(VERSIONS[17], ("fp16",))
    assert "--workspace=1024" in old
    assert "--layerPrecisions" not in old
    assert "--memPoolSize=workspace:1024" in new
    assert "--layerPrecisions=*:fp16" in new
    assert "--layerPrecisions" not in trtexec_line(VERSIONS[17], ("int8", "fp32"))


def test_what_the_old_parser_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        BadArtefact, match=r"^-t jetson-nano: node 'my_mish' \(Mish\) cannot be written in ONNX opset 13"
    ):
        make_all(order(bad_draft(tmp_path, "Mish"), "jetson-nano", tmp_path / "t"))
    with pytest.raises(BadArtefact, match=r"node 'my_det': the parser of TensorRT 8.5 has no Det"):
        make("trtexec", order(_det(tmp_path), "jetson-xavier-nx", tmp_path / "t"))


def _det(folder: Path) -> Bundle:
    draft = bad_draft(folder, "Det")
    model = onnx.load(draft.model)
    model.graph.output[0].type.tensor_type.shape.dim.pop()
    model.graph.output[0].type.tensor_type.shape.dim.pop()
    outputs = (replace(draft.manifest.outputs[0], shape=(1, 3)),)
    manifest = replace(draft.manifest, outputs=outputs)
    return write_bundle(folder / "det2.bundle", manifest, {"model.onnx": model.SerializeToString()})


def test_a_file_that_computes_otherwise_is_not_written(
    drafts: dict[str, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from helmsight.export.artefacts import trtexec

    def spoilt(model: object, opset: int) -> object:
        made = real(model, opset)
        weights = next(t for t in made.graph.initializer if t.dims[:] and t.data_type == T.FLOAT and len(t.dims) == 4)
        values = onnx.numpy_helper.to_array(weights) * 1.5
        weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
        return made

    real = trtexec.to_opset
    monkeypatch.setattr(trtexec, "to_opset", spoilt)
    with pytest.raises(GateFailed, match="differs"):
        make("trtexec", order(drafts["fp32"], "jetson-nano", tmp_path / "t"))


@pytest.mark.parametrize("name", ["face", "navigate"])
def test_the_file_for_tensorrt_is_compared_and_keeps_its_sizes_open(name: str, tmp_path: Path) -> None:
    record = make("tensorrt", order(open_bundle(name), "jetson-agx-orin-64g", tmp_path / "t"))
    assert (record["precision"], record["max_abs"]) == ("fp32", 0.0)
    model = onnx.load(tmp_path / "t" / "tensorrt.onnx")
    assert model.graph.node[0].op_type == "Cast"
    names = [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim if d.dim_param]
    assert names == (["height", "width"] if name == "face" else [])


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize(("board", "kind"), [("jetson-xavier-nx", "trtexec"), ("jetson-agx-orin-64g", "tensorrt")])
def test_a_picture_s_equal_scales_are_one_in_files_for_tensorrt_alone(
    drafts: dict[str, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: str, kind: str, precision: str
) -> None:
    """TensorRT 8.5.3.1 does not build an int8 network with three of them (export/nvidia.py)."""
    wanted = replace(order(drafts[precision], board, tmp_path / "one", precision), tolerance=Tolerance(1e-3, 1e-3))
    make(kind, wanted)
    monkeypatch.setattr(f"helmsight.export.artefacts.{kind}.for_tensorrt", lambda model: model)
    make(kind, replace(wanted, folder=order(wanted.draft, board, tmp_path / "three").folder))
    mended, plain = (tmp_path / number / f"{kind}.onnx" for number in ("one", "three"))
    for file, elements in ((wanted.draft.model, 3), (plain, 3), (mended, 1)):
        graph = onnx.load(file).graph
        used = {name for node in graph.node if node.op_type in ("Mul", "Sub") for name in node.input}
        assert [list(one.dims) for one in graph.initializer if one.name in used] == [[1, elements, 1, 1]] * 2
    for feeds in wanted.feeds:
        expected, made = (plain_onnx_run(file, wanted.draft.manifest.outputs)(feeds) for file in (plain, mended))
        assert {name: one.tobytes() for name, one in made.items()} == {n: one.tobytes() for n, one in expected.items()}


def test_an_opset_that_the_board_does_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceMismatch, match=r"the file has ONNX opset 21, TensorRT 10 there reads up to 20"):
        make("tensorrt", order(bad_draft(tmp_path, "Relu", 21), "jetson-agx-orin-64g", tmp_path / "t"))


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'helmsight[rtx]'")


RTX_BOARDS = {
    **{"dgx-a100": "8.0", "dgx-spark": "12.1", "t4": "7.5", "l4": "8.9"},
    **{"rtx-sm86": "8.6", "rtx-sm120": "12.0"},
}


def test_each_compute_capability_of_tensorrt_rtx_has_a_board_here() -> None:
    assert sorted(RTX_BOARDS.values(), key=float) == list(RTX_CAPABILITIES)


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("board", RTX_BOARDS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_of_tensorrt_rtx_is_built_without_a_gpu(
    drafts: dict[str, Bundle], tmp_path: Path, board: str, precision: str
) -> None:
    wanted = order(drafts[precision], board, tmp_path / "t", precision)
    if board == "t4" and precision != "fp16":
        said = r"Turing \(SM75\): FP32 GEMM .*; --precision fp16 may do; .*; -t t4/tensorrt does without$"
        with pytest.raises(BadArtefact, match=said) as caught:
            make_all(wanted)
        assert "/_src" not in str(caught.value)
        return
    record = make("tensorrt-rtx", wanted)
    engine = (tmp_path / "t" / "tensorrt-rtx.engine").read_bytes()
    assert len(engine) == record["bytes"] > 100_000
    assert record["precision"] == precision
    assert record["real"]["weighted_ops"] == {precision: WEIGHTED}
    assert record["compute_capability"] == RTX_BOARDS[board]
    assert list(record["versions"]) == ["TensorRT-RTX"]
    assert "TensorRT" not in json.dumps(record).replace("TensorRT-RTX", "")


@pytest.mark.usefixtures("rtx")
def test_an_engine_for_a_picture_of_several_sizes_is_of_the_usual_one(tmp_path: Path) -> None:
    record = make("tensorrt-rtx", order(open_bundle("face"), "l4", tmp_path / "t"))
    assert record["real"]["weighted_ops"] == {"fp32": 40}


def test_without_tensorrt_rtx_an_export_for_it_ends_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    said: list[str] = []
    with pytest.raises(
        MissingExtra,
        match=r"^-t dgx-a100: .*helmsight\[rtx\]', for Python 3.* on Linux; -t dgx-a100/tensorrt does without$",
    ):
        export("navigate", ExportOptions(targets=("cpu", "dgx-a100"), out=tmp_path / "n.bundle"), said.append)
    assert said == []
    check_tools(Target(row("dgx-a100"), "fp32", "tensorrt"))


@pytest.mark.usefixtures("rtx")
def test_what_tensorrt_rtx_does_not_take_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadArtefact, match=r"TensorRT-RTX [\d.]+ does not take the network: node 'my_det' \(Det"):
        make("tensorrt-rtx", order(_det(tmp_path), "l4", tmp_path / "t"))
    with pytest.raises(DeviceMismatch, match=r"does not build for compute capability 8.7; it does for SM75, SM80"):
        make("tensorrt-rtx", order(open_bundle("navigate"), "jetson-agx-orin-64g", tmp_path / "t"))


def test_one_bundle_has_what_each_target_needs_or_is_not_written(folder: Path) -> None:
    pytest.importorskip("torch", reason="export needs the train extra")
    # For trtexec alone: ncnn beside it needs the runner, whose building takes minutes where none is cached.
    targets = ("cpu", "jetson-nano/trtexec", "jetson-xavier-nx/trtexec")
    options = ExportOptions(inputs=("image:uint8:1x24x32x3",), targets=targets)
    bundle = export("nets:driver", options)
    for board in ("jetson-nano", "jetson-xavier-nx"):
        assert f"targets/{board}/trtexec.onnx" in bundle.manifest.files
        assert bundle.manifest.parity[board]["artefacts"]["trtexec"]["max_abs"] < 1e-4
    assert set(open_bundle(bundle.path).manifest.parity) == {"cpu", "jetson-nano", "jetson-xavier-nx"}
    before = {file: file.read_bytes() for file in sorted(bundle.path.rglob("*")) if file.is_file()}
    with pytest.raises(BadArtefact, match=r"^-t jetson-nano: "):
        export("nets:Softened", replace(options, inputs=("1x3x16x16",), out=bundle.path))
    assert {file: file.read_bytes() for file in sorted(bundle.path.rglob("*")) if file.is_file()} == before
