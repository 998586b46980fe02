"""Nodes of an ONNX file, found again by the names that engines give to what they make of them."""

from __future__ import annotations

from math import prod

import pytest

from helmsight.devices.errors import BadArtefact
from helmsight.runtime.onnx_nodes import MODULE_PATH, SOURCE_LINE, OnnxGraph, macs, ranks_fit, read_graph, read_opset

onnx = pytest.importorskip("onnx", reason="needs the train extra")
helper = onnx.helper
FLOAT = onnx.TensorProto.FLOAT


def node(operator: str, inputs: str, output: str, name: str, scopes: str = "") -> onnx.NodeProto:
    made = helper.make_node(operator, inputs.split(), [output], name=name)
    if scopes:
        made.metadata_props.add(key=MODULE_PATH, value=scopes)
    return made


def graph(*nodes: onnx.NodeProto, **weights: tuple[int, ...]) -> OnnxGraph:
    """Names of `weights` have __ where theirs have a dot."""
    stored = [
        helper.make_tensor(name.replace("__", "."), FLOAT, dims, b"\0" * 4 * prod(dims), raw=True)
        for name, dims in weights.items()
    ]
    values = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("x", "y")]
    model = helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], stored))
    return read_graph(model.SerializeToString(), "m.onnx")


@pytest.fixture
def network() -> OnnxGraph:
    """A convolution, folded batch normalisation, with its activation; a sum; a product."""
    return graph(
        node("Conv", "x stem.0.weight b", "getitem", "node_Conv_1", "['', 'stem', 'stem.1', 'batch_norm']"),
        node("Relu", "getitem", "relu", "node_relu", "['', 'stem', 'stem.2', 'relu']"),
        node("Add", "relu x", "add", "node_add", "['', 'add']"),
        node("DequantizeLinear", "head.weight_quantized scale", "dequantised", "node_dq"),
        node("Gemm", "add dequantised", "y", "node_linear", "['', 'head', 'linear']"),
        stem__0__weight=(8, 3, 3, 3),
        head__weight_quantized=(10, 8),
        scale=(),
    )


@pytest.mark.parametrize(
    ("layer", "operator", "names"),
    [
        ("node_add", "Add", ["node_add"]),
        ("relu_nchwc", "Conv", ["node_Conv_1", "node_relu"]),
        ("getitem_nchwc", "Conv", ["node_Conv_1"]),
        ("InsertedPrecisionFreeCast_getitem_nchwc", "Conv", ["node_Conv_1"]),
        ("fused node_linear", "FusedGemm", ["node_linear"]),
        ("node_Conv_1_token_12", "QLinearConv", ["node_Conv_1"]),
        ("node_add/SomeFusion", "Split", ["node_add"]),
        ("node_add/SomeFusion//AnotherFusion/", "FusedMatMul", ["node_add"]),
        ("node_Conv_1 + node_relu", "", ["node_Conv_1", "node_relu"]),
        ("PWN(node_relu, node_add)", "", ["node_relu", "node_add"]),
        ("{ForeignNode[node_Conv_1...node_add]}", "", ["node_Conv_1", "node_add"]),
        ("ReorderOutput_token_3", "ReorderOutput", []),
        ("Reformatting CopyNode for Input Tensor 0 to node_Conv_1", "", []),
        ("nothing of the kind", "Conv", []),
        ("nothing_nchwc", "Conv", []),
    ],
)
def test_the_nodes_behind_a_layer(network: OnnxGraph, layer: str, operator: str, names: list[str]) -> None:
    assert [found.name for found in network.find(layer, operator)] == names


def test_modules_and_weights(network: OnnxGraph) -> None:
    modules = {found.name: found.module for found in network.nodes}
    assert modules == {
        "node_Conv_1": "stem.0", "node_relu": "stem.2", "node_add": "", "node_dq": None, "node_linear": "head",
    }  # fmt: skip
    convolution, *_, product = network.nodes
    found = network.weight_of(convolution)
    assert found is not None
    assert (found.shape, found.size_bytes) == ((8, 3, 3, 3), 4 * 216)
    through = network.weight_of(product)
    assert through is not None
    assert through.shape == (10, 8)


@pytest.mark.parametrize(
    ("name", "module"),
    [("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"), ("/model.0/conv/Conv", "model.0.conv"), ("/Add", ""),
     ("Conv_12", None)],
)  # fmt: skip
def test_names_of_the_older_exporter_have_the_module(name: str, module: str | None) -> None:
    assert graph(node("Relu", "x", "y", name)).nodes[0].module == module


