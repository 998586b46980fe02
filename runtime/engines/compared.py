"""An engine beside ONNX Runtime of the file that it was built from, on real frames, by the gate of export.

On a board without ONNX Runtime an engine is kept without it, and its record and a warning say so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...devices.errors import BadArtefact, GateFailed, MissingExtra, need
from ..backends import Feeds
from ..bundle import Bundle
from ..parity import Tolerance, check_parity, plain_onnx_run, tolerance
from .engine import Engine
from .source import NetworkFile, asked_precision

log = logging.getLogger(__name__)

NOISES = 8
"""Inputs to compare a network on that has no task and so no frames."""

FP32_SCALE = 1e-3
"""Of its output's largest value, what an engine in fp32 may be off beside export's own tolerance: its kernels sum in
another order, and some transform what they convolve (Winograd). 3e-5 was seen, of 8.5.3 on an H200."""


def compare(bundle: Bundle, file: NetworkFile, opened: Callable[[], Engine]) -> Mapping[str, Any]:
    """The record of a comparison of an engine, which was built from `file`, on frames of the clip that ships.

    A network without a task gets noise. Raises GateFailed when an output is off by more than the precision may lose.
    """
    try:
        version = need("onnxruntime", "cpu").__version__
        feeds, origin = _feeds(bundle)
        reference = plain_onnx_run(file.data, bundle.manifest.outputs, file.name)
    except (MissingExtra, BadArtefact) as error:  # an older ONNX Runtime may not know the file's format
        log.warning("the engine of %s was not compared with ONNX Runtime: %s", bundle.manifest.name, error)
        return {"n": 0, "why": str(error)}
    limit = _allowed(asked_precision(bundle, file))
    try:
        with opened() as engine:
            found = check_parity(reference, engine.run, feeds, limit, "the engine")
    except GateFailed as error:
        raise GateFailed(f"the engine does not compute what {file.name} says: {error}") from error
    return {
        "reference": f"ONNX Runtime {version} of {file.name}, its optimisations off",
        "inputs": origin,
        "inputs_are_real": bool(bundle.manifest.task),
        "allowed": limit.to_json(),
        **found.to_json(),
    }


def _allowed(precision: str) -> Tolerance:
    usual = tolerance(precision)
    return usual if usual.scale else replace(usual, scale=FP32_SCALE)


def _feeds(bundle: Bundle) -> tuple[Sequence[Feeds], str]:
    """What to compare on, and where it is from."""
    from ..profiler.measure import ProfileOptions, network_feeds, random_feeds  # it loads back ends, which load this

    if not bundle.manifest.task:
        return [random_feeds(bundle.manifest.inputs, seed) for seed in range(NOISES)], "random, not real"
    return network_feeds(bundle, ProfileOptions())
