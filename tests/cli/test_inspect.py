"""The inspect command: what it shows, and that a board can run it."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from helmsight.runtime.bundle import Bundle, Manifest, write_bundle

BOARD = """
import sys
for name in ("torch", "onnx", "onnxscript", "safetensors", "cv2", {without}):
    sys.modules[name] = None  # importing it raises ImportError, as where it is not installed
from helmsight.cli.main import main
main()
"""


def on_a_board(*arguments: str, without: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as where neither torch nor onnx is installed."""
    code = BOARD.replace("{without}", repr(without) if without else "")
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)


def test_what_it_shows(real_bundle: Bundle) -> None:
    done = on_a_board("inspect", str(real_bundle.path), without="onnxruntime")
    assert done.returncode == 0, done.stderr
    for said in (
        "x float32 1x3x8x8 NCHW RGB 0..1",
        "y float32 1x4x6x6",
        "108 parameters, 0.003888 M multiply-accumulates, 1 nodes, opset 18",
        "fp32, largest difference 1e-06",
        "0.875 (eight pictures, n 8)",
        f"SHA-256 {real_bundle.manifest.files['model.onnx'][:16]}...",
    ):
        assert said in done.stdout


def test_the_same_as_json(real_bundle: Bundle) -> None:
    record = json.loads(on_a_board("inspect", str(real_bundle.path), "--json").stdout)
    assert record["graph"]["macs"] == 3888
    assert record["size_bytes"] == real_bundle.model.stat().st_size
    assert record["files"]["model.onnx"]["sha256"] == real_bundle.manifest.files["model.onnx"]


def test_what_each_target_gets(real_bundle: Bundle) -> None:
    engine = {"precision": "fp16", "versions": {"TensorRT-RTX": "1.7.1"}, "compute_capability": "8.0", "run": "this"}
    engine |= {"max_abs": 0.5, "n": 32}
    file = {"precision": "fp16", "max_abs": 0.25, "n": 32, "run": "that"}
    parity = {"dgx-a100": {"precision": "fp16", "artefacts": {"tensorrt": file, "tensorrt-rtx": engine}}}
    bundle = write_bundle(
        real_bundle.path.with_name("t.bundle"), replace(real_bundle.manifest, parity=parity), {"model.onnx": b"x"}
    )
    shown = " ".join(on_a_board("inspect", str(bundle.path)).stdout.replace("│", " ").split())
    assert "tensorrt: fp16, largest difference 0.25 on 32 inputs; run that" in shown
    assert "tensorrt-rtx: fp16, an engine for compute capability 8.0 by TensorRT-RTX 1.7.1, not run here" in shown
    assert "(largest difference 0.5 on 32 inputs of the ONNX file that it was built from); run this" in shown


def test_a_bundle_that_says_little(real_bundle: Bundle) -> None:
    bare = write_bundle(
        real_bundle.path.with_name("bare.bundle"),
        Manifest("bare", "", real_bundle.manifest.inputs, ()),
        {"model.onnx": b"x"},
    )
    done = on_a_board("inspect", str(bare.path))
    assert done.returncode == 0, done.stderr
    assert "not stated" in done.stdout


@pytest.mark.parametrize("name", ["absent.bundle", "absent"])
def test_no_bundle(name: str) -> None:
    done = on_a_board("inspect", name)
    assert done.returncode == 4
    assert done.stderr.startswith(f"helmsight: no bundle at {name}")
    assert done.stderr.count("\n") == 1
