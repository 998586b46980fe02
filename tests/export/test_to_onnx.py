"""The conversion, and what is read back from its result: opset, precision, counts."""

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from helmsight.devices.errors import BadArtefact, UsageError
from helmsight.export.graph import summarise
from helmsight.export.input_spec import parse_inputs
from helmsight.export.precision import check_is, check_wish, read_precision
from helmsight.export.reference import probe_outputs
from helmsight.export.to_onnx import read_opset, to_onnx

from .conftest import NETS

torch = pytest.importorskip("torch", reason="export needs the train extra")


def convert(folder: Path, name: str, *inputs: str, opset: int = 18) -> onnx.ModelProto:
    import nets

    module = getattr(nets, name)().eval()
    specs = parse_inputs(inputs or ("1x3x16x16",))
    names = [spec.name for spec in probe_outputs(module, specs)]
    return to_onnx(module, specs, names, opset, folder / "log")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """`nets.build`, converted once for all tests that only look at it."""
    spec = importlib.util.spec_from_file_location("nets", NETS)
    assert spec is not None
    assert spec.loader is not None
    nets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nets)
    inputs = parse_inputs(["1x3x16x16"])
    return to_onnx(nets.build().eval(), inputs, ["output"], 18, tmp_path_factory.mktemp("log") / "log")


def test_the_opset_is_the_one_asked_for(folder: Path, classifier: onnx.ModelProto) -> None:
    assert read_opset(classifier) == 18
    assert read_opset(convert(folder, "DataKept", opset=20)) == 20


def test_an_opset_that_torch_does_not_write_is_not_passed_off(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"--opset 17: torch .* wrote opset 18 instead"):
        convert(folder, "build", opset=17)


def test_counts_of_a_network(folder: Path, classifier: onnx.ModelProto) -> None:
    import nets

    summary = summarise(classifier)
    # Batch normalisation is folded into the convolution before it, whose bias it shares: gone are its own 16 values.
    assert summary.parameters == sum(p.numel() for p in nets.build().parameters()) - 16
    # 8x8 outputs: 8 channels of 3x3x3, then 16 channels of 4x3x3 (two groups), and the 16x10 matrix.
    assert summary.macs == 64 * (8 * 27 + 16 * 36) + 160
    assert summary.weight_bytes >= summary.parameters * 4
    assert sum(summary.operators.values()) == summary.nodes


