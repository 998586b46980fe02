"""trtexec's `--exportTimes` and `--exportProfile`: a list of queries, and a list of layers behind their count.

The keys are those of its exportJSONTrace and exportJSONProfile (samples/common/sampleReporting.cpp of NVIDIA/TensorRT):
of TensorRT 8 and later `h2dMs` and `d2hMs`, of 7 and before `inMs` and `outMs`; newer ones have a layer's `medianMs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from ..layer_profile import Layer, LayerProfile
from ..rates import Rates
from .foreign import Content, Foreign, nanoseconds

WARM_UP_MS = 200.0
"""trtexec's own default; the file has the warm-up's queries too, and does not say how long it was."""
_NO_RATES = Rates(None, None, "not available: the file does not tell the device")


def has_times(content: Content) -> bool:
    """Whether it is a list of queries."""
    return _first_has(content.data, "latencyMs")


def read_times(content: Content) -> list[Foreign]:
    """The latency of each query: copy in, computation and copy out, as trtexec counts it."""
    queries = content.data
    run = [one for one in queries if one["startComputeMs"] >= WARM_UP_MS]
    if not run:
        raise ValueError(f"its {len(queries)} queries all began within the first {WARM_UP_MS:g} ms, the warm-up")
    parts = [("copy in", ("h2dMs", "inMs")), ("computation", ("computeMs",)), ("copy out", ("d2hMs", "outMs"))]
    medians = [f"{what} {middle:.3f}" for what, keys in parts if (middle := _median(run, keys)) is not None]
    facts = [("medians", f"{', '.join(medians)} ms")] if medians else []
    facts.append(("warm-up", f"{len(queries) - len(run)} queries in the first {WARM_UP_MS:g} ms, left out"))
    samples = nanoseconds([one["latencyMs"] for one in run])
    found = Foreign(program="trtexec --exportTimes", name=content.name, engine="TensorRT", samples_ns=samples)
    return [replace(found, facts=tuple(facts))]


def has_layers(content: Content) -> bool:
    """Whether it is a count of runs and layers behind it."""
    data = content.data
    return _first_has(data, "count") and len(data) > 1 and isinstance(data[1], dict) and "averageMs" in data[1]


def read_layers(content: Content) -> list[Foreign]:
    """The time of each layer: the median of its runs, or the mean where an older trtexec wrote no other."""
    count, layers = int(content.data[0]["count"]), content.data[1:]
    old = any("medianMs" not in one for one in layers)
    times = tuple(Layer(str(one["name"]), None, "", _ms(one, old), None, None) for one in layers)
    nanoseconds([layer.ms for layer in times])
    profiled = LayerProfile("trtexec", count, sum(layer.ms for layer in times), _NO_RATES, times)
    said = f"{len(times)} of {count} runs, {'means' if old else 'medians'}, {profiled.layers_ms:.3f} ms together"
    found = Foreign(program="trtexec --exportProfile", name=content.name, stage="", layers=profiled)
    return [replace(found, engine="TensorRT", facts=(("layers", said),))]


def _first_has(data: Any, key: str) -> bool:
    return isinstance(data, list) and bool(data) and isinstance(data[0], dict) and key in data[0]


def _ms(layer: Mapping[str, Any], old: bool) -> float:
    return float(layer["averageMs" if old else "medianMs"])


def _median(queries: Sequence[Mapping[str, Any]], keys: tuple[str, ...]) -> float | None:
    key = next((key for key in keys if key in queries[0]), None)
    return None if key is None else median(float(one[key]) for one in queries)
