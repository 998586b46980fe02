"""ONNX as NVIDIA's engines read it: a picture of bytes is cast before anything else, and sizes may be written in.

TensorRT (8.5 and later) and TensorRT-RTX take uint8 as an input, and only a cast of it: not even a transpose. What
TensorRT 8.5 stumbles over besides is written so that it may not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from math import prod
from typing import TYPE_CHECKING

from ..devices.errors import BadArtefact, need
from ..runtime.bundle import TensorSpec

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

_MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Split", "Gather"})
"""Operators that hand bytes on as they are, so that they give the same floats when the cast comes first."""
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_ELEMENTWISE = ("Add", "Div", "Mul", "Sub")
_FLOATS = (1, 10)
"""float32 and float16, as onnx.proto numbers them."""


def cast_first(model: ModelProto) -> ModelProto:
    """`model` with every uint8 input cast to float32 at once; its values stay the same, as a float holds any byte.

    Raises BadArtefact with the node's name for one that computes with bytes.
    """
    onnx = need("onnx", "train")
    made = type(model)()
    made.CopyFrom(model)
    graph = made.graph
    bytes_in = {v.name for v in graph.input if v.type.tensor_type.elem_type == onnx.TensorProto.UINT8}
    if not bytes_in:
        return made
    is_float = dict.fromkeys(bytes_in, False)
    for node in graph.node:
        _let_floats_through(node, is_float, onnx)
    if wrong := {v.name for v in graph.output} & is_float.keys():
        raise BadArtefact(f"output {min(wrong)!r} is uint8, which NVIDIA's engines do not give; cast it to float32")
    for node in graph.node:
        for at, name in enumerate(node.input):
            if name in bytes_in:
                node.input[at] = f"{name}_float"
    nodes = [onnx.helper.make_node("Cast", [n], [f"{n}_float"], f"{n}_float", to=1) for n in sorted(bytes_in)]
    nodes += graph.node
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return made


def _let_floats_through(node: NodeProto, is_float: dict[str, bool], onnx: object) -> None:
    """Follow the values of a uint8 input through one node; `is_float` gains what it hands on."""
    fed = [name for name in node.input if name in is_float]
    if not fed or node.op_type == "Shape":
        return
    if node.op_type == "Cast":
        (to,) = node.attribute
        if to.i == 1:
            node.op_type = "Identity"
            del node.attribute[:]
    elif node.op_type in _MOVES and fed == [node.input[0]]:
        is_float.update(dict.fromkeys(node.output, True))
    else:
        raise BadArtefact(
            f"node {node.name or node.output[0]!r} ({node.op_type}) computes with uint8, which NVIDIA's engines do not "
            "do; cast the picture to float before it in the network"
        )


def with_float_inputs(model: ModelProto) -> ModelProto:
    """What `cast_first` gave, with float32 inputs of the same values for its casts: TensorRT 8.2 has no uint8."""
    onnx = need("onnx", "train")
    made = type(model)()
    made.CopyFrom(model)
    floats = set()
    for value in made.graph.input:
        if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
            floats.add(value.name)
    for node in made.graph.node:
        if node.op_type == "Cast" and node.input[0] in floats:
            node.op_type = "Identity"
            del node.attribute[:]
    return made


def at_fixed_size(model: ModelProto, inputs: Sequence[TensorSpec]) -> ModelProto:
    """`model` with the sizes of `inputs` written in, and what follows from them inferred again."""
    onnx = need("onnx", "train")
    made = type(model)()
    made.CopyFrom(model)
    for value, spec in zip(made.graph.input, inputs, strict=True):
        for dim, size in zip(value.type.tensor_type.shape.dim, spec.shape, strict=True):
            dim.dim_value = int(size)
    for output in made.graph.output:
        if any(dim.HasField("dim_param") for dim in output.type.tensor_type.shape.dim):
            output.type.tensor_type.ClearField("shape")
    del made.graph.value_info[:]
    fixed: ModelProto = onnx.shape_inference.infer_shapes(made, data_prop=True)
    return fixed


def for_tensorrt(model: ModelProto) -> ModelProto:
    """`model` without what TensorRT 8.5 stumbles over where it can be said otherwise; no output differs by a bit.

    Both were seen with 8.5.3.1 on a GPU, in int8; what is written here in their place has not been seen there yet.

    - A convolution whose weights come through DequantizeLinear has the size of its kernel from `kernel_shape` alone,
      which ONNX may leave out: the parser refuses the node (checkSpatialDims). So it is written into every one.
    - A product with a constant of three equal elements, as a picture's scale is, becomes a Scale of three, which does
      not merge with the quantisation's Scale of one behind it (graphOptimizer.cpp, mergeScales: "Assertion
      equalOrZero({result.scale.count(), ...}) failed"). So equal elements become one, of the same rank. Unequal ones
      stay, and may be refused in int8 as those were.
    """
    made = type(model)()
    made.CopyFrom(model)
    shapes = _shapes(made)
    for node in made.graph.node:
        if node.op_type in _CONVOLUTIONS:
            _write_kernel_shape(node, shapes.get(node.input[1], []))
    _join_equal_elements(made.graph, shapes)
    return made


def _shapes(model: ModelProto) -> dict[str, list[int]]:
    """The shapes of all tensors that have one, 0 for a side that is open."""
    graph = need("onnx", "train").shape_inference.infer_shapes(model, data_prop=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    found = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    return found | {tensor.name: list(tensor.dims) for tensor in graph.initializer}


def _write_kernel_shape(node: NodeProto, weight: list[int]) -> None:
    sides = weight[2:]
    if sides and all(sides) and not any(a.name == "kernel_shape" for a in node.attribute):
        node.attribute.append(need("onnx", "train").helper.make_attribute("kernel_shape", sides))


def _join_equal_elements(graph: GraphProto, shapes: Mapping[str, list[int]]) -> None:
    """One element for all of a constant in an elementwise node, where they are equal and its result keeps its shape."""
    given = {value.name for value in graph.input}  # a stored tensor of that name is a default, and no constant
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in given}
    joined: dict[str, TensorProto] = {}
    for node in graph.node:
        if node.op_type not in _ELEMENTWISE:
            continue
        for at, (name, beside) in enumerate([tuple(node.input), tuple(node.input)[::-1]]):
            if name not in stored or beside in stored or not _widens_nothing(stored[name].dims, shapes.get(beside, [])):
                continue
            one = joined.get(name) or _one_element(stored[name])
            if one is not None and one.name not in shapes:
                joined[name] = one
                node.input[at] = one.name
    used = set(_names_used(graph))
    kept = [tensor for tensor in graph.initializer if tensor.name not in joined or tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *joined.values()])


def _widens_nothing(constant: Sequence[int], beside: Sequence[int]) -> bool:
    """Whether a constant of that shape leaves what it meets its shape, as one element does."""
    sides = zip_longest(reversed(constant), reversed(beside), fillvalue=1)
    return all(side in (1, other) for side, other in sides)


def _one_element(tensor: TensorProto) -> TensorProto | None:
    """The element that all are, None where they are not, or are one already."""
    if tensor.data_type not in _FLOATS or prod(tensor.dims) < 2:
        return None
    numpy_helper = need("onnx", "train").numpy_helper
    values = numpy_helper.to_array(tensor)
    first = values.reshape(-1)[:1]
    if values.tobytes() != first.tobytes() * values.size:  # bytes, since 0.0 == -0.0
        return None
    one: TensorProto = numpy_helper.from_array(first.reshape([1] * values.ndim), f"{tensor.name}_one")
    return one


def _names_used(graph: GraphProto) -> Iterator[str]:
    """What nodes take, those inside loops and branches too, and what the graph gives."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _names_used(body)
