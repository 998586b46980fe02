"""Networks whose input size is left open: what the file says, what the gates compare, what the back end fixes."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from helmsight.devices.errors import BadArtefact, GateFailed, UsageError
from helmsight.export.build import ExportOptions, export
from helmsight.export.graph import summarise
from helmsight.export.input_spec import parse_input, parse_inputs
from helmsight.export.reference import probe_outputs
from helmsight.export.sizes import at_usual_size, dynamic_shapes, other_sizes, resize_feeds
from helmsight.export.to_onnx import to_onnx
from helmsight.runtime.backends import load
from helmsight.runtime.bundle import Bundle, open_bundle

from .conftest import entered

pytest.importorskip("torch", reason="export needs the train extra")

PICTURE = "image:uint8:1x12x16x3/8:BGR"
"""The usual height is no multiple of 8, but one of 4, which the coarse level halves to one and a half cells."""


def exported(*inputs: str, net: str = "Cells") -> Bundle:
    return export(f"nets:{net}", ExportOptions(inputs=inputs))


@pytest.fixture(scope="module")
def left_open(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The network at PICTURE, exported once for the tests that only look at it."""
    with entered(tmp_path_factory.mktemp("open")) as path:
        return export("nets:Cells", ExportOptions(inputs=(PICTURE,), out=path / "Cells.bundle"))


def shapes(model: onnx.ModelProto) -> dict[str, list[int | str]]:
    return {
        value.name: [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }


def test_an_open_size_is_named_in_the_file_and_fixed_when_it_is_loaded(left_open: Bundle) -> None:
    bundle = left_open
    assert shapes(onnx.load(bundle.model)) == {
        "image": [1, "height", "width", 3],
        "scores": [1, "scores_1"],
        "picture": [1, 4, "picture_2", "picture_3"],
        "mean": [1],
    }
    assert bundle.manifest.inputs[0].multiple == 8
    assert bundle.manifest.outputs[0].shape == (1, 8 * 6 + 4 * 3), "of the usual size"
    for height, width in ((12, 16), (8, 8), (8, 40), (40, 8), (12, 64), (64, 48)):
        image = np.random.default_rng(height).integers(0, 256, (1, height, width, 3), np.uint8)
        with load(bundle.resized((height, width))) as session:
            made = session.run({"image": image})
            stated = {spec.name: spec.shape for spec in session.outputs}
            assert session.inputs[0].shape == image.shape
        assert stated == {name: values.shape for name, values in made.items()}
        cells = (height // 2) * (width // 2) + (height // 4) * (width // 4)
        assert stated["scores"] == (1, cells)


def test_the_gates_look_at_a_landscape_and_a_portrait(left_open: Bundle, folder: Path) -> None:
    record = open_bundle(left_open.path).manifest.parity["cpu"]
    assert list(record["other_sizes"]) == ["24x16", "16x24"]
    assert all(size["n"] == 4 and size["max_abs"] < 1e-5 for size in record["other_sizes"].values())
    assert "other_sizes" not in exported("image:uint8:1x12x16x3:BGR").manifest.parity["cpu"]


def test_a_network_held_to_one_size_does_not_pass_for_open(folder: Path) -> None:
    with pytest.raises(BadArtefact, match=r"the network does not take 24x16, though its input says so: "):
        exported("1x3x16x16/8", net="OneSize")
    assert not Path("OneSize.bundle").exists()


def test_a_file_that_is_wrong_at_another_size_is_not_written(folder: Path) -> None:
    # Every element depends on the height, which the converter keeps as it was when it is read as a number.
    Path("own.py").write_text(
        "import torch\n"
        "class Wrong(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        big = not torch.compiler.is_exporting() and x.shape[2] > 16\n"
        "        return x * (2 if big else 1)\n"
    )
    with pytest.raises(GateFailed, match="at 16x24: output 'output' differs on input 0"):
        export("own:Wrong", ExportOptions(inputs=("1x3x16x16/8",)))


def test_counting_the_work_at_the_usual_size(folder: Path) -> None:
    import nets

    def convert(text: str) -> onnx.ModelProto:
        specs = parse_inputs([text])
        module = nets.Cells().eval()
        names = [spec.name for spec in probe_outputs(module, specs)]
        return at_usual_size(to_onnx(module, specs, names, 18, folder / "log"), specs)

    left_open, fixed = summarise(convert(PICTURE)), summarise(convert("image:uint8:1x12x16x3:BGR"))
    assert left_open.macs == fixed.macs == 6 * 8 * 4 * 27 + 3 * 4 * 4 * 36
    assert left_open.parameters == fixed.parameters


def test_a_fixed_size_costs_no_more_than_one_in_the_file(left_open: Bundle, tmp_path: Path) -> None:
    """What is left after ONNX Runtime's optimisations: no node that computes with sizes."""
    model = left_open.model
    settings = ort.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    settings.log_severity_level = 3
    for name, side in (("height", 12), ("width", 16)):
        settings.add_free_dimension_override_by_name(name, side)
    ort.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
    kinds = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    assert "Conv" in kinds
    assert not kinds & {"Shape", "Gather", "Squeeze", "Unsqueeze"}


def test_the_smallest_size_there_is(folder: Path) -> None:
    bundle = exported("image:uint8:1x8x8x3/8:BGR")
    with load(bundle) as session:
        assert session.run({"image": np.zeros((1, 8, 8, 3), np.uint8)})["scores"].shape == (1, 20)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("image:uint8:1x240x320x3/32", ((256, 480), (416, 192))),
        ("1x3x320x320/32", ((320, 480), (416, 256))),
        ("1x3x320x320", ()),
    ],
)
def test_the_sizes_that_are_tried(text: str, sizes: tuple[tuple[int, int], ...]) -> None:
    assert other_sizes((parse_input(text),)) == sizes


