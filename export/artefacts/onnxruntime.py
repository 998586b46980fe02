"""ONNX Runtime runs the bundle's `model.onnx` itself: nothing is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Order


def make(order: Order) -> Mapping[str, Any]:
    """What to run there. How far the file is from its source is in `parity["cpu"]`, which is this kind of machine."""
    found = order.draft.manifest.parity["cpu"]
    return {"precision": found["precision"], "run": "helmsight camera NAME.bundle --device cpu"}
