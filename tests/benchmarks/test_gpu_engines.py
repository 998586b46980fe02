"""The networks of TensorRT's benchmark are what it says, and its oldest version reads them; no GPU is needed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from benchmarks import gpu_engines
from benchmarks.gpu_engines import OPSET, draft, feeds_of, network, off, pairs_of, result_of, rows_of

from helmsight.devices.errors import DeviceMismatch
from helmsight.export.to_onnx import read_opset
from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import Bundle


@pytest.mark.parametrize("name", ["navigate", "residual"])
def test_a_network_in_fp16_is_near_the_one_in_fp32(name: str, tmp_path: Path) -> None:
    full, half = (draft(name, precision, None, tmp_path) for precision in ("fp32", "fp16"))
    assert half.model.stat().st_size < 0.6 * full.model.stat().st_size
    assert read_opset(onnx.load(half.model)) == OPSET
    feeds = feeds_of(full, 2)
    with load(full, SessionOptions("cpu", 1)) as a, load(half, SessionOptions("cpu", 1)) as b:
        assert 0 < off(b, a, feeds) < 0.02
        assert off(a, a, feeds) == 0


def test_what_is_off_is_a_share_of_the_largest_value_on_all_frames() -> None:
    """An output that is near nothing on one of them would make any engine look far off."""
    expected = {"a": np.array([[0.001], [2.0]]), "b": np.array([[1.0], [1.0]])}

    def session(by: float) -> Any:
        return SimpleNamespace(run=lambda feed: {name: values[feed["at"]] + by for name, values in expected.items()})

    feeds: list[Any] = [{"at": 0}, {"at": 1}]
    assert off(session(0.1), session(0.0), feeds) == pytest.approx(0.1)
    assert off(session(0.1), session(0.0), feeds[:1]) == pytest.approx(100)


def test_residual_has_the_size_of_resnet_50() -> None:
    model = onnx.load_from_string(network("residual", "fp32", None))
    assert sum(int(np.prod(one.dims)) for one in model.graph.initializer) == pytest.approx(25.5e6, rel=0.01)
    assert sum(node.op_type == "Conv" for node in model.graph.node) == 53


def test_what_was_not_measured_is_in_the_result_and_meets_no_goal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row(bundle: Bundle, precision: str, seconds: float, frames: int) -> dict[str, Any]:
        if precision == "fp16":
            raise DeviceMismatch("the engine computes none of it so")
        return {"network": bundle.manifest.name, "asked for": precision, "off": 1e-5}

    monkeypatch.setattr(gpu_engines, "row", row)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pairs = pairs_of(["navigate", "residual"])
    for name, precision in pairs:
        (tmp_path / f"{name}-{precision}.onnx").write_bytes(b"not read")
    found = dict(rows_of(pairs[:3], tmp_path, 0, 1))
    made = result_of("an engine", {}, pairs, found, None)
    assert [(one["network"], one["asked for"]) for one in made.rows] == [("navigate", "fp32"), ("navigate", "int8")]
    assert list(made.more["Not measured"]) == [
        {"network": "navigate", "asked for": "fp16", "failed": "the engine computes none of it so"},
        {"network": "residual", "asked for": "fp32", "failed": "not reached"},
        {"network": "residual", "asked for": "fp16", "failed": "not reached"},
    ]
    assert [goal.met for goal in made.goals] == [True, False, True, False, False]
    assert not any("residual" in note for note in made.notes)
    made.write(tmp_path)
    assert "| residual in fp32: off ONNX Runtime | unknown |" in (tmp_path / "gpu_engines.md").read_text()


def test_a_run_that_measured_nothing_is_written_too(tmp_path: Path) -> None:
    result_of("an engine", {}, pairs_of(["face"]), {("face", "fp32"): "no room"}, None).write(tmp_path)
    text = (tmp_path / "gpu_engines.md").read_text()
    assert "Nothing was measured." in text
    assert "| face | fp32 | no room |" in text


def test_a_network_that_was_made_elsewhere_is_taken(tmp_path: Path) -> None:
    (tmp_path / "face-int8.onnx").write_bytes(b"made elsewhere")
    assert network("face", "int8", tmp_path) == b"made elsewhere"
