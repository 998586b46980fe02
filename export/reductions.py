"""Reductions as pnnx reads them: it takes their axes from an attribute only, and drops those of an input unsaid.

ONNX has them as an input since operator set 18, those of sums since 13.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableSequence
from math import prod
from typing import TYPE_CHECKING, Any

from ..devices.errors import BadArtefact, need
from .older import WITH_AXES, to_opset

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

SUM = "ReduceSum"
IN_STEPS = {"ReduceMax", "ReduceMin"}
"""Of these pnnx takes one axis at a time."""


def for_pnnx(model: ModelProto) -> ModelProto:
    """`model` without axes that are inputs; as it is where the older operator set lacks an operator of it."""
    onnx = need("onnx", "train")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.input, *inferred.value_info)
    }
    axes = {t.name: onnx.numpy_helper.to_array(t).tolist() for t in model.graph.initializer if t.data_type == 7}
    made = type(model)()
    made.CopyFrom(model)
    del made.graph.node[:]
    stored = made.graph.initializer
    for node in model.graph.node:
        over = axes.get(node.input[1]) if node.op_type in (SUM, *IN_STEPS) and len(node.input) == 2 else None
        shape = shapes.get(node.input[0], []) if node.input else []
        if over and shape:
            made.graph.node.extend(_split(node, [axis % len(shape) for axis in over], shape, stored))
        else:
            made.graph.node.append(node)
    try:
        return to_opset(made, WITH_AXES - 1)
    except BadArtefact:
        return made


def _split(node: NodeProto, axes: list[int], shape: list[int], stored: MutableSequence[Any]) -> Iterator[NodeProto]:
    """The nodes that say the same; the constants that they need are `stored`."""
    helper = need("onnx", "train").helper
    keep = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
    (source, _), (result,) = node.input, node.output
    if node.op_type == SUM:
        stored.append(helper.make_tensor(f"{result}_count", 1, [], [prod(shape[axis] for axis in axes)]))
        yield helper.make_node("ReduceMean", node.input, [f"{result}_mean"], f"{node.name}_mean", keepdims=keep)
        yield helper.make_node("Mul", [f"{result}_mean", f"{result}_count"], [result], node.name)
    elif len(axes) > 1:
        for axis in sorted(axes, reverse=True):  # from the last one, so that those before it keep their numbers
            last = axis == min(axes)
            made, given = result if last else f"{result}_{axis}", f"{result}_axis_{axis}"
            stored.append(helper.make_tensor(given, 7, [1], [axis]))
            yield helper.make_node(node.op_type, [source, given], [made], node.name if last else made, keepdims=keep)
            source = made
    else:
        yield node
