"""ONNX as NVIDIA's engines read it: a picture of bytes is cast before anything else, and sizes may be written in.

TensorRT (8.5 and later) and TensorRT-RTX take uint8 as an input, and only a cast of it: not even a transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..devices.errors import BadArtefact, need
from ..runtime.bundle import TensorSpec

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Split", "Gather"})
"""Operators that hand bytes on as they are, so that they give the same floats when the cast comes first."""


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