def one_node(kind: str, shapes: dict[str, list[int | str]], **attributes: object) -> onnx.ModelProto:
    """A model of one node; the last shape is its output's."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    node = helper.make_node(kind, list(shapes)[:-1], list(shapes)[-1:], **attributes)
    graph = helper.make_graph([node], "one", values[:-1], values[-1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(
    ("model", "macs"),
    [
        (one_node("MatMul", {"a": [2, 3, 5], "b": [2, 5, 7], "y": [2, 3, 7]}), 2 * 3 * 5 * 7),
        (one_node("Gemm", {"a": [5, 3], "b": [5, 7], "y": [3, 7]}, transA=1), 3 * 5 * 7),
        (one_node("Gemm", {"a": [3, 5], "b": [7, 5], "y": [3, 7]}, transB=1), 3 * 5 * 7),
        # Each of the 4x4 inputs of 6 channels is spread over 2x2 cells of 4 channels.
        (
            one_node("ConvTranspose", {"x": [1, 6, 4, 4], "w": [6, 4, 2, 2], "y": [1, 4, 8, 8]}, strides=[2, 2]),
            4 * 4 * 6 * 4 * 2 * 2,
        ),
        (one_node("Conv", {"x": [1, 8, 4, 4], "w": [8, 1, 3, 3], "y": [1, 8, 2, 2]}, group=8), 2 * 2 * 8 * 9),
        (one_node("MatMul", {"a": ["n", 5], "b": [5, 7], "y": ["n", 7]}), None),
        (one_node("Relu", {"x": [1, 8], "y": [1, 8]}), 0),
    ],
)
def test_multiply_accumulates(model: onnx.ModelProto, macs: int | None) -> None:
    assert summarise(model).macs == macs


def test_nothing_of_this_machine_is_in_the_file(classifier: onnx.ModelProto) -> None:
    data = classifier.SerializeToString()
    assert str(NETS.parent).encode() not in data
    assert b"site-packages" not in data
    assert b"body" in data, "the path of a module stays, for profiles by layer"


def test_the_same_network_gives_the_same_bytes(folder: Path, classifier: onnx.ModelProto) -> None:
    again = convert(folder, "build", "input:1x3x16x16")
    assert again.SerializeToString(deterministic=True) == classifier.SerializeToString(deterministic=True)


def test_a_pool_of_channels_last_is_no_gather_and_another_order_stays_one(folder: Path) -> None:
    model = convert(folder, "ChannelsLast", "uint8:1x12x16x3")
    assert Counter(node.op_type for node in model.graph.node)["Gather"] == 1
    image = np.random.default_rng(0).integers(0, 256, (1, 12, 16, 3)).astype(np.uint8)
    pooled, turned = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": image})
    assert pooled.shape == (1, 6)
    np.testing.assert_array_equal(turned, pooled[0, ::-1])
    (place,) = {
        p.value for n in model.graph.node if "as_strided" in n.output for p in n.metadata_props if ":" in p.value
    }
    assert place.startswith("nets.py:"), "it is still known where it is from"


def test_what_torch_prints_stays_off_the_screen(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadArtefact):
        convert(folder, "Flow")
    assert capfd.readouterr() == ("", "")
    assert "GuardOnDataDependentSymNode" in (folder / "log").read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Flow", r"control flow or a size depends on the data at nets.py:\d+ `if x.sum\(\) > 0:`"),
        ("Unsupported", r"operator prims.bessel_j0 in blocks.1 \(Bessel\) at nets.py:\d+ .* has no ONNX form"),
        ("Inverts", r"operator aten.linalg_inv_ex in the top module \(Inverts\) at nets.py:\d+ .* has no ONNX form"),
        ("DataSize", r"the size of output 'output' depends on the data at nets.py:\d+, so no board"),
        ("Reads", r"depends on the data at nets.py:\d+ `return x \* float\(x.max\(\).item\(\)\)`"),
        ("Leaves", r"cannot trace the network \(.*numpy.*\) at nets.py:\d+ `return torch.from_numpy\(np.tanh"),
    ],
)
def test_what_onnx_cannot_hold(folder: Path, name: str, message: str) -> None:
    with pytest.raises(BadArtefact, match=message) as caught:
        convert(folder, name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("build", "1x4x16x16", "does not take input float32 1x4x16x16 .*3 channels"),
        ("build", "uint8:1x3x16x16", "does not take input uint8 1x3x16x16"),
        ("inverts_nothing", "1x3x16x16", r"linalg.inv: .* at nets.py:\d+ `return torch.linalg.inv\(x\[..., "),
        ("ReturnsText", "1x3x16x16", "output 'output1' is a str"),
    ],
)
def test_a_network_that_does_not_fit_its_input(folder: Path, name: str, shape: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        convert(folder, name, shape)


def test_it_is_tried_on_values_not_on_zeros(folder: Path) -> None:
    import nets

    (output,) = probe_outputs(nets.Inverts(), parse_inputs(["1x3x16x16"]))
    assert output.shape == (1, 3, 16, 16)


def test_precision_is_read_from_the_graph(folder: Path, classifier: onnx.ModelProto) -> None:
    full = read_precision(classifier)
    assert (full.name, full.weighted_ops) == ("fp32", {"fp32": 3})
    half = read_precision(convert(folder, "Half"))
    assert (half.name, half.weighted_ops) == ("fp16", {"fp16": 1})
    with pytest.raises(BadArtefact, match=r"asked for fp32, the network computes in fp16 \(1 fp16\)"):
        check_is(half, "fp32")


def product_model(*kinds: str) -> onnx.ModelProto:
    """One matrix product after the other; `int8` ones between DequantizeLinear nodes, as quantisers write them."""
    nodes, stored, last = [], [], "x"
    for i, kind in enumerate(kinds):
        stored.append(helper.make_tensor(f"w{i}", TensorProto.FLOAT, [4, 4], [0.5] * 16))
        left, right = last, f"w{i}"
        if kind == "int8":
            stored[-1] = helper.make_tensor(f"w{i}", TensorProto.INT8, [4, 4], [1] * 16)
            stored.append(helper.make_tensor(f"s{i}", TensorProto.FLOAT, [], [0.1]))
            nodes.append(helper.make_node("QuantizeLinear", [last, f"s{i}"], [f"q{i}"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"q{i}", f"s{i}"], [f"d{i}"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"w{i}", f"s{i}"], [f"dw{i}"]))
            left, right = f"d{i}", f"dw{i}"
        nodes.append(helper.make_node("MatMul", [left, right], [f"y{i}"]))
        last = f"y{i}"
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "products", values[:1], values[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(
    ("kinds", "name", "counts"),
    [
        (("fp32", "fp32"), "fp32", {"fp32": 2}),
        (("int8", "int8"), "int8", {"int8": 2}),
        (("fp32", "int8"), "mixed", {"fp32": 1, "int8": 1}),
    ],
)
def test_one_layer_of_another_precision_is_noticed(kinds: tuple[str, ...], name: str, counts: Counter[str]) -> None:
    found = read_precision(product_model(*kinds))
    assert (found.name, found.weighted_ops) == (name, counts)


def test_a_repaired_file_may_be_mixed_and_no_other() -> None:
    mixed, full = read_precision(product_model("fp32", "int8")), read_precision(product_model("fp32"))
    check_is(mixed, "int8", repaired=True)
    with pytest.raises(BadArtefact, match=r"the network computes in mixed \(1 fp32, 1 int8\); --repair"):
        check_is(mixed, "int8")
    for wished, found in (("int8", full), ("fp16", mixed)):
        with pytest.raises(BadArtefact, match=f"asked for {wished}"):
            check_is(found, wished, repaired=True)


def test_a_word_that_is_no_precision() -> None:
    with pytest.raises(UsageError, match="expected one of fp32, fp16, bf16, int8"):
        check_wish("fp8")
