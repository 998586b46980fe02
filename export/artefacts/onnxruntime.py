"""ONNX Runtime runs the bundle's `model.onnx` itself: nothing is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import Order


def make(order: Order) -> Mapping[str, Any]:
    """What the gates found of the file, which is what runs."""
    return order.draft.manifest.parity["cpu"]
