"""ONNX files that a user brings: what is read, what is pinned, what is refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from helmsight.devices.errors import BadArtefact, UsageError
from helmsight.export.onnx_file import load_checked, pin_inputs, read_onnx

pytestmark = pytest.mark.usefixtures("folder")


def small_model(batch: int | str = 1) -> onnx.ModelProto:
    """A convolution of 3 to 4 channels on 8 x 8 pictures."""
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4, 6, 6])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_a_file_is_read(folder: Path) -> None:
    onnx.save(small_model(), folder / "small.onnx")
    source = read_onnx(Path("small.onnx"), ())
    assert (source.name, source.onnx) == ("small", Path("small.onnx"))
    assert [(spec.name, spec.shape, spec.layout) for spec in source.inputs] == [("x", (1, 3, 8, 8), "NCHW")]


def test_a_varying_dimension_must_be_pinned(folder: Path) -> None:
    onnx.save(small_model("batch"), folder / "small.onnx")
    with pytest.raises(UsageError, match="pin it: --input x:1x3x8x8"):
        read_onnx(Path("small.onnx"), ())
    source = read_onnx(Path("small.onnx"), ("x:2x3x8x8",))
    pinned = pin_inputs(load_checked(Path("small.onnx")), source.inputs)
    assert [d.dim_value for d in pinned.graph.output[0].type.tensor_type.shape.dim] == [2, 4, 6, 6]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("1x3x8x8", "--input without a name: small.onnx calls it x"),
        ("z:1x3x8x8", "has no such input; it has x"),
        ("x:1x3x9x8", "has shape .1, 3, 9, 8.; the file says"),
        ("x:uint8:1x3x8x8", "is uint8; the file says float32"),
    ],
)
def test_an_input_that_the_file_contradicts(folder: Path, given: str, message: str) -> None:
    onnx.save(small_model(), folder / "small.onnx")
    with pytest.raises(UsageError, match=message):
        read_onnx(Path("small.onnx"), (given,))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_file_cut_off(folder: Path, share: float) -> None:
    whole = small_model().SerializeToString()
    (folder / "cut.onnx").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadArtefact, match=r"cut.onnx is (no ONNX model or is cut off|not valid ONNX)") as caught:
        read_onnx(Path("cut.onnx"), ())
    assert "\n" not in str(caught.value)


def test_a_file_that_is_absent_or_something_else(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no ONNX file at absent.onnx"):
        read_onnx(Path("absent.onnx"), ())
    (folder / "text.onnx").write_text("This is a text, not a network.\n")
    with pytest.raises(BadArtefact, match="is no ONNX model"):
        read_onnx(Path("text.onnx"), ())


def test_a_graph_that_breaks_the_rules(folder: Path) -> None:
    model = small_model()
    model.graph.node[0].input[0] = "nowhere"
    onnx.save(model, folder / "wrong.onnx")
    with pytest.raises(BadArtefact, match="is not valid ONNX"):
        read_onnx(Path("wrong.onnx"), ())


def test_an_input_that_is_no_number(folder: Path) -> None:
    words = helper.make_tensor_value_info("x", TensorProto.STRING, [1, 4])
    out = helper.make_tensor_value_info("y", TensorProto.STRING, [1, 4])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "words", [words], [out])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), folder / "words.onnx")
    with pytest.raises(BadArtefact, match=r"input x of words.onnx is object; expected a tensor of uint8"):
        read_onnx(Path("words.onnx"), ())


def external_model(folder: Path, location: str) -> Path:
    model = small_model()
    tensor = model.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(data)))):
        tensor.external_data.add(key=key, value=value)
    (folder / "model").mkdir()
    (folder / "weights.bin").write_bytes(data)
    (folder / "model" / "weights.bin").write_bytes(data)
    (folder / "model" / "link.bin").symlink_to(folder / "weights.bin")
    file = folder / "model" / "external.onnx"
    file.write_bytes(model.SerializeToString())
    return file


def test_data_beside_the_file_is_taken_in(folder: Path) -> None:
    model = load_checked(external_model(folder, "weights.bin"))
    assert numpy_helper.to_array(model.graph.initializer[0]).sum() == 4 * 3 * 9


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "link.bin"])
def test_data_outside_the_folder_is_refused(folder: Path, location: str) -> None:
    with pytest.raises(BadArtefact, match=r"tensor weight has its data at .* outside the model's folder"):
        load_checked(external_model(folder, location))


def test_data_that_is_missing(folder: Path) -> None:
    with pytest.raises(BadArtefact, match=r"has its data in absent.bin, which is missing"):
        load_checked(external_model(folder, "absent.bin"))
