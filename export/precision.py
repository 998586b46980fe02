"""What precision an ONNX model really computes in, read from the graph itself: what was asked for proves nothing."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..devices.errors import BadArtefact, UsageError, need
from ..runtime.backends import SessionOptions
from ..runtime.backends.onnxruntime import session_settings
from ..runtime.bundle import Bundle

if TYPE_CHECKING:
    from onnx import ModelProto

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""What may be asked for, the most exact first."""

_FLOATS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN"})
"""Operators whose number and type name a network's precision: convolutions and matrix products."""
_FUSED = frozenset({"FusedConv", "NhwcFusedConv", "FusedGemm", "FusedMatMul"})
_INTEGER = frozenset({"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLSTM", "QGemm"})


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
    return _read(model, pairs_are_fused=False)


def read_computed(bundle: Bundle) -> Precision:
    """What ONNX Runtime makes of `bundle` on this machine's CPU, read from the graph that it optimised for it.

    It has few kernels for fp16 there and puts in casts; a product between DequantizeLinear and QuantizeLinear that it
    did not fuse is computed in fp32.
    """
    onnx, ort = need("onnx", "train"), need("onnxruntime", "cpu")
    settings = session_settings(ort, bundle, SessionOptions(threads=1))
    with tempfile.TemporaryDirectory(prefix="helmsight-") as folder:
        settings.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        ort.InferenceSession(bundle.read_model(), settings, providers=["CPUExecutionProvider"])
        model = onnx.load(settings.optimized_model_filepath)
    return _read(model, pairs_are_fused=True)


def check_wish(precision: str) -> None:
    """Raises UsageError for a word that is no precision."""
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision} is unknown; expected one of {', '.join(PRECISIONS)}")


def check_is(found: Precision, wished: str, repaired: bool = False) -> None:
    """Raises BadArtefact when the file is of another precision than was asked for.

    A file that was `repaired` may be `mixed`, as long as a part of it is what was asked for.
    """
    if found.name == wished or (repaired and found.name == "mixed" and found.weighted_ops.get(wished)):
        return
    counts = ", ".join(f"{n} {kind}" for kind, n in found.weighted_ops.items()) or "no weighted operators"
    step = "use --precision fp32"
    if wished == "fp32":
        step = "convert its weights and inputs to fp32 before exporting"
    elif found.name == "mixed" and not repaired:
        step = "--repair leaves in fp32 what the converter cannot take"
    raise BadArtefact(f"asked for {wished}, the network computes in {found.name} ({counts}); {step}")


def tensor_types(model: ModelProto) -> dict[str, str]:
    """The dtype of every tensor of the main graph whose shape inference is done, by numpy's name."""
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


def _read(model: ModelProto, pairs_are_fused: bool) -> Precision:
    inferred = need("onnx", "train").shape_inference.infer_shapes(model)
    types = tensor_types(inferred)
    made_by = {name: node.op_type for node in inferred.graph.node for name in node.output}
    products: Counter[str] = Counter()
    for node in inferred.graph.node:
        if node.op_type in _INTEGER:
            products["int8"] += 1
        elif node.op_type in WEIGHTED | _FUSED:
            fed = [made_by.get(name, "") for name in node.input[:2]]
            int8 = not pairs_are_fused and all(kind == "DequantizeLinear" for kind in fed)
            dtype = next((types[name] for name in node.input[:2] if name in types), "unknown")
            products["int8" if int8 else _short(dtype)] += 1
    stored: Counter[str] = Counter()
    for tensor in inferred.graph.initializer:
        stored[types[tensor.name]] += _elements(tensor.dims)
    names = set(products) or {_short(t) for t in types.values() if t in _FLOATS}
    name = names.pop() if len(names) == 1 else "mixed" if names else "none"
    return Precision(name, dict(products), dict(stored))


def _short(dtype: str) -> str:
    return _FLOATS.get(dtype, dtype)


def _elements(dims: Sequence[int]) -> int:
    count = 1
    for size in dims:
        count *= size
    return count
