"""TensorRT is built on the machine that it runs on, from the bundle's own `model.onnx`: nothing is made here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...devices.errors import DeviceMismatch
from . import Order


def make(order: Order) -> Mapping[str, Any]:
    """What to run there. Raises DeviceMismatch where the file's opset is newer than the board's TensorRT reads."""
    manifest, plan = order.draft.manifest, order.target.row.plan
    opset = manifest.provenance["graph"]["opset"]
    if opset > plan.opset:
        raise DeviceMismatch(
            f"the file has ONNX opset {opset}, {plan.engine} there reads up to {plan.opset}; use --opset 18"
        )
    return {
        "precision": manifest.parity["cpu"]["precision"],
        "opset": opset,
        "built": False,
        "run": "helmsight build NAME.bundle && helmsight camera NAME.bundle --device tensorrt",
    }
