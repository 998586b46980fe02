"""Into ncnn's files: the head that is cut, what is refused, the gate. What needs the built program is in runner/."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="export needs the train extra")
ort = pytest.importorskip("onnxruntime", reason="export needs the cpu extra")

from helmsight.devices.errors import BadArtefact, DeviceMismatch, GateFailed, MissingExtra  # noqa: E402
from helmsight.export import native  # noqa: E402
from helmsight.export.artefacts import Order, ncnn  # noqa: E402
from helmsight.export.build import ExportOptions, export  # noqa: E402
from helmsight.export.ncnn_model import check_layers, convert, cut_head, planes, the_picture  # noqa: E402
from helmsight.export.targets import check_targets  # noqa: E402
from helmsight.runtime.bundle import Bundle, Manifest, TensorSpec, open_bundle, write_bundle  # noqa: E402
from helmsight.runtime.parity import Tolerance  # noqa: E402
from helmsight.runtime.tasks import task_for  # noqa: E402

helper = onnx.helper
needs_pnnx = pytest.mark.skipif(importlib.util.find_spec("pnnx") is None, reason="pnnx of helmsight[tk1] is missing")
needs_ncnn = pytest.mark.skipif(importlib.util.find_spec("ncnn") is None, reason="ncnn of helmsight[tk1] is missing")

HW = (12, 16)
TO_NCHW = [0, 3, 1, 2]


def picture(dtype: str = "uint8", layout: str = "NHWC") -> TensorSpec:
    shape = (1, *HW, 3) if layout == "NHWC" else (1, 3, *HW)
    return TensorSpec("image", shape, dtype, layout, "BGR", (0, 255))


def head(name: str) -> list[Any]:
    """The nodes from `image` to `x`, float planes."""
    cast = helper.make_node("Cast", ["image"], ["c"], to=1)
    turn = helper.make_node("Transpose", ["image"], ["t"], perm=TO_NCHW)
    return {
        "turned, then cast": [turn, helper.make_node("Cast", ["t"], ["x"], to=1)],
        "cast, then turned": [cast, helper.make_node("Transpose", ["c"], ["x"], perm=TO_NCHW)],
        "turned": [helper.make_node("Transpose", ["image"], ["x"], perm=TO_NCHW)],
        "cast": [helper.make_node("Cast", ["image"], ["x"], to=1)],
        "nothing": [helper.make_node("Identity", ["image"], ["x"])],
    }[name]


def network(nodes: list[Any], spec: TensorSpec, more: list[Any] | None = None) -> Any:
    """A convolution on `x`, behind `nodes`; `more` nodes make another output, `size`."""
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    graph = helper.make_graph(
        [*nodes, helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]), *(more or [])],
        "net",
        [helper.make_tensor_value_info(spec.name, kind, list(spec.shape))],
        [helper.make_tensor_value_info("y", 1, [1, 4, *HW])]
        + ([helper.make_tensor_value_info("size", 7, [4])] if more else []),
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: Any, feeds: dict[str, Any]) -> list[Any]:
    return ort.InferenceSession(model.SerializeToString()).run(None, feeds)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("turned, then cast", picture()),
        ("cast, then turned", picture()),
        ("cast", picture(layout="NCHW")),
        ("turned", picture("float32")),
        ("nothing", picture("float32", "NCHW")),
    ],
)
def test_the_head_is_cut_and_nothing_else(name: str, spec: TensorSpec) -> None:
    model = network(head(name), spec)
    image = np.random.default_rng(1).integers(0, 256, spec.shape).astype(spec.dtype)
    (expected,) = run(model, {"image": image})
    cut_head(model, spec)
    assert "Cast" not in {node.op_type for node in model.graph.node}
    assert "Transpose" not in {node.op_type for node in model.graph.node}
    (value,) = model.graph.input
    assert [d.dim_value for d in value.type.tensor_type.shape.dim] == list(planes(spec)) == [1, 3, *HW]
    turned = image.transpose(TO_NCHW) if spec.layout == "NHWC" else image
    (found,) = run(model, {value.name: np.ascontiguousarray(turned, np.float32)})
    np.testing.assert_array_equal(found, expected)


def test_what_else_reads_the_picture_still_sees_it_in_its_own_layout() -> None:
    model = network(head("turned, then cast"), picture(), [helper.make_node("Shape", ["image"], ["size"])])
    cut_head(model, picture())
    _, size = run(model, {model.graph.input[0].name: np.zeros((1, 3, *HW), np.float32)})
    assert size.tolist() == [1, *HW, 3]


def test_layers_that_ncnn_lacks_are_named() -> None:
    good = "7767517\n2 2\nInput in0 0 1 in0\nReLU r 1 1 in0 out0\n"
    check_layers(good, {"Input", "ReLU"}, 1)
    with pytest.raises(BadArtefact, match=r"no layer for ReLU \(r\)"):
        check_layers(good, {"Input"}, 1)
    with pytest.raises(BadArtefact, match="left out1 out"):
        check_layers(good, {"Input", "ReLU"}, 2)


def bundle_of(folder: Path, model: Any, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> Bundle:
    manifest = Manifest("toy", "", inputs, outputs)
    return write_bundle(folder / "toy.bundle", manifest, {"model.onnx": model.SerializeToString()})


OUTPUT = TensorSpec("y", (1, 4, *HW), "float32")


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ((TensorSpec("x", (1, 8), "float32"),), (OUTPUT,), r"this network takes x float32 \[1, 8\]"),
        ((picture(), replace(picture(), name="second")), (OUTPUT,), "takes image uint8 .* NHWC, second uint8"),
        ((TensorSpec("image", (2, *HW, 3), "uint8", "NHWC"),), (OUTPUT,), r"takes image uint8 \[2, 12, 16, 3\]"),
        ((TensorSpec("image", (1, *HW, 3), "int32", "NHWC"),), (OUTPUT,), "takes image int32"),
        ((picture(),), (TensorSpec("y", (4,), "int64"),), r"y is int64 \[4\] \(Conv\); return the scores"),
        ((picture(),), (TensorSpec("y", ("n", 4), "float32"),), r"y is float32 \['n', 4\]"),
    ],
)
def test_what_the_program_cannot_feed_or_give_is_refused(
    tmp_path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], said: str
) -> None:
    bundle = bundle_of(tmp_path, network(head("turned, then cast"), picture()), inputs, outputs)
    with pytest.raises(DeviceMismatch, match=said):
        the_picture(bundle)


@needs_pnnx
def test_an_operator_that_ncnn_lacks_fails_the_export(tmp_path: Path) -> None:
    model = network(head("turned, then cast"), picture())
    model.graph.node[-1].output[0] = "z"
    model.graph.node.append(helper.make_node("Hardmax", ["z"], ["y"], axis=1))
    param, _ = convert(bundle_of(tmp_path, model, (picture(),), (OUTPUT,)), tmp_path)
    with pytest.raises(BadArtefact, match="ncnn has no layer for Hardmax"):
        check_layers(param.decode(), {"Input", "Convolution"}, 1)


@needs_pnnx
def test_what_pnnx_cannot_read_is_one_line(tmp_path: Path) -> None:
    model = network(head("turned, then cast"), picture())
    model.graph.node[-1].op_type = "NoSuchOperator"
    with pytest.raises(BadArtefact, match=r"pnnx cannot convert .*NoSuchOperator"):
        convert(bundle_of(tmp_path, model, (picture(),), (OUTPUT,)), tmp_path)


@pytest.mark.parametrize("package", ["ziglang", "cmake", "ninja"])
def test_a_missing_tool_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in ("ziglang", "cmake", "ninja"):
        pytest.importorskip(name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{package} cannot be imported .*helmsight\[tk1\]"):
        native.runner(native.PLATFORMS["armv7l"], print)


def test_a_missing_tool_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ziglang", None)
    with pytest.raises(MissingExtra, match=r"helmsight\[tk1\]"):
        export("no-such-source", ExportOptions(targets=("jetson-tk1",)), print)
    assert capsys.readouterr().out == ""


def test_a_missing_pnnx_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundle_of(tmp_path, network(head("turned, then cast"), picture()), (picture(),), (OUTPUT,))
    monkeypatch.setattr("helmsight.export.ncnn_model.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pnnx is not installed.*helmsight\[tk1\]"):
        convert(bundle, tmp_path)


def test_other_processors_are_refused() -> None:
    with pytest.raises(DeviceMismatch, match="not built for riscv64; only armv7l, aarch64"):
        native.platform_for("riscv64")


def test_the_newest_glibc_that_a_program_names(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"\x7fELF\0GLIBC_2.4\0GLIBC_2.17\0GLIBC_2.9\0GLIBCXX_3.4\0")
    assert native.needed_glibc(tmp_path / "program") == (2, 17)
    (tmp_path / "program").write_bytes(b"\x7fELF\0")
    assert native.needed_glibc(tmp_path / "program") == (0, 0)


def test_a_compiler_that_fails_says_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "helmsight" / "runner").mkdir(parents=True)
    command = ["sh", "-c", "echo compiling; echo 'main.cpp:3: error: no such thing'; exit 1"]
    with pytest.raises(
        native.BuildFailed, match=r"main.cpp:3: error: no such thing; all of it is in .*build.log"
    ) as said:
        native._run(command, tmp_path)
    assert said.value.exit_code == 3
    assert "compiling" in (tmp_path / "helmsight" / "runner" / "build.log").read_text()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -9 $$", "sh was ended by SIGKILL, as a system short of memory does it"),
        ("echo 'clang: Killed'; exit 1", "clang: Killed"),
        ("exit 7", "sh ended with 7 and told no error"),
    ],
)
def test_a_compiler_that_is_killed_or_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "helmsight" / "runner").mkdir(parents=True)
    with pytest.raises(native.BuildFailed, match=said):
        native._run(["sh", "-c", script], tmp_path)


def order_of(folder: Path, name: str, tolerance: Tolerance) -> Order:
    """An export of a network that ships, on what stands in for real frames."""
    bundle = open_bundle(name)
    task = task_for(bundle.manifest)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (60, 80, 3)).astype(np.uint8) for _ in range(2)]
    feeds = [{key: np.array(value) for key, value in task.prepare(frame).items()} for frame in frames]
    (target,) = check_targets(["jetson-tk1"], "fp32")
    folder.mkdir()
    return Order(bundle, target, folder, feeds, tolerance, print)


@pytest.fixture
def without_emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has built the program and cannot run it."""
    built = tmp_path / "built"
    built.mkdir()
    (built / native.NAME).write_bytes(b"GLIBC_2.4\0")
    (built / native.LICENCES).write_text("licences")
    (built / native.LAYERS).write_text(LAYERS)
    monkeypatch.setattr(ncnn, "runner", lambda platform, say: built)
    monkeypatch.setattr(ncnn, "emulated", lambda platform: None)


