"""bf16: an fp32 file that OpenVINO computes in bfloat16, gated there; on a processor without it, a refusal."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import onnx
import pytest

from helmsight.devices.errors import DeviceMismatch, GateFailed, UsageError
from helmsight.export.build import ExportOptions, export
from helmsight.export.precision import read_precision
from helmsight.export.targets import check_targets, row
from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.backends.openvino import find_openvino
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.parity import Tolerance

if importlib.util.find_spec("openvino") is None:  # to import it here would send its message
    pytest.skip("openvino is not installed (extra openvino)", allow_module_level=True)
HAS_BF16 = "BF16" in find_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="this processor has no bf16")


@needs_bf16
def test_the_file_stays_in_fp32_and_openvino_computes_it_in_bf16(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []
    bundle = open_bundle(export("runs/tiny", ExportOptions(precision="bf16"), said.append).path)
    assert bundle.path == Path("tiny-bf16.bundle")
    assert read_precision(onnx.load(bundle.model)).name == "fp32"
    parity = bundle.manifest.parity["cpu"]
    record = parity["bf16"]
    assert (parity["precision"], record["precision"], record["n"]) == ("fp32", "bf16", 32)
    assert record["max_abs"] > parity["max_abs"], "or nothing was computed in it"
    assert record["score"]["steer_mean"]["exported"] == bundle.manifest.metrics["steer_mean"]["value"]
    ratio = record["speed"]["times_as_fast"]
    told = f"in bf16 ({record['weighted_ops']['bf16']} layers) on an x86_64 CPU, largest difference"
    assert any(f"{told} {record['max_abs']:.2g} on 32 inputs" in line for line in said)
    assert f"{ratio:.2f} times as fast as fp32 in ONNX Runtime" in (bundle.path / "README.md").read_text()
    with load(bundle, SessionOptions("openvino")) as session:
        assert session.precision == "bf16"
    with caplog.at_level(logging.WARNING), load(bundle) as session:
        assert session.precision == "fp32"
    assert "was exported for bf16, and ONNX Runtime runs it in fp32; add --device openvino" in caplog.text


@needs_bf16
def test_it_is_gated(checkpoint: Path) -> None:
    strict = ExportOptions(precision="bf16", tolerance=Tolerance(1e-7, 1e-7))
    with pytest.raises(GateFailed, match=r"^bf16: output .* nothing was written; --max-drop and --atol allow more"):
        export("runs/tiny", strict)
    assert not Path("tiny-bf16.bundle").exists()


@pytest.mark.skipif(HAS_BF16, reason="this processor has bf16")
def test_a_processor_without_it_is_refused(checkpoint: Path) -> None:
    with pytest.raises(DeviceMismatch, match="on this processor, which was asked for bf16"):
        export("runs/tiny", ExportOptions(precision="bf16"))


def test_who_may_have_it() -> None:
    assert row("cpu").precisions == ("fp32", "fp16", "bf16", "int8")
    with pytest.raises(DeviceMismatch, match=r"bf16 is what OpenVINO computes in .* use --precision fp16"):
        check_targets(["cpu", "jetson-orin-nano"], "bf16")
    with pytest.raises(UsageError, match="a file of fp32 or bf16 has no others"):
        export("runs/tiny", ExportOptions(precision="bf16", repair=True))
