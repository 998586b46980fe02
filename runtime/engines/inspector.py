"""What an engine really computes in, by the JSON of TensorRT's engine inspector; what it does not say is unknown."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

_TYPES = (
    ("int8", re.compile(r"\bint8\b", re.IGNORECASE)),
    ("fp8", re.compile(r"\bfp8\b|\bfloat8", re.IGNORECASE)),
    ("bf16", re.compile(r"\bbf16\b|\bbfloat16\b", re.IGNORECASE)),
    ("fp16", re.compile(r"\bfp16\b|\bhalf\b|\bfloat16\b", re.IGNORECASE)),
    ("fp32", re.compile(r"\bfp32\b|\bfloat\b|\bfloat32\b", re.IGNORECASE)),
)
_WEIGHTED = re.compile(r"conv|gemm|matmul|matrix.?multiply|fully.?connected", re.IGNORECASE)
_OPAQUE = re.compile(r"myelin|foreignnode|kgen", re.IGNORECASE)


def read_layers(text: str) -> dict[str, int]:
    """How many convolutions and matrix products the engine has in which type.

    A type is that of a layer's weights, or else of its first input: 8.5 says `Row major linear FP32`, 10 says `Half`.
    Layers that TensorRT compiled into one block, whose products it does not list, count by their inputs when their name
    says that they hold some. Raises ValueError for what is no such JSON.
    """
    found: Counter[str] = Counter()
    layers = json.loads(text)["Layers"]
    for layer in layers:
        if isinstance(layer, Mapping) and _holds_products(layer):
            found[_type(layer)] += 1
    return dict(found)


def _holds_products(layer: Mapping[str, Any]) -> bool:
    kind = f"{layer.get('ParameterType', '')} {layer.get('LayerType', '')}"
    if _WEIGHTED.search(kind):
        return True
    return bool(_OPAQUE.search(kind) and _WEIGHTED.search(f"{layer.get('Name', '')} {layer.get('Metadata', '')}"))


def _type(layer: Mapping[str, Any]) -> str:
    weights = layer.get("Weights")
    said = [str(weights.get("Type", ""))] if isinstance(weights, Mapping) else []
    said += [str(one.get("Format/Datatype", "")) for one in layer.get("Inputs", []) if isinstance(one, Mapping)]
    return next((kind for text in said if (kind := type_of(text)) != "unknown"), "unknown")


def type_of(text: str) -> str:
    """The type that a format or a type of the inspector's names, else `unknown`."""
    return next((name for name, pattern in _TYPES if pattern.search(text)), "unknown")
