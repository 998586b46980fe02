"""What `--input` may say."""

import pytest

from helmsight.devices.errors import UsageError
from helmsight.export.input_spec import advice, parse_inputs
from helmsight.runtime.bundle import TensorSpec


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("1x3x224x224", TensorSpec("input", (1, 3, 224, 224), "float32", "NCHW", "RGB", (0.0, 1.0))),
        ("uint8:1x240x320x3", TensorSpec("input", (1, 240, 320, 3), "uint8", "NHWC", "BGR", (0.0, 255.0))),
        ("image:uint8:1x24x32x3:rgb", TensorSpec("image", (1, 24, 32, 3), "uint8", "NHWC", "RGB", (0.0, 255.0))),
        ("digit:1x1x28x28", TensorSpec("digit", (1, 1, 28, 28), "float32", "NCHW", "GREY", (0.0, 1.0))),
        ("state:float64:1x12", TensorSpec("state", (1, 12), "float64")),
        ("1x16x8x8", TensorSpec("input", (1, 16, 8, 8), "float32")),
    ],
)
def test_a_text_becomes_a_tensor(text: str, spec: TensorSpec) -> None:
    assert parse_inputs([text]) == (spec,)


def test_several_inputs_get_names_of_their_own() -> None:
    assert [spec.name for spec in parse_inputs(["1x2", "b:1x2", "1x3"])] == ["input0", "b", "input2"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["image"], "expected"),
        (["1x3x"], "expected"),
        (["1x0x2"], "dimension is 0"),
        (["a:b:1x3"], "dtype is none of"),
        (["9x:1x3x8x8"], "dtype is none of"),
        (["1x3x8x8:purple"], "colour PURPLE is unknown"),
        (["1x3x8x8:grey"], "3 channels"),
        (["1x12:RGB"], "no picture"),
        (["a:1x2", "a:1x3"], "stands twice"),
    ],
)
def test_what_cannot_be_meant_is_said(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_inputs(texts)


@pytest.mark.parametrize(
    ("said", "step"),
    [
        (
            "Expected tensor to have one of the scalar types: Long, Int; but got torch.FloatTensor",
            "the dtype",
        ),
        ("Input type (unsigned char) and bias type (float) should be the same", "the dtype"),
        ("expected input[1, 4, 8, 8] to have 3 channels, but got 4 channels instead", "the shape"),
    ],
)
def test_the_advice_is_of_what_does_not_fit(said: str, step: str) -> None:
    assert advice(RuntimeError(said)).startswith(f"give --input {step} it was made for")
