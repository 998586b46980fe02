"""Reductions in the form that pnnx reads: the same values, and really those in ncnn."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="export needs the train extra")
ort = pytest.importorskip("onnxruntime", reason="export needs the cpu extra")

from helmsight.export.artefacts import ncnn  # noqa: E402
from helmsight.export.ncnn_model import convert  # noqa: E402
from helmsight.export.reductions import for_pnnx  # noqa: E402
from helmsight.runtime.bundle import Manifest, TensorSpec, write_bundle  # noqa: E402

helper = onnx.helper
SHAPE = (1, 3, 6, 8)
ONE_AXIS = [(f"Reduce{kind}", [axis], 0) for kind in ("Mean", "Sum", "Max", "Min", "L2") for axis in (1, 2, -1)]
CASES = [
    *ONE_AXIS,
    *(("ReduceSum", [2, 3], keep) for keep in (0, 1)),
    *(("ReduceMax", axes, keep) for axes in ([2, 3], [-1, 1]) for keep in (0, 1)),
    *(("ReduceMean", [2], 1), ("ReduceMean", [2, 3], 1), ("ReduceLogSumExp", [1], 0)),
]


def network() -> Any:
    """An output for each case, of the same picture."""
    nodes, outputs, stored = [], [], []
    for index, (kind, axes, keep) in enumerate(CASES):
        left = [1 if i in {a % 4 for a in axes} else side for i, side in enumerate(SHAPE)]
        shape = left if keep else [side for i, side in enumerate(SHAPE) if i not in {a % 4 for a in axes}]
        stored.append(helper.make_tensor(f"axes{index}", 7, [len(axes)], axes))
        nodes.append(helper.make_node(kind, ["x", f"axes{index}"], [f"y{index}"], f"n{index}", keepdims=keep))
        outputs.append(helper.make_tensor_value_info(f"y{index}", 1, shape))
    # Of a convolution pnnx learns which axis is the batch's; a product at the start works in place.
    nodes[:0] = [helper.make_node("Mul", ["image", "half"], ["h"]), helper.make_node("Conv", ["h", "w"], ["x"])]
    stored.append(helper.make_tensor("half", 1, [], [0.5]))
    stored.append(helper.make_tensor("w", 1, [3, 3, 1, 1], [1, 2, 3, 4, 5, 6, 7, 8, 9]))
    picture = helper.make_tensor_value_info("image", 1, SHAPE)
    graph = helper.make_graph(nodes, "reductions", [picture], outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture(scope="module")
def picture() -> Any:
    return np.random.default_rng(0).random(SHAPE).astype(np.float32)


def values(model: Any, picture: Any) -> list[Any]:
    return ort.InferenceSession(model.SerializeToString()).run(None, {"image": picture})


def test_no_axes_are_inputs_and_the_values_are_the_same(picture: Any) -> None:
    model, made = network(), for_pnnx(network())
    assert all(len(node.input) == 1 for node in made.graph.node if node.op_type.startswith("Reduce"))
    assert not any(len(a.ints) > 1 for n in made.graph.node if n.op_type == "ReduceMax" for a in n.attribute)
    assert [o.name for o in made.graph.output] == [o.name for o in model.graph.output]
    for case, right, found in zip(CASES, values(model, picture), values(made, picture), strict=True):
        assert found.shape == right.shape
        np.testing.assert_allclose(found, right, rtol=1e-6, err_msg=str(case))


def test_an_operator_that_is_too_new_leaves_the_network_as_it_is() -> None:
    model = network()
    model.graph.node.append(helper.make_node("Mish", ["x"], ["late"]))
    model.graph.output.append(helper.make_tensor_value_info("late", 1, SHAPE))
    assert {o.version for o in for_pnnx(model).opset_import} == {18}


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("pnnx", "ncnn")), reason="helmsight[tk1] is missing"
)
def test_ncnn_reduces_along_those_axes(tmp_path: Path, picture: Any) -> None:
    model = network()
    spec = TensorSpec("image", SHAPE, "float32", "NCHW", "RGB", (0, 1))
    outputs = tuple(
        TensorSpec(o.name, tuple(d.dim_value for d in o.type.tensor_type.shape.dim), "float32")
        for o in model.graph.output
    )
    manifest = Manifest("r", "", (spec,), outputs)
    bundle = write_bundle(tmp_path / "r.bundle", manifest, {"model.onnx": model.SerializeToString()})
    ncnn._write(tmp_path, bundle, *convert(bundle, tmp_path))
    with ncnn._in_python(tmp_path, bundle) as run:
        found = run({"image": picture})
    for (name, values_found), case, right in zip(found.items(), CASES, values(model, picture), strict=True):
        np.testing.assert_allclose(values_found, right, rtol=1e-5, err_msg=f"{name}: {case}")
