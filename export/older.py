"""An ONNX model in an older operator set, for engines that stopped there: what changed is undone node by node.

A node may go when its operator is in the older set, each attribute that came later has the value that it means when it
is absent, and every input that came later can be said otherwise. ONNX's own checker has the last word, and whoever
calls this compares the outputs: onnx.version_converter is not used because it lacks the steps below 18 for Split, and
below 14 for additions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import BadArtefact, need
from .loading import first_line
from .to_onnx import read_opset

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Constants = Mapping[str, NDArray[Any]]
IR_VERSION = {13: 7, 17: 8}
"""Of the ONNX release that brought the operator set, so that a parser of that time knows the file's format."""
WITH_AXES = 18
"""The operator set in which the axes of a reduction became an input (ReduceSum's did with 13)."""
REDUCTIONS = tuple(
    f"Reduce{kind}" for kind in ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"]
)
"""Those that had them as an attribute until then."""


def to_opset(model: ModelProto, opset: int) -> ModelProto:
    """`model`, whose sizes are fixed, in operator set `opset`.

    Raises BadArtefact with the name of the first node that cannot be written in it.
    """
    onnx = need("onnx", "train")
    made = fold_sizes(model)
    if read_opset(made) <= opset:
        return made
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
    nodes = [part for node in made.graph.node for part in _older(node, opset, constants)]
    del made.graph.node[:], made.graph.value_info[:]
    made.graph.node.extend(nodes)
    for one in made.opset_import:
        if one.domain in ("", "ai.onnx"):
            one.version = opset
    made.ir_version = min(made.ir_version, IR_VERSION[opset])
    _check(made, opset)
    return made


def fold_sizes(model: ModelProto) -> ModelProto:
    """`model` with what it computes from the fixed sizes of its tensors put in as constants."""
    onnx = need("onnx", "train")
    made = type(model)()
    made.CopyFrom(model)
    while folded := _fold_once(made, onnx):
        made.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in folded.items())
        kept = [node for node in made.graph.node if node.output[0] not in folded]
        del made.graph.node[:], made.graph.value_info[:]
        made.graph.node.extend(kept)
    used = {name for node in made.graph.node for name in node.input} | {v.name for v in made.graph.output}
    stored = [tensor for tensor in made.graph.initializer if tensor.name in used]
    del made.graph.initializer[:]
    made.graph.initializer.extend(stored)
    return made


def spell_out_norms(model: ModelProto) -> ModelProto:
    """`model` with its layer normalisations over the last axes as means and products, for parsers without them."""
    made = type(model)()
    made.CopyFrom(model)
    del made.graph.node[:]
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        axis = next((a.i for a in node.attribute if a.name == "axis"), -1)
        kind = types.get(node.input[1]) if node.op_type == "LayerNormalization" and axis < 0 else None
        made.graph.node.extend([node] if kind is None else _norm(node, list(range(axis, 0)), made, kind))
    return made


def _norm(node: NodeProto, axes: list[int], model: ModelProto, kind: int) -> list[NodeProto]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over `axes`, as ONNX defines LayerNormalization."""
    helper = need("onnx", "train").helper
    x, y = node.input[0], node.output[0]
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    stored = [helper.make_tensor(f"{y}_epsilon", kind, [], [epsilon])]
    over: list[str] = []
    if read_opset(model) >= WITH_AXES:
        over = [f"{y}_axes"]
        stored.append(helper.make_tensor(over[0], 7, [len(axes)], axes))
    model.graph.initializer.extend(stored)
    steps = [
        ("ReduceMean", [x, *over], "mean"),
        ("Sub", [x, f"{y}_mean"], "centred"),
        ("Mul", [f"{y}_centred", f"{y}_centred"], "squared"),
        ("ReduceMean", [f"{y}_squared", *over], "variance"),
        ("Add", [f"{y}_variance", f"{y}_epsilon"], "shifted"),
        ("Sqrt", [f"{y}_shifted"], "deviation"),
        ("Div", [f"{y}_centred", f"{y}_deviation"], "normal"),
        ("Mul", [f"{y}_normal", node.input[1]], "scaled"),
        *([("Add", [f"{y}_scaled", node.input[2]], "biased")] if len(node.input) > 2 else []),
    ]
    nodes = [helper.make_node(op, given, [f"{y}_{name}"], f"{node.name}_{name}") for op, given, name in steps]
    for mean in (nodes[0], nodes[3]):
        if not over:
            mean.attribute.append(helper.make_attribute("axes", axes))
    nodes[-1].output[0] = y
    return nodes


def _fold_once(model: ModelProto, onnx: Any) -> dict[str, NDArray[Any]]:
    """Values of the nodes that only need constants or known shapes: integers of a few elements, as sizes are."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {}
    for value in (*inferred.input, *inferred.value_info):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            shapes[value.name] = [d.dim_value for d in tensor.shape.dim]
    values = {t.name: onnx.numpy_helper.to_array(t) for t in inferred.initializer if np.prod(t.dims) <= 64}
    found = {}
    for node in inferred.node:
        if len(node.output) != 1 or any(a.HasField("g") for a in node.attribute):
            continue
        if node.op_type == "Shape" and node.input[0] in shapes:
            span = {a.name: a.i for a in node.attribute}
            value = np.array(shapes[node.input[0]][span.get("start", 0) : span.get("end")], np.int64)
        elif node.op_type != "Constant" and all(name in values or not name for name in node.input):
            value = _compute(node, values, onnx, read_opset(model))
        else:
            continue
        if value.dtype.kind in "ib" and value.dtype.itemsize > 1 and value.size <= 64:
            values[node.output[0]] = found[node.output[0]] = value
    return {name: value for name, value in found.items() if name not in {v.name for v in model.graph.output}}


