"""The comparison of an engine with ONNX Runtime: a stand-in engine, and a real network in the real ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from helmsight.devices.errors import GateFailed, MissingExtra
from helmsight.runtime.bundle import Bundle, write_bundle
from helmsight.runtime.engines.build import build
from helmsight.runtime.engines.compared import compare

from .conftest import Machine
from .fakes import LAYERS

onnx = pytest.importorskip("onnx", reason="needs the train extra")
pytest.importorskip("onnxruntime", reason="needs the cpu extra")


def network(factor: float) -> bytes:
    """y = factor * x; the stand-in's engine gives 2 * x."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    x, y = (helper.make_tensor_value_info(name, kind, [1, 3]) for name in "xy")
    stored = [helper.make_tensor("f", kind, [], [factor])]
    graph = helper.make_graph([helper.make_node("Mul", ["x", "f"], ["y"])], "g", [x], [y], stored)
    model: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return model


@pytest.fixture(autouse=True)
def real(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison as it is, in place of the machine's none."""
    monkeypatch.setattr("helmsight.runtime.engines.build.compare", compare)


def of(bundle: Bundle, folder: Path, factor: float, precision: str = "fp32") -> Bundle:
    manifest = replace(bundle.manifest, parity={"cpu": {"precision": precision}})
    return write_bundle(folder / "n.bundle", manifest, {"model.onnx": network(factor)})


def test_an_engine_that_computes_the_same_has_it_in_its_record(
    bundle: Bundle, machine: Machine, tmp_path: Path
) -> None:
    found = build(of(bundle, tmp_path, 2)).stored.record["compared"]
    assert (found["n"], found["max_abs"], found["inputs_are_real"]) == (8, 0.0, False)
    assert found["inputs"] == "random, not real"
    assert found["reference"].startswith("ONNX Runtime 1.")
    assert found["allowed"]["scale"] == 1e-3
    assert machine.cuda.memories == {}


@pytest.mark.parametrize(
    ("factor", "precision", "kept"), [(2.0005, "fp32", True), (2.01, "fp32", False), (2.01, "fp16", True)]
)
def test_how_far_an_engine_may_be_off_is_of_its_precision(
    bundle: Bundle, machine: Machine, cache: Path, tmp_path: Path, factor: float, precision: str, kept: bool
) -> None:
    made = of(bundle, tmp_path, factor, precision)
    machine.trial["layers"] = LAYERS.replace("Float", {"fp16": "Half"}.get(precision, "Float"))
    if kept:
        assert 0 < build(made).stored.record["compared"]["max_rel"] < 0.01
        return
    with pytest.raises(
        GateFailed, match=r"engine does not compute what model.onnx says: output 'y' differs on input \d"
    ):
        build(made)
    assert [file.suffix for file in cache.iterdir()] == [".cache"]
    assert machine.cuda.memories == {}


def test_one_that_fails_leaves_the_engine_that_was_there(bundle: Bundle, machine: Machine, tmp_path: Path) -> None:
    made = of(bundle, tmp_path, 2)
    first = build(made)
    machine.cuda.copy_out = lambda array, memory, stream: array.fill(0)  # type: ignore[method-assign]
    with pytest.raises(GateFailed, match="does not compute"):
        build(made, force=True)
    assert first.stored.read() == build(made).stored.read()


def test_without_onnxruntime_it_is_said(
    bundle: Bundle, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(module: str, extra: str) -> None:
        raise MissingExtra(f"{module} is not installed")

    monkeypatch.setattr("helmsight.runtime.engines.compared.need", missing)
    found = build(of(bundle, tmp_path, 3)).stored.record["compared"]
    assert found == {"n": 0, "why": "onnxruntime is not installed"}
    assert "was not compared with ONNX Runtime: onnxruntime is not installed" in caplog.text


def test_a_file_that_onnx_runtime_does_not_know_is_said(bundle: Bundle, machine: Machine) -> None:
    found = build(bundle).stored.record["compared"]
    assert found["n"] == 0
    assert "model.onnx does not load in ONNX Runtime" in found["why"]
