"""The networks of TensorRT's benchmark are what it says, and its oldest version reads them; no GPU is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from benchmarks.gpu_engines import OPSET, draft, feeds_of, network, off

from helmsight.export.to_onnx import read_opset
from helmsight.runtime.backends import SessionOptions, load


@pytest.mark.parametrize("name", ["navigate", "residual"])
def test_a_network_in_fp16_is_near_the_one_in_fp32(name: str, tmp_path: Path) -> None:
    full, half = (draft(name, precision, None, tmp_path) for precision in ("fp32", "fp16"))
    assert half.model.stat().st_size < 0.6 * full.model.stat().st_size
    assert read_opset(onnx.load(half.model)) == OPSET
    feeds = feeds_of(full, 2)
    with load(full, SessionOptions("cpu", 1)) as a, load(half, SessionOptions("cpu", 1)) as b:
        assert 0 < off(b, a, feeds) < 0.02
        assert off(a, a, feeds) == 0


def test_residual_has_the_size_of_resnet_50() -> None:
    model = onnx.load_from_string(network("residual", "fp32", None))
    assert sum(int(np.prod(one.dims)) for one in model.graph.initializer) == pytest.approx(25.5e6, rel=0.01)
    assert sum(node.op_type == "Conv" for node in model.graph.node) == 53


def test_a_network_that_was_made_elsewhere_is_taken(tmp_path: Path) -> None:
    (tmp_path / "face-int8.onnx").write_bytes(b"made elsewhere")
    assert network("face", "int8", tmp_path) == b"made elsewhere"
