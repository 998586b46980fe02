"""The verify command: a whole bundle runs, a changed one is refused with exit code 4."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from helmsight.runtime.bundle import Bundle, sha256

from .test_inspect import on_a_board


def test_a_whole_bundle_runs_without_torch_and_onnx(real_bundle: Bundle) -> None:
    done = on_a_board("verify", str(real_bundle.path), "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["device"], record["precision"], record["files"]) == ("cpu", "fp32", 1)
    assert record["unlisted"] == []
    assert record["first_run_ms"] > 0


def test_a_file_that_the_manifest_does_not_name_is_said(real_bundle: Bundle) -> None:
    (real_bundle.path / "extra.engine").write_bytes(b"?")
    done = on_a_board("verify", str(real_bundle.path))
    assert done.returncode == 0
    assert "extra.engine is not in the manifest; nothing reads it" in done.stderr


def change_model(bundle: Path) -> None:
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(data)


def remove_model(bundle: Path) -> None:
    (bundle / "model.onnx").unlink()


def edit(bundle: Path, **changes: object) -> None:
    file = bundle / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def cut_manifest(bundle: Path) -> None:
    text = (bundle / "manifest.json").read_text()
    (bundle / "manifest.json").write_text(text[: len(text) // 2])


def truncate_model_and_hash(bundle: Path) -> None:
    """The hash is right, but the network is not whole."""
    data = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(data[: len(data) // 2])
    edit(bundle, files={"model.onnx": sha256(bundle / "model.onnx")})


def other_output(bundle: Path) -> None:
    edit(bundle, outputs=[{"name": "y", "shape": [1, 5], "dtype": "float32"}])


def other_input(bundle: Path) -> None:
    edit(bundle, inputs=[{"name": "x", "shape": [1, 3, 9, 9], "dtype": "float32"}])


def outside(bundle: Path) -> None:
    edit(bundle, files={"../model.onnx": "0" * 64})


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (change_model, "it was changed or damaged"),
        (remove_model, "is missing though the manifest lists it"),
        (cut_manifest, "is no JSON"),
        (truncate_model_and_hash, "is no ONNX model or is cut off"),
        (other_output, r"output y is float32 (1, 4, 6, 6), the manifest says float32 (1, 5)"),
        (other_input, "does not run as its manifest says"),
        (outside, "lies outside the bundle"),
        (lambda bundle: edit(bundle, schema_version=2), "has schema_version 2, this helmsight reads 1; upgrade"),
    ],
)
def test_harm_is_one_line_and_exit_code_4(real_bundle: Bundle, harm: Callable[[Path], None], message: str) -> None:
    harm(real_bundle.path)
    done = on_a_board("verify", str(real_bundle.path))
    assert done.returncode == 4, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_an_unknown_device_and_a_missing_engine(real_bundle: Bundle) -> None:
    assert on_a_board("verify", str(real_bundle.path), "--device", "toaster").returncode == 2
    missing = on_a_board("verify", str(real_bundle.path), without="onnxruntime")
    assert missing.returncode == 3
    assert "pip install 'helmsight[cpu]'" in missing.stderr