def _compute(node: NodeProto, values: Constants, onnx: Any, opset: int) -> NDArray[Any]:
    """What one node gives, by ONNX's reference implementation."""
    from onnx.reference import ReferenceEvaluator

    helper = onnx.helper
    fed = [name for name in node.input if name]
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(values[n].dtype), values[n].shape) for n in fed
    ]
    graph = helper.make_graph([node], "one", inputs, [onnx.ValueInfoProto(name=node.output[0])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    (made,) = ReferenceEvaluator(model).run(None, {name: values[name] for name in fed})
    return np.asarray(made)


def _older(node: NodeProto, opset: int, constants: Constants) -> Iterable[NodeProto]:
    """The nodes that say in `opset` what `node` says."""
    if node.domain not in ("", "ai.onnx"):
        return [node]
    if rule := RULES.get(node.op_type):
        replaced = rule(node, opset, constants)
        if replaced is not None:
            return replaced
    defs = need("onnx", "train").defs
    try:
        known = defs.get_schema(node.op_type, opset).attributes
    except defs.SchemaError:
        raise _cannot(node, opset, "the operator came later") from None
    now = defs.get_schema(node.op_type).attributes
    helper = need("onnx", "train").helper
    for attribute in [a for a in node.attribute if a.name not in known]:
        default = now[attribute.name].default_value if attribute.name in now else None
        value = helper.get_attribute_value(attribute)
        if default is None or not default.name or helper.get_attribute_value(default) != value:
            raise _cannot(node, opset, f"its {attribute.name} of {value!r} came later")
        node.attribute.remove(attribute)
    return [node]


def _reduction(node: NodeProto, opset: int, constants: Constants) -> None:
    """Axes from an input to an attribute."""
    if opset >= WITH_AXES or len(node.input) < 2 or not node.input[1]:
        return
    if node.input[1] not in constants:
        raise _cannot(node, opset, "its axes are computed")
    axes = [int(axis) for axis in constants[node.input[1]]]
    del node.input[1:]
    node.attribute.append(need("onnx", "train").helper.make_attribute("axes", axes))


def _reshape(node: NodeProto, opset: int, constants: Constants) -> None:
    """`allowzero` says nothing where the shape has no 0."""
    shape = constants.get(node.input[1])
    if opset < 14 and shape is not None and 0 not in shape:
        _drop(node, "allowzero")


def _split(node: NodeProto, opset: int, constants: Constants) -> None:
    """Before 18 the number of parts is that of the outputs, and parts are equal: the outputs' comparison sees to it."""
    if opset < 18:
        _drop(node, "num_outputs")


def _hard_swish(node: NodeProto, opset: int, constants: Constants) -> list[NodeProto] | None:
    """x * max(0, min(1, x / 6 + 1 / 2)), before 14 without a name of its own."""
    if opset >= 14:
        return None
    helper, x, y = need("onnx", "train").helper, node.input[0], node.output[0]
    gate = helper.make_node("HardSigmoid", [x], [f"{y}_gate"], f"{node.name}_gate", alpha=1 / 6, beta=0.5)
    return [gate, helper.make_node("Mul", [x, f"{y}_gate"], [y], node.name)]


def _drop(node: NodeProto, name: str) -> None:
    for attribute in [a for a in node.attribute if a.name == name]:
        node.attribute.remove(attribute)


Rule = Callable[["NodeProto", int, Constants], "list[NodeProto] | None"]
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(REDUCTIONS, _reduction),
    "Reshape": _reshape,
    "Split": _split,
    "HardSwish": _hard_swish,
}
"""What some operators need before their attributes are looked at."""


def _check(model: ModelProto, opset: int) -> None:
    """ONNX's checker, node by node first, so that the message has a name."""
    onnx = need("onnx", "train")
    context = onnx.checker.C.CheckerContext()
    context.ir_version = model.ir_version
    context.opset_imports = {one.domain: one.version for one in model.opset_import}
    for node in model.graph.node:
        try:
            onnx.checker.check_node(node, context)
        except onnx.checker.ValidationError as error:
            raise _cannot(node, opset, first_line(error)) from error
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker and shape inference share no class
        raise BadArtefact(f"the network cannot be written in ONNX opset {opset} ({first_line(error)})") from error


def _cannot(node: NodeProto, opset: int, why: str) -> BadArtefact:
    return BadArtefact(
        f"node {node.name or node.output[0]!r} ({node.op_type}) cannot be written in ONNX opset {opset}: {why}; "
        "write it with other operators, or choose a target that reads a newer one"
    )
