"""What precision an ONNX model really computes in, read from the graph itself: what was asked for proves nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..devices.errors import BadArtefact, DeviceMismatch, UsageError, need

if TYPE_CHECKING:
    from onnx import ModelProto

PRECISIONS = ("fp32", "fp16", "int8")

_FLOATS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN"})
_INTEGER = frozenset({"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLSTM"})


@dataclass(frozen=True, slots=True)
class Precision:
    """`name` is fp32, fp16, int8, another single type, or `mixed`.

    `weighted_ops` counts convolutions and matrix products by what they compute in; `initialisers` counts the stored
    values (elements) by dtype.
    """

    name: str
    weighted_ops: dict[str, int]
    initialisers: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return {"weighted_ops": self.weighted_ops, "initialisers": self.initialisers}


def read_precision(model: ModelProto) -> Precision:
    """Read the precision back: one name when all convolutions and matrix products agree, else `mixed`.

    A product whose inputs come from DequantizeLinear counts as int8 (engines fuse the pair). A model without
    products is named after its floating-point values.
    """
    onnx = need("onnx", "train")
    inferred = onnx.shape_inference.infer_shapes(model)
    types = _types(inferred)
    made_by = {name: node.op_type for node in inferred.graph.node for name in node.output}
    products: Counter[str] = Counter()
    for node in inferred.graph.node:
        if node.op_type in _INTEGER:
            products["int8"] += 1
        elif node.op_type in _WEIGHTED:
            fed = [made_by.get(name, "") for name in node.input[:2]]
            int8 = all(kind == "DequantizeLinear" for kind in fed)
            products["int8" if int8 else _short(types.get(node.input[0], "unknown"))] += 1
    stored: Counter[str] = Counter()
    for tensor in inferred.graph.initializer:
        stored[types[tensor.name]] += _elements(tensor.dims)
    names = set(products) or {_short(t) for t in types.values() if t in _FLOATS}
    name = names.pop() if len(names) == 1 else "mixed" if names else "none"
    return Precision(name, dict(products), dict(stored))


def check_wish(precision: str) -> None:
    """Refuse a precision that this version cannot give on the CPU, rather than give another.

    Raises UsageError for an unknown word, DeviceMismatch for fp16 and int8.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision} is unknown; expected one of {', '.join(PRECISIONS)}")
    if precision == "fp16":
        raise DeviceMismatch(
            "--precision fp16 on cpu: ONNX Runtime has no fp16 arithmetic there and would convert back and forth, "
            "slower than fp32; use --precision fp32"
        )
    if precision == "int8":
        raise DeviceMismatch(
            "--precision int8 on cpu: this version does not quantise, and does not write fp32 under that name; "
            "use --precision fp32"
        )


def check_is(found: Precision, wished: str) -> None:
    """Raises BadArtefact when the file is of another precision than was asked for."""
    if found.name != wished:
        counts = ", ".join(f"{n} {kind}" for kind, n in found.weighted_ops.items()) or "no weighted operators"
        raise BadArtefact(
            f"asked for {wished}, the network computes in {found.name} ({counts}); "
            f"convert its weights and inputs to {wished} before exporting"
        )


def _types(model: ModelProto) -> dict[str, str]:
    """The dtype of every tensor of the main graph, by numpy's name."""
    helper = need("onnx", "train").helper

    def name(code: int) -> str:
        return str(helper.tensor_dtype_to_np_dtype(code)) if code else "unknown"

    graph = model.graph
    found = {
        value.name: name(value.type.tensor_type.elem_type)
        for values in (graph.input, graph.output, graph.value_info)
        for value in values
    }
    return found | {tensor.name: name(tensor.data_type) for tensor in graph.initializer}


def _short(dtype: str) -> str:
    return _FLOATS.get(dtype, dtype)


def _elements(dims: Sequence[int]) -> int:
    count = 1
    for size in dims:
        count *= size
    return count
