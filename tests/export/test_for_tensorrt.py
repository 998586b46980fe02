"""What TensorRT 8.5 stumbles over is said otherwise in the files for it, and computes the same to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helmsight.export.nvidia import for_tensorrt

from ..runtime.engines.gpu_networks import in_precision

onnx = pytest.importorskip("onnx", reason="needs the train extra")
ort = pytest.importorskip("onnxruntime", reason="needs the cpu extra")
helper, T = onnx.helper, onnx.TensorProto


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], f"the_{kind.lower()}_of_{output}", **attributes)


def model(nodes: list[Any], shape: tuple[Any, ...], **stored: np.ndarray) -> Any:
    """From `x`, of the type of `stored`, to `y`."""
    kind = helper.np_dtype_to_tensor_dtype(next(iter(stored.values())).dtype)
    constants = [onnx.numpy_helper.from_array(values, name) for name, values in stored.items()]
    x, y = helper.make_tensor_value_info("x", kind, shape), helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(made)
    made.graph.output[0].CopyFrom(inferred.graph.output[0])
    return made


def run(one: Any, x: np.ndarray) -> np.ndarray:
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level = 3
    y: np.ndarray
    (y,) = ort.InferenceSession(one.SerializeToString(), settings).run(None, {"x": x})
    return y


def check_same(before: Any, after: Any, x: np.ndarray) -> None:
    onnx.checker.check_model(after, full_check=True)
    expected, made = run(before, x), run(after, x)
    assert made.shape == expected.shape
    assert made.tobytes() == expected.tobytes()


def kernel_shapes(one: Any) -> list[list[int] | None]:
    return [
        next((list(a.ints) for a in n.attribute if a.name == "kernel_shape"), None)
        for n in one.graph.node
        if n.op_type in ("Conv", "ConvTranspose")
    ]


def stored_shapes(one: Any) -> dict[str, list[int]]:
    return {tensor.name: list(tensor.dims) for tensor in one.graph.initializer}


def test_a_convolution_has_its_kernel_shape_also_where_its_weights_are_dequantised() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        node("QuantizeLinear", "w scale zero", "wq", axis=0),
        node("DequantizeLinear", "wq scale zero", "wd", axis=0),
        node("Conv", "x wd", "c", pads=[1, 1, 0, 0]),
        node("Conv", "c v", "d", kernel_shape=[1, 3]),
        node("ConvTranspose", "d v"),
    ]
    before = model(
        nodes,
        (1, 3, 8, 9),
        w=rng.standard_normal((4, 3, 3, 2)).astype(np.float32),
        v=rng.standard_normal((4, 4, 1, 3)).astype(np.float32),
        scale=np.full(4, 0.02, np.float32),
        zero=np.zeros(4, np.int8),
    )
    after = for_tensorrt(before)
    assert kernel_shapes(before) == [None, [1, 3], None], "what was given is left as it was"
    assert kernel_shapes(after) == [[3, 2], [1, 3], [1, 3]]
    check_same(before, after, rng.standard_normal((1, 3, 8, 9)).astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("kind", ["Sub", "Mul", "Add", "Div"])
@pytest.mark.parametrize("inputs", ["x c", "c x"])
def test_equal_elements_become_one_of_the_same_rank(kind: str, inputs: str, dtype: type[np.floating]) -> None:
    before = model([node(kind, inputs)], (1, 3, 4, 5), c=np.full((1, 3, 1, 1), 0.3, dtype))
    after = for_tensorrt(before)
    assert stored_shapes(before) == {"c": [1, 3, 1, 1]}
    assert stored_shapes(after) == {"c_one": [1, 1, 1, 1]}
    check_same(before, after, (1 + np.random.default_rng(1).random((1, 3, 4, 5))).astype(dtype))


def test_a_side_that_is_open_may_stay_so() -> None:
    before = model([node("Mul", "x c")], (1, 3, "height", "width"), c=np.full((3, 1, 1), 0.3, np.float32))
    after = for_tensorrt(before)
    assert stored_shapes(after) == {"c_one": [1, 1, 1]}
    check_same(before, after, np.random.default_rng(2).random((1, 3, 7, 2)).astype(np.float32))


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        pytest.param(np.array([0.5, 0.5, 0.25], np.float32), (1, 2, 3), id="unequal"),
        pytest.param(np.array([0.0, -0.0, 0.0], np.float32), (1, 2, 3), id="of another sign"),
        pytest.param(np.full((3, 1), 0.5, np.float32), (1, 1, 4), id="that widen what they meet"),
        pytest.param(np.full((3, 1), 0.5, np.float32), (1, "rows", 4), id="that may widen it"),
        pytest.param(np.full((3, 1, 1, 1), 0.5, np.float32), (1, 2, 4), id="of a higher rank"),
        pytest.param(np.full(3, 2), (1, 2, 3), id="integers"),
        pytest.param(np.full((1, 1), 0.5, np.float32), (1, 2, 3), id="one already"),
    ],
)
def test_other_constants_stay(values: np.ndarray, shape: tuple[Any, ...]) -> None:
    before = model([node("Mul", "x c")], shape, c=values)
    assert for_tensorrt(before).SerializeToString() == before.SerializeToString()


def test_what_others_use_too_stays_for_them_also_inside_a_branch() -> None:
    three = np.full((1, 3), 0.5, np.float32)
    before = model([node("Mul", "x c", "m"), node("Concat", "m c", axis=1)], (1, 3), c=three)
    after = for_tensorrt(before)
    assert stored_shapes(after) == {"c": [1, 3], "c_one": [1, 1]}
    check_same(before, after, np.ones((1, 3), np.float32))
    given = helper.make_tensor_value_info("b", T.FLOAT, [1, 3])
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["b"])], "body", [], [given])
    branch = helper.make_node("If", ["yes"], ["i"], "branch", then_branch=body, else_branch=body)
    before = model(
        [node("Mul", "x c", "m"), branch, node("Concat", "m i", axis=1)], (1, 3), c=three, yes=np.array(True)
    )
    after = for_tensorrt(before)
    assert stored_shapes(after) == {"c": [1, 3], "yes": [], "c_one": [1, 1]}
    check_same(before, after, np.ones((1, 3), np.float32))


def test_a_default_of_an_input_and_a_sum_of_constants_stay() -> None:
    three = np.full((1, 3), 0.5, np.float32)
    before = model([node("Mul", "x c")], (1, 3), c=three)
    before.graph.input.append(helper.make_tensor_value_info("c", T.FLOAT, [1, 3]))
    assert for_tensorrt(before).SerializeToString() == before.SerializeToString()
    before = model([node("Add", "c c", "s"), node("Concat", "x s", axis=1)], (1, 3), c=three)
    assert for_tensorrt(before).SerializeToString() == before.SerializeToString()


def test_a_quantised_network_without_kernel_shapes_gets_them_in_its_file_alone(tmp_path: Path) -> None:
    bundle = in_precision("small", "int8", tmp_path)
    (file,) = (bundle.path / "targets").rglob("*.onnx")
    assert kernel_shapes(onnx.load(bundle.model)) == [None] * 3
    assert kernel_shapes(onnx.load(file)) == [[3, 3]] * 3
