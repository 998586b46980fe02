"""A bundle with a real network, made without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helmsight.runtime.bundle import Bundle, Manifest, TensorSpec, write_bundle


@pytest.fixture
def real_bundle(tmp_path: Path) -> Bundle:
    """One convolution for ONNX Runtime: `x` (1, 3, 8, 8) to `y` (1, 4, 6, 6)."""
    onnx = pytest.importorskip("onnx", reason="the network of this test is written with onnx")
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", real, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", real, [1, 4, 6, 6])],
        [onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    manifest = Manifest(
        name="small",
        task="",
        inputs=(TensorSpec("x", (1, 3, 8, 8), "float32", "NCHW", "RGB", (0.0, 1.0)),),
        outputs=(TensorSpec("y", (1, 4, 6, 6), "float32"),),
        metrics={"accuracy": {"value": 0.875, "data": "eight pictures", "n": 8}},
        parity={"cpu": {"max_abs": 1e-6, "max_rel": 1e-5, "n": 32, "precision": "fp32", "real": {}}},
        provenance={
            "graph": {"parameters": 108, "macs": 3888, "nodes": 1, "opset": 18},
            "versions": {"torch": "2.0"},
        },
    )
    return write_bundle(tmp_path / "small.bundle", manifest, {"model.onnx": model.SerializeToString()})
