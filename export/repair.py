"""`--repair`: the fewest layers that must stay in fp32 for a lower precision to pass its gates, worst ones first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle import TensorSpec
from ..runtime.parity import Run, plain_onnx_run
from .inputs import Feeds
from .lowering import Lower

RANK_COUNT = 8
"""Inputs on which a layer's own error is measured."""


def rank(
    lower: Lower, reference: Run, outputs: Sequence[TensorSpec], feeds: Sequence[Feeds], work: Path
) -> dict[str, float]:
    """The layers of `lower` by name and their errors, the largest first.

    A layer's error is that of the outputs when it alone is in the lower precision: the root mean square of the
    differences over that of the values, added up over the outputs. One that gives a value that is not finite is first.
    """
    feeds = feeds[:RANK_COUNT]
    expected = [reference(feed) for feed in feeds]
    errors = {}
    for name in lower.layers:
        model = lower(lower.layers.keys() - {name})
        file = work / "alone.onnx"
        file.write_bytes(lower.faithful(model).SerializeToString())
        run = plain_onnx_run(file, outputs)
        actual = [run(feed) for feed in feeds]
        errors[name] = sum(_error(expected, actual, spec.name) for spec in outputs)
    return dict(sorted(errors.items(), key=lambda item: -item[1]))


def most_kept(weighted: Collection[str], ranked: Sequence[str]) -> int:
    """How many of the ranked layers may stay in fp32 so that one of the `weighted` ones does not."""
    return max((at for at, name in enumerate(ranked) if name in weighted), default=0)


def fewest(passes: Callable[[int], bool], most: int) -> int | None:
    """The least k in 1..`most` that passes, when 0 does not and more never does worse; None when none does.

    k is doubled until it passes, then the gap is halved: about 2 log2(k) trials.
    """
    low, high = 0, 1
    while high <= most and not passes(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    if high > most:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def _error(
    expected: Sequence[Mapping[str, NDArray[Any]]], actual: Sequence[Mapping[str, NDArray[Any]]], name: str
) -> float:
    right, found = (np.stack([one[name] for one in runs]).astype(np.float64) for runs in (expected, actual))
    if not np.isfinite(found).all():
        return np.inf
    size = float(np.linalg.norm(right))
    return float(np.linalg.norm(found - right)) / size if size else 0.0
