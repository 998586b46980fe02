"""Graphs made readable for NVIDIA's engines: casts first, older operator sets; what cannot be is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact
from helmsight.export.nvidia import at_fixed_size, cast_first, with_float_inputs
from helmsight.export.older import fold_sizes, spell_out_norms, to_opset
from helmsight.export.to_onnx import read_opset
from helmsight.runtime.bundle import TensorSpec, open_bundle

onnx = pytest.importorskip("onnx", reason="needs the train extra")
ort = pytest.importorskip("onnxruntime", reason="needs the cpu extra")
helper, T = onnx.helper, onnx.TensorProto
PICTURE = TensorSpec("x", (1, 4, 6, 3), "uint8", "NHWC", "BGR", (0, 255))


def model(
    nodes: list[Any], dtype: int = T.FLOAT, shape: tuple[Any, ...] = (1, 4, 6, 3), opset: int = 18, **stored: Any
) -> Any:
    """From `x` to `y`; `stored` are constants by name."""
    constants = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    x, y = helper.make_tensor_value_info("x", dtype, shape), helper.make_tensor_value_info("y", T.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return onnx.shape_inference.infer_shapes(made, data_prop=True)


def run(one: Any, x: np.ndarray) -> np.ndarray:
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    (y,) = ort.InferenceSession(one.SerializeToString(), settings).run(None, {"x": x})
    return y


def fed_by_bytes(one: Any) -> set[str]:
    """Operators that see uint8."""
    inferred = onnx.shape_inference.infer_shapes(one, strict_mode=True)
    types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.graph.input, *inferred.graph.value_info)}
    return {node.op_type for node in one.graph.node if any(types.get(name) == T.UINT8 for name in node.input)}


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], f"the_{kind.lower()}{output.strip('y')}", **attributes)


def test_a_picture_of_bytes_is_cast_before_it_is_moved() -> None:
    before = model(
        [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Cast", "t", "f", to=T.FLOAT), node("Relu", "f")], T.UINT8
    )
    after = cast_first(before)
    onnx.checker.check_model(after, full_check=True)
    assert fed_by_bytes(before) == {"Transpose", "Cast"}
    assert fed_by_bytes(after) == {"Cast"}
    assert [n.op_type for n in after.graph.node] == ["Cast", "Transpose", "Identity", "Relu"]
    x = np.random.default_rng(0).integers(0, 256, (1, 4, 6, 3), np.uint8)
    np.testing.assert_array_equal(run(after, x), run(before, x))
    floats = with_float_inputs(after)
    onnx.checker.check_model(floats, full_check=True)
    assert fed_by_bytes(floats) == set()
    np.testing.assert_array_equal(run(floats, x.astype(np.float32)), run(before, x))


def test_a_cast_to_float16_stays_one_and_floats_stay_as_they_are() -> None:
    half = cast_first(model([node("Transpose", "x", "t"), node("Cast", "t", to=T.FLOAT16)], T.UINT8))
    assert [n.op_type for n in half.graph.node] == ["Cast", "Transpose", "Cast"]
    plain = model([node("Relu", "x")])
    assert cast_first(plain).SerializeToString() == plain.SerializeToString()


def test_a_node_that_computes_with_bytes_is_named() -> None:
    with pytest.raises(BadArtefact, match=r"node 'the_adda' \(Add\) computes with uint8"):
        cast_first(model([node("Add", "x x", "a"), node("Cast", "a", to=T.FLOAT)], T.UINT8))


@pytest.mark.parametrize("name", ["face", "navigate"])
@pytest.mark.parametrize("opset", [13, 17])
def test_the_networks_that_ship_go_into_older_operator_sets_unchanged(name: str, opset: int) -> None:
    bundle = open_bundle(name)
    whole = onnx.load(bundle.model)
    older = to_opset(at_fixed_size(cast_first(whole), bundle.manifest.inputs), opset)
    assert read_opset(older) == opset
    assert older.ir_version <= 8
    assert not {"Shape", "Div"} & {n.op_type for n in older.graph.node}, "sizes are numbers"
    (spec,) = bundle.manifest.inputs
    feeds = {spec.name: np.random.default_rng(1).integers(0, 256, spec.shape, np.uint8)}
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    before, after = (ort.InferenceSession(one.SerializeToString(), settings).run(None, feeds) for one in (whole, older))
    for expected, made in zip(before, after, strict=True):
        np.testing.assert_array_equal(made, expected)


Build = Callable[[], Any]
AXES = {"axes": np.array([1, 2])}


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: model([node("ReduceMean", "x axes", keepdims=0)], **AXES), id="axes become an attribute"),
        pytest.param(
            lambda: model([node("Reshape", "x s", allowzero=1)], s=np.array([4, 18])), id="allowzero without zeros"
        ),
        pytest.param(
            lambda: model(
                [helper.make_node("Split", ["x"], ["y", "z"], "s", axis=2, num_outputs=2)],
            ),
            id="equal parts",
        ),
        pytest.param(lambda: model([node("HardSwish", "x")]), id="an operator without a name then"),
        pytest.param(
            lambda: model(
                [node("Resize", "x none scales", mode="nearest", antialias=0)],
                none=np.zeros(0, np.float32),
                scales=np.array([1, 2, 2, 1], np.float32),
            ),
            id="attributes that say nothing",
        ),
        pytest.param(
            lambda: model([node("Shape", "x", "s", start=1, end=3), node("Cast", "s", to=T.FLOAT)]), id="sizes computed"
        ),
    ],
)
def test_what_is_rewritten_computes_the_same(build: Build) -> None:
    before = build()
    after = to_opset(before, 13)
    assert read_opset(after) == 13
    x = np.random.default_rng(2).standard_normal((1, 4, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-6)


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("of", [17, 18])
@pytest.mark.parametrize(("axis", "inputs"), [(-1, "x scale bias"), (-2, "x scale bias"), (-3, "x scale")])
def test_layer_normalisation_in_words_that_every_parser_has(opset: int, of: int, axis: int, inputs: str) -> None:
    rng = np.random.default_rng(3)
    shape = (4, 6, 3)[axis:]
    stored = {name: rng.standard_normal(shape).astype(np.float32) for name in ("scale", "bias") if name in inputs}
    before = model([node("LayerNormalization", inputs, axis=axis, epsilon=0.25)], opset=of, **stored)
    after = to_opset(spell_out_norms(before), opset)
    assert read_opset(after) == opset
    assert {n.op_type for n in after.graph.node} <= {"ReduceMean", "Sub", "Mul", "Add", "Sqrt", "Div"}
    x = rng.standard_normal((1, 4, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=1e-4, atol=1e-6)


def test_a_layer_normalisation_that_cannot_be_said_otherwise_stays_and_is_named() -> None:
    scale = np.ones(3, np.float32)
    before = model([node("LayerNormalization", "x scale", axis=3)], scale=scale)
    with pytest.raises(
        BadArtefact, match=r"\(LayerNormalization\) cannot be written in ONNX opset 13.*; write it with"
    ):
        to_opset(spell_out_norms(before), 13)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: model([node("Mish", "x")]), r"node 'the_mish' \(Mish\) cannot be written in ONNX opset 13: .*later"),
        (
            lambda: model(
                [node("Resize", "x none scales", mode="linear", antialias=1)],
                none=np.zeros(0, np.float32),
                scales=np.array([1, 2, 2, 1], np.float32),
            ),
            r"node 'the_resize' \(Resize\) .*antialias of 1 came later",
        ),
        (
            lambda: model(
                [node("Pad", "x pads none axes")], pads=np.array([1, 1]), none=np.float32(0), axes=np.array([1])
            ),
            r"node 'the_pad' \(Pad\) cannot be written in ONNX opset 13",
        ),
    ],
)
def test_what_cannot_be_rewritten_is_named(build: Build, message: str) -> None:
    with pytest.raises(BadArtefact, match=message) as caught:
        to_opset(build(), 13)
    assert "\n" not in str(caught.value)


def test_only_what_follows_from_sizes_is_folded() -> None:
    one = model(
        [
            node("Shape", "x", "s"),
            node("Gather", "s at", "n"),
            node("Mul", "n two", "m"),
            node("Reshape", "m flat", "f"),
            node("Concat", "f rest", "shape", axis=0),
            node("Reshape", "x shape", "r"),
            node("Mul", "big big", "b"),
            node("Add", "r b"),
        ],
        at=np.array(1),
        two=np.array(2),
        flat=np.array([1]),
        rest=np.array([-1]),
        big=np.ones((8, 9), np.float32),
    )
    folded = fold_sizes(one)
    assert [n.op_type for n in folded.graph.node] == ["Reshape", "Mul", "Add"]
    x = np.ones((1, 4, 6, 3), np.float32)
    np.testing.assert_array_equal(run(folded, x), run(one, x))


def test_fixing_the_size_writes_it_in() -> None:
    open_size = model(
        [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Cast", "t", to=T.FLOAT)],
        T.UINT8,
        (1, "height", "width", 3),
    )
    fixed = at_fixed_size(open_size, [PICTURE])
    assert [d.dim_value for d in fixed.graph.input[0].type.tensor_type.shape.dim] == [1, 4, 6, 3]
    assert [d.dim_value for d in fixed.graph.output[0].type.tensor_type.shape.dim] == [1, 3, 4, 6]