@pytest.mark.parametrize("weight", ["stem.0.weight", "stem.0.weight_quantized", "ConvBnFusion_W_stem.0.weight_token_6"])
def test_a_weight_names_the_module_whatever_was_made_of_it(weight: str) -> None:
    assert graph(node("Conv", f"x {weight}", "y", "node_Conv_1")).nodes[0].module == "stem.0"


@pytest.mark.parametrize("scopes", ["[", "['alone']", "7", "[" * 5000])
def test_scopes_that_cannot_be_read_are_not_known(scopes: str) -> None:
    assert graph(node("Relu", "x", "y", "r", scopes)).nodes[0].module is None


@pytest.mark.parametrize(
    ("operator", "first", "second", "out", "count"),
    [
        ("Conv", (1, 3, 16, 16), (8, 3, 3, 3), (1, 8, 8, 8), 8 * 64 * 27),
        ("Conv", (1, 3, 16, 16), (10, 3, 3, 3), (1, 16, 8, 8), 10 * 64 * 27),  # padded to whole vectors
        ("ConvTranspose", (1, 8, 4, 4), (8, 2, 3, 3), (1, 2, 9, 9), 8 * 16 * 18),
        ("Gemm", (2, 8), (10, 8), (2, 10), 160),
        ("MatMul", (4, 2, 8), (8, 10), (4, 2, 10), 640),
        ("Relu", (1, 8), (), (1, 8), 0),
    ],
)
def test_multiply_accumulates(
    operator: str, first: tuple[int, ...], second: tuple[int, ...], out: tuple[int, ...], count: int
) -> None:
    assert macs(operator, first, second, out) == count
    assert ranks_fit(operator, first, second, out) or operator == "Relu"


@pytest.mark.parametrize(
    ("operator", "first", "second", "out"),
    [
        ("Conv", (1, 3, 16, 16), (8, 3, 3, 3), (4,)),
        ("Gemm", (2, 8), (10, 8), ()),
        ("Gemm", (8,), (10, 8), (1,)),
        ("MatMul", (), (8, 10), (4, 10)),
        ("MatMul", (4, 2, 8), (8, 10), (3,)),
        ("MatMul", (4, 2, 8), (8, 10), (8, 8)),
    ],
)
def test_shapes_of_another_layer(
    operator: str, first: tuple[int, ...], second: tuple[int, ...], out: tuple[int, ...]
) -> None:
    assert not ranks_fit(operator, first, second, out)


@pytest.mark.parametrize(
    ("first", "second", "out"), [((8,), (8,), ()), ((8,), (8, 10), (10,)), ((4, 2, 8), (8,), (4, 2))]
)
def test_products_with_vectors(first: tuple[int, ...], second: tuple[int, ...], out: tuple[int, ...]) -> None:
    assert ranks_fit("MatMul", first, second, out)


def test_the_operator_set_is_onnx_own() -> None:
    sets = [helper.make_opsetid("com.microsoft", 99), helper.make_opsetid("", 17)]
    model = helper.make_model(helper.make_graph([], "g", [], []), opset_imports=sets)
    assert read_opset(model.SerializeToString(), "m.onnx") == 17
    assert read_opset(b"\x3a\x00", "m.onnx") == 0


def test_what_is_cut_off_is_refused(network: OnnxGraph) -> None:
    with pytest.raises(BadArtefact, match="m is no ONNX model or is cut off"):
        read_graph(b"\x3a\x10\x0a", "m")


def test_a_circle_and_a_node_without_inputs_lead_nowhere() -> None:
    found = graph(
        node("Cast", "b", "a", "one"),
        node("Cast", "a", "b", "two"),
        node("Cast", "", "c", "three"),
        node("Conv", "x a", "y", "round"),
        node("Conv", "x c", "z", "nowhere"),
    )
    assert [found.weight_of(one) for one in found.nodes[-2:]] == [None, None]
    assert [one.name for one in found.find("a_nchwc", "Conv")] == ["one"]


def test_a_message_is_told_where_the_nodes_are_that_it_names() -> None:
    odd = node("Det", "x", "y", "n0", "['', 'blocks.1', 'linalg_det']")
    odd.metadata_props.add(key=SOURCE_LINE, value="net.py:12")
    forged = node("BitwiseAnd", "x", "z", "n1")
    forged.metadata_props.add(key=SOURCE_LINE, value="net.py:12\n; trust me")
    network = graph(odd, forged, node("Cast", "z", "w", "n2", "['', 'head', 'to']"))
    assert network.places("node 'n0' (Det: not supported)") == "; n0 is in blocks.1, at net.py:12"
    assert network.places("ncnn has no layer for Det (Det_1)") == "; Det is in blocks.1, at net.py:12"
    assert network.places("no layer for torch.cast, torch.bitwise_and") == "; torch.cast is in head"
    assert network.places("n1 is wrong; cast it, or do without") == ""
