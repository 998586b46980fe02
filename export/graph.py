"""Counts an ONNX graph's work from its shapes, so that a board without onnx can read it in the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from ..devices.errors import need
from ..runtime.onnx_nodes import WEIGHTED, macs
from .to_onnx import read_opset

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class GraphSummary:
    """The size of a network.

    `parameters` counts the stored floating-point and 8-bit values. `macs` counts the multiply-accumulates of
    convolutions and matrix products for one run, or is None when a shape is not known. `weight_bytes` and
    `activation_bytes` (every intermediate tensor and output written once) are the least that memory must move.
    `peak_bytes` is the most that inputs, intermediate tensors and outputs take at one time, when nodes run in the
    file's order and a tensor is freed after its last use. `operators` counts the nodes by type, `depthwise` those
    convolutions that have a group for each channel. `dense`: an output has an answer for each of many places.
    """

    parameters: int
    macs: int | None
    weight_bytes: int
    activation_bytes: int | None
    nodes: int
    opset: int
    operators: dict[str, int]
    peak_bytes: int | None = None
    depthwise: int = 0
    dense: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def summarise(model: ModelProto) -> GraphSummary:
    """Count the main graph of `model`; bodies of loops and branches have no fixed work, so `macs` is None with them."""
    onnx = need("onnx", "train")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    graph = inferred.graph
    itemsize = {t.name: onnx.helper.tensor_dtype_to_np_dtype(t.data_type).itemsize for t in graph.initializer}
    parameters = sum(prod(t.dims) for t in graph.initializer if _is_parameter(t.data_type))
    shapes, sizes = _known_shapes(inferred)
    shapes |= {t.name: tuple(t.dims) for t in graph.initializer}
    written = [name for node in graph.node for name in node.output if name]
    return GraphSummary(
        parameters=parameters,
        macs=_sum([_macs(node, shapes) for node in graph.node]),
        weight_bytes=sum(prod(t.dims) * itemsize[t.name] for t in graph.initializer),
        activation_bytes=_sum([sizes.get(name) for name in written]),
        nodes=len(graph.node),
        opset=read_opset(model),
        operators=dict(sorted(Counter(node.op_type for node in graph.node).items())),
        peak_bytes=_peak(inferred, sizes),
        depthwise=sum(_is_depthwise(node, shapes) for node in graph.node),
        dense=any(len(o.type.tensor_type.shape.dim) > 2 for o in graph.output),
    )


def _is_depthwise(node: NodeProto, shapes: Shapes) -> bool:
    weight = shapes.get(node.input[1]) if node.op_type == "Conv" else None
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    return weight is not None and groups > 1 and weight[1] == 1


def _macs(node: NodeProto, shapes: Shapes) -> int | None:
    """Multiply-accumulates of one node: 0 for what is no product, None when a shape it needs is not known."""
    if any(a.HasField("g") for a in node.attribute):
        return None
    if node.op_type not in WEIGHTED:
        return 0
    first, second, out = shapes.get(node.input[0]), shapes.get(node.input[1]), shapes.get(node.output[0])
    if first is None or second is None or out is None:
        return None
    return macs(node.op_type, first, second, out)


def _peak(model: ModelProto, sizes: Mapping[str, int]) -> int | None:
    """The most bytes that are alive at one time; None when a size is not known."""
    graph = model.graph
    stored = {t.name for t in graph.initializer}
    alive = {value.name for value in graph.input} - stored
    last_use = {name: at for at, node in enumerate(graph.node) for name in node.input}
    last_use |= {value.name: len(graph.node) for value in graph.output}
    if any(name not in sizes for name in (*alive, *(n for node in graph.node for n in node.output if n))):
        return None
    now = most = sum(sizes[name] for name in alive)
    for at, node in enumerate(graph.node):
        made = {name for name in node.output if name}
        alive |= made
        now += sum(sizes[name] for name in made)
        most = max(most, now)
        done = {name for name in {*node.input, *made} & alive if last_use.get(name, -1) <= at}
        alive -= done
        now -= sum(sizes[name] for name in done)
    return most


def _known_shapes(model: ModelProto) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Shape and size in bytes of the tensors whose every dimension is a number."""
    helper = need("onnx", "train").helper
    graph = model.graph
    shapes, sizes = {}, {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            shapes[value.name] = tuple(d.dim_value for d in tensor.shape.dim)
            sizes[value.name] = prod(shapes[value.name]) * helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
    return shapes, sizes


def _is_parameter(data_type: int) -> bool:
    """Integers of 32 and 64 bits are shapes, axes and indices, not what was learnt."""
    kind = need("onnx", "train").TensorProto.DataType.Name(data_type)
    return kind not in ("INT32", "INT64", "BOOL", "STRING")


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [c for c in counts if c is not None]
    return sum(known) if len(known) == len(counts) else None
