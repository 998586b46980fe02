"""TensorRT builds its engine on the machine that runs it; what is made here is the ONNX file that it reads there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...devices.errors import DeviceMismatch, need
from ...runtime.bundle import sha256
from ...runtime.engines.source import MODEL
from ...runtime.parity import plain_onnx_run
from ..nvidia import cast_first, for_tensorrt
from ..precision import read_precision
from ..to_onnx import read_opset
from . import Order, same_network


def make(order: Order) -> Mapping[str, Any]:
    """Write the file, sizes left open as they are, and compare it with the bundle's.

    Raises DeviceMismatch where its opset is newer than the board's TensorRT reads, BadArtefact with the node's name for
    one that computes with bytes.
    """
    plan = order.target.row.plan
    model = for_tensorrt(cast_first(need("onnx", "train").load(order.draft.model)))
    opset = read_opset(model)
    if opset > plan.opset:
        raise DeviceMismatch(
            f"the file has ONNX opset {opset}, {plan.engine} there reads up to {plan.opset}; export with --opset 18"
        )
    file = order.folder / MODEL
    file.write_bytes(model.SerializeToString(deterministic=True))
    compared = same_network(order, plain_onnx_run(file, order.draft.manifest.outputs))
    found = read_precision(model)
    return {
        "precision": found.name,
        "real": found.to_json(),
        "read_back": "from the ONNX file; `helmsight build` reads it back from the engine",
        **compared,
        "opset": opset,
        "sha256": sha256(file),
        "run": "helmsight build NAME.bundle && helmsight camera NAME.bundle --device tensorrt",
    }
