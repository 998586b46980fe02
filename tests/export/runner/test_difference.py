"""A network that ncnn computes otherwise: the export fails, and says at which node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helmsight.devices.errors import GateFailed
from helmsight.export import ncnn_model
from helmsight.export.artefacts import Order
from helmsight.export.artefacts.ncnn import make
from helmsight.export.targets import check_targets
from helmsight.runtime.bundle import Manifest, TensorSpec, write_bundle
from helmsight.runtime.onnx_nodes import SOURCE_LINE
from helmsight.runtime.parity import Tolerance

pytestmark = [pytest.mark.qemu, pytest.mark.slow]


def test_the_node_that_ncnn_computes_otherwise_is_named_with_its_line(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pnnx drops the axes of a mean where nobody writes them as it reads them."""
    from onnx import helper

    monkeypatch.setattr(ncnn_model, "for_pnnx", lambda model: model)
    shape, weight = (1, 3, 8, 8), [1.0] * 9
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], "the_conv"),
        helper.make_node("Relu", ["c"], ["r"], "the_relu"),
        helper.make_node("ReduceMean", ["r", "axes"], ["m"], "the_mean", keepdims=1),
        helper.make_node("Mul", ["c", "m"], ["y"], "the_product"),
    ]
    nodes[2].metadata_props.add(key=SOURCE_LINE, value="net.py:12")
    stored = [helper.make_tensor("w", 1, [3, 3, 1, 1], weight), helper.make_tensor("axes", 7, [1], [2])]
    values = [helper.make_tensor_value_info(name, 1, shape) for name in ("image", "y")]
    graph = helper.make_graph(nodes, "own", values[:1], values[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    picture = TensorSpec("image", shape, "float32", "NCHW", "RGB", (0, 1))
    manifest = Manifest("own", "", (picture,), (TensorSpec("y", shape, "float32"),))
    bundle = write_bundle(tmp_path / "own.bundle", manifest, {"model.onnx": model.SerializeToString()})
    (target,) = check_targets(["jetson-tk1"], "fp32")
    folder = tmp_path / "board"
    folder.mkdir()
    feeds = [{"image": np.random.default_rng(0).random(shape).astype(np.float32)}]
    order = Order(bundle, target, folder, feeds, Tolerance(atol=1e-4, rtol=0), print)
    with pytest.raises(GateFailed, match=r"ncnn computes ReduceMean \(the_mean, at net\.py:12\) otherwise: take that"):
        make(order)