def test_pictures_at_other_sizes_keep_their_scale() -> None:
    spec = parse_input("image:uint8:1x2x4x3/2:BGR")
    image = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    feeds = {"image": image, "more": np.ones(3)}
    larger = resize_feeds(feeds, (spec.resized((4, 8)),))
    np.testing.assert_array_equal(larger["image"][:, 1:3, 2:6], image, "the whole in the middle")
    np.testing.assert_array_equal(larger["image"][:, 3:, :2], image[:, :1, 2:], "and again around it")
    np.testing.assert_array_equal(resize_feeds(larger, (spec,))["image"], image)
    assert larger["more"] is feeds["more"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1x3x224x224/0", "/0 leaves a picture's size open"),
        ("1x128/32", "/32 leaves a picture's size open; expected"),
        ("1x3x224/32x224", "expected .NAME:"),
    ],
)
def test_what_cannot_be_left_open(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_input(text)


def test_two_inputs_share_their_size() -> None:
    with pytest.raises(UsageError, match="inputs a and b are open in different sizes"):
        dynamic_shapes(parse_inputs(["a:1x3x16x16/8", "b:1x3x8x16/8"]))
    first, second, third = dynamic_shapes(parse_inputs(["a:1x3x16x16/8", "b:1x16x16x3/8", "c:1x4"])) or ()
    assert (list(first), list(second), third) == ([2, 3], [1, 2], None)


def test_an_onnx_file_has_its_own_sizes(left_open: Bundle, folder: Path) -> None:
    with pytest.raises(UsageError, match="sizes of an ONNX file cannot be left open; leave out /8"):
        export(str(left_open.model), ExportOptions(inputs=("image:uint8:1x16x16x3/8:BGR",), out=Path("o.bundle")))


def test_a_large_open_size_is_tried_within_what_is_allowed() -> None:
    sizes = other_sizes((parse_input("image:uint8:1x3008x3008x3/32:BGR"),))
    assert max(side for size in sizes for side in size) == 4096
