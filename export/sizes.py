"""Networks for pictures of several sizes: how torch is told, how the ONNX file says it, and which sizes are tried."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import ceil, gcd
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import BadArtefact, UsageError, need
from ..runtime.bundle import LARGEST_SIDE, SIZE_NAMES, TensorSpec
from ..runtime.onnx_nodes import SOURCE_LINE
from .loading import first_line

if TYPE_CHECKING:
    from onnx import ModelProto

SYMBOL = re.compile(r"\b[A-Za-z_]\w*\b(?!\()")
"""A name in a size as torch writes it, such as `s34` in `Min(s34, 2)`."""


def dynamic_shapes(inputs: Sequence[TensorSpec]) -> tuple[Any, ...] | None:
    """What `torch.export` is to leave open, an entry an input; None when every size is fixed.

    A side is stepped by the largest number that both the multiple and the usual side are a multiple of: 240 = 15 x 16
    stays possible beside multiples of 32. Raises UsageError when two inputs are open in different sizes.
    """
    pictures = [spec for spec in inputs if spec.multiple]
    if not pictures:
        return None
    first = pictures[0]
    for spec in pictures[1:]:
        if (spec.image_hw, spec.multiple) != (first.image_hw, first.multiple):
            raise UsageError(f"inputs {first.name} and {spec.name} are open in different sizes; give both the same")
    sides = [_side(name, side, first.multiple) for name, side in zip(SIZE_NAMES, first.image_hw, strict=True)]
    return tuple(
        dict(enumerate(sides, spec.layout.index("H"))) if spec.multiple else None  # its height and width
        for spec in inputs
    )


def example_shape(spec: TensorSpec) -> tuple[int, ...]:
    """The input that torch looks at: of the usual size, but two steps a side at least, as it keeps a one as a one."""
    shape = [int(d) for d in spec.shape]
    if spec.multiple:
        at = spec.layout.index("H")
        shape[at : at + 2] = [max(side, 2 * gcd(side, spec.multiple)) for side in spec.image_hw]
    return tuple(shape)


def name_sizes(model: ModelProto, inputs: Sequence[TensorSpec]) -> None:
    """Call the open sizes `height` and `width`, and those that follow from them after the first output that has them.

    Raises BadArtefact when an output's size depends on anything else.
    """
    names: dict[str, str] = {}
    for value, spec in zip(model.graph.input, inputs, strict=True):
        if spec.multiple:
            at = spec.layout.index("H")
            for dim, name in zip(value.type.tensor_type.shape.dim[at : at + 2], SIZE_NAMES, strict=True):
                names[dim.dim_param] = name
                dim.dim_param = name
    known = {symbol for text in names for symbol in SYMBOL.findall(text)}
    for output in model.graph.output:
        for axis, dim in enumerate(output.type.tensor_type.shape.dim):
            if dim.HasField("dim_value"):
                continue
            symbols = set(SYMBOL.findall(dim.dim_param))
            if not symbols or not symbols <= known:
                raise BadArtefact(
                    f"the size of output {output.name!r} depends on the data{_line_of(model, output.name)}, so no "
                    "board can plan its memory; return a fixed size, and pick from it outside the network"
                )
            dim.dim_param = names.setdefault(dim.dim_param, f"{output.name}_{axis}")
    if names:
        del model.graph.value_info[:]  # the sizes in between, in names that nothing else has any more


def _line_of(model: ModelProto, tensor: str) -> str:
    """The user's line of the node that gives it, as ` at net.py:12`."""
    places = [p.value for n in model.graph.node if tensor in n.output for p in n.metadata_props if p.key == SOURCE_LINE]
    return f" at {places[0]}" if places else ""


def at_usual_size(model: ModelProto, inputs: Sequence[TensorSpec]) -> ModelProto:
    """`model` with the sizes of `inputs` written in and all others inferred, for counting its work."""
    if not any(spec.multiple for spec in inputs):
        return model
    fixed = type(model)()
    fixed.CopyFrom(model)
    for value, spec in zip(fixed.graph.input, inputs, strict=True):
        for dim, size in zip(value.type.tensor_type.shape.dim, spec.shape, strict=True):
            dim.dim_value = int(size)
    for output in fixed.graph.output:
        output.type.tensor_type.ClearField("shape")
    need("onnxruntime", "cpu")
    # onnx's own inference does not compute with sizes, such as half a height.
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    try:
        inferred: ModelProto = SymbolicShapeInference.infer_shapes(fixed)
    except Exception as error:  # bare asserts and Exception
        raise BadArtefact(f"the sizes inside the network cannot be told ({first_line(error)})") from error
    return inferred


def other_sizes(inputs: Sequence[TensorSpec]) -> tuple[tuple[int, int], ...]:
    """Heights and widths to try beside the usual ones: a landscape and a portrait; none when the size is fixed."""
    spec = next((spec for spec in inputs if spec.multiple), None)
    if spec is None:
        return ()
    short, long = sorted(spec.image_hw)
    sizes = ((short, 1.5 * long), (1.25 * long, 0.75 * short))
    largest = LARGEST_SIDE // spec.multiple * spec.multiple
    height, width = ([min(_up(side, spec.multiple), largest) for side in sides] for sides in zip(*sizes, strict=True))
    return tuple(zip(height, width, strict=True))


def resize_feeds(feeds: Mapping[str, NDArray[Any]], inputs: Sequence[TensorSpec]) -> dict[str, NDArray[Any]]:
    """`feeds` with its pictures at the sizes of `inputs`: the middle of them, or side by side, at their own scale.

    Squeezed to another shape they would show what nobody looks for, and a detector's outputs would be noise.
    """
    resized = dict(feeds)
    for spec in inputs:
        if spec.multiple:
            at = spec.layout.index("H")
            for axis, side in enumerate(spec.image_hw, at):
                was = resized[spec.name].shape[axis]
                resized[spec.name] = np.take(resized[spec.name], (np.arange(side) + (was - side) // 2) % was, axis=axis)
    return resized


def _side(name: str, usual: int, multiple: int) -> Any:
    """A side for `torch.export`."""
    dim = need("torch", "train").export.Dim
    step = gcd(usual, multiple)
    if step == 1:
        return dim(name, min=2, max=LARGEST_SIDE)
    return step * dim(f"_{name}", min=2, max=LARGEST_SIDE // step)


def _up(side: float, multiple: int) -> int:
    return ceil(side / multiple) * multiple