LAYERS = """Input Convolution ConvolutionDepthWise ReLU Split BinaryOp Interp Crop Concat Slice Squeeze Reshape Permute
Sigmoid UnaryOp TanH InnerProduct MemoryData"""


@needs_pnnx
@needs_ncnn
@pytest.mark.usefixtures("without_emulator")
@pytest.mark.parametrize("name", ["face", "navigate"])
def test_without_an_emulator_ncnn_is_compared_here_and_the_record_says_so(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    order = order_of(tmp_path / "board", name, Tolerance(atol=1e-4, rtol=0))
    record = ncnn.make(order)
    assert record["checked"].startswith("by ncnn for Python on ")
    assert record["checked"].endswith("without helmsight-run")
    assert 0 < record["max_abs"] < 1e-4
    assert (record["n"], record["precision"]) == (2, "fp32")
    assert "WARNING: qemu-arm is not here" in capsys.readouterr().out
    files = {"helmsight-run", "helmsight-run.md", "LICENCES.txt", "model.bin", "model.json", "model.param"}
    assert {file.name for file in order.folder.iterdir()} == files
    told = json.loads((order.folder / "model.json").read_text())
    assert [spec["name"] for spec in told["outputs"]] == [spec.name for spec in order.draft.manifest.outputs]
    assert told["decoding"] == order.draft.manifest.decoding


@needs_pnnx
@needs_ncnn
@pytest.mark.usefixtures("without_emulator")
def test_outputs_that_differ_too_much_fail_the_export(tmp_path: Path) -> None:
    with pytest.raises(GateFailed, match=r"output '.*' differs"):
        ncnn.make(order_of(tmp_path / "board", "navigate", Tolerance(atol=1e-9, rtol=0)))


def test_a_program_that_ends_badly_fails_the_export(tmp_path: Path) -> None:
    feeds = [{"image": np.zeros((1, 2, 2, 3), np.uint8)}]
    command = ["sh", "-c", "echo 'helmsight-run: not enough memory' >&2; exit 4"]
    with pytest.raises(GateFailed, match="ended with 4: helmsight-run: not enough memory"):
        list(ncnn.run_program(command, (OUTPUT,), feeds))
    with pytest.raises(GateFailed, match="ended with 0"):
        list(ncnn.run_program(["sh", "-c", "echo short"], (OUTPUT,), feeds))
