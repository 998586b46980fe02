"""`helmsight build` as a user types it, where there is no TensorRT and where a fake of it is."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helmsight.cli.build import _compared
from helmsight.cli.main import app
from helmsight.devices.errors import DeviceMismatch, UsageError

from ..runtime.engines.conftest import Machine, bundle, cache, machine  # noqa: F401


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments])
    assert isinstance(result.exception, DeviceMismatch), result.exception
    assert result.exception.exit_code == 5
    assert "\n" not in str(result.exception)
    return str(result.exception)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is here")
@pytest.mark.parametrize("arguments", [("build", "face"), ("verify", "face", "--device", "tensorrt")])
def test_without_tensorrt_it_is_one_line_and_exit_5(arguments: tuple[str, ...]) -> None:
    assert refused(*arguments).startswith("no TensorRT here (No module named 'tensorrt'); on a Jetson it comes with")


@pytest.mark.parametrize("option", ["--threads", "--duration"])
def test_what_is_of_autotune_does_nothing_without_it(option: str) -> None:
    result = CliRunner().invoke(app, ["build", "face", option, "1"])
    assert isinstance(result.exception, UsageError)
    assert f"{option} 1" in str(result.exception)
    assert "is of --autotune; add it" in str(result.exception)


def test_the_record_of_a_build_is_printed(machine: Machine, bundle: Path) -> None:  # noqa: F811
    path = str(bundle.path)  # type: ignore[attr-defined]
    shown = CliRunner().invoke(app, ["build", path])
    assert shown.exit_code == 0, shown.output
    for said in ("built in", "TensorRT 10.3.0.30, fake GPU, compute capability 8.7", "fp32 (layers: 1 fp32)"):
        assert said in shown.stdout
    listed = " ".join(CliRunner().invoke(app, ["inspect", path]).stdout.replace("│", " ").split())
    said = (
        "TensorRT 10.3.0.30, compute capability 8.7, x 1x3: computes in fp32 (1 layer); built from model.onnx, in fp32"
    )
    assert f"engine here {said}" in listed
    (kept,) = json.loads(CliRunner().invoke(app, ["inspect", path, "--json"]).stdout)["engines"]
    assert kept["real"] == {"fp32": 1}
    assert "engine here" not in CliRunner().invoke(app, ["inspect", "face"]).stdout
    again = CliRunner().invoke(app, ["build", path, "--json"])
    record = json.loads(again.stdout)
    assert record["fresh"] is False
    assert record["real"] == {"fp32": 1}
    assert record["compared"]["n"] == 0


def test_what_a_comparison_found_is_told() -> None:
    found = {"n": 32, "reference": "ONNX Runtime 1.32 of tensorrt.onnx", "inputs": "32 frames of sample://corridor"}
    assert _compared(found | {"max_rel": 2.934e-5}) == (
        "with ONNX Runtime 1.32 of tensorrt.onnx, on 32 inputs (32 frames of sample://corridor): off by at most "
        "2.9e-05 of an output's largest value"
    )
    assert _compared({"n": 0, "why": "it is not here"}) == "NOT compared with ONNX Runtime: it is not here"
