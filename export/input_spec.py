"""`--input`: what a network takes, in one word: `[NAME:][DTYPE:]SHAPE[:COLOUR]`, e.g. `image:uint8:1x240x320x3:BGR`.

`/32` after the shape of a picture leaves its height and width open: the bundle takes other multiples of 32 as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ..devices.errors import UsageError
from ..runtime.bundle import TensorSpec

DTYPES = ("uint8", "int8", "int32", "int64", "float16", "float32", "float64", "bool")
COLOURS = ("BGR", "RGB", "GREY")
EXAMPLE = "expected [NAME:][DTYPE:]SHAPE[/MULTIPLE][:COLOUR], e.g. 1x3x224x224 or image:uint8:1x240x320x3/32:BGR"

_SHAPE = re.compile(r"\d+(x\d+)*(/\d+)?")
_NAME = re.compile(r"[A-Za-z_]\w*")


def parse_inputs(texts: Sequence[str]) -> tuple[TensorSpec, ...]:
    """The inputs that `--input` (once for each) describes, in the order of the network's arguments."""
    specs = tuple(parse_input(text, "input" if len(texts) == 1 else f"input{i}") for i, text in enumerate(texts))
    names = [spec.name for spec in specs]
    if len(set(names)) != len(names):
        raise UsageError(f"--input names {', '.join(names)}: a name stands twice; give each input its own")
    return specs


def parse_input(text: str, default_name: str = "input") -> TensorSpec:
    """One input. Raises UsageError that shows the form."""
    parts = text.split(":")
    at = next((i for i, part in enumerate(parts) if _SHAPE.fullmatch(part)), None)
    if at is None or at > 2 or len(parts) - at > 2:
        raise UsageError(f"--input {text}: {EXAMPLE}")
    sizes, _, multiple = parts[at].partition("/")
    shape = tuple(int(d) for d in sizes.split("x"))
    if 0 in shape:
        raise UsageError(f"--input {text}: a dimension is 0; expected each at least 1")
    head = parts[:at]
    dtype = head.pop() if head and head[-1] in DTYPES else "float32"
    name = head.pop() if head else default_name
    if head or not _NAME.fullmatch(name):
        raise UsageError(f"--input {text}: dtype is none of {', '.join(DTYPES)}; {EXAMPLE}")
    colour = parts[at + 1].upper() if len(parts) > at + 1 else ""
    if colour and colour not in COLOURS:
        raise UsageError(f"--input {text}: colour {colour} is unknown; expected one of {', '.join(COLOURS)}")
    spec = describe_picture(name, shape, dtype, colour)
    if not multiple:
        return spec
    if not spec.layout or not int(multiple):
        raise UsageError(f"--input {text}: /{multiple} leaves a picture's size open; {EXAMPLE}")
    return replace(spec, multiple=int(multiple))


def advice(error: BaseException) -> str:
    """What to change of --input, by what a network said that did not take it."""
    if re.search(r"\b(d?types?|Int|Long|Float|Double|Byte)\b", str(error)):
        return f"give --input the dtype it was made for ({', '.join(DTYPES)}), as in --input uint8:1x240x320x3"
    return "give --input the shape it was made for"


def describe_picture(name: str, shape: tuple[int | str, ...], dtype: str, colour: str = "") -> TensorSpec:
    """Fill in what a picture's shape says of it.

    Four dimensions with 1 or 3 channels second are NCHW, last NHWC. What is not stated is what each side's habit is:
    three channels of uint8 are BGR 0..255, as OpenCV's cameras give them; of floats RGB 0..1, as torchvision's
    `ToTensor` gives them.
    """
    layout = ""
    if len(shape) == 4:
        layout = "NCHW" if shape[1] in (1, 3) else "NHWC" if shape[3] in (1, 3) else ""
    if not layout:
        if colour:
            raise UsageError(f"input {name} of shape {shape} is no picture, yet its colour is {colour}; leave it out")
        return TensorSpec(name, shape, dtype)
    channels = shape[layout.index("C")]
    if colour and (channels == 1) != (colour == "GREY"):
        raise UsageError(f"input {name} has {channels} channels, yet its colour is {colour}; the two must fit")
    if not colour:
        colour = "GREY" if channels == 1 else "BGR" if dtype == "uint8" else "RGB"
    limits = (0.0, 255.0) if dtype == "uint8" else (0.0, 1.0)
    return TensorSpec(name, shape, dtype, layout, colour, limits)
