"""What a back end tells of its layers when it was loaded with the option `layers`: when each ran, and on what.

Times are of an engine's own profiler, which slows the engine down: they are shares of a run, not its latency.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ...devices.errors import BadArtefact
from ..manifest import DTYPE_BYTES

Shape = tuple[int, ...]

_BYTES = {**DTYPE_BYTES, "float": 4, "double": 8}
"""Of a value, by ONNX Runtime's names of types, which are numpy's but for these two."""

OUTER = ("If", "Loop", "Scan")
"""ONNX Runtime's nodes with graphs in them: their time contains that of the nodes inside, which it reports too."""


@dataclass(frozen=True, slots=True)
class Span:
    """Microseconds: when it began, by a clock of the engine's own, and how long it took."""

    begin_us: float
    duration_us: float

    @property
    def end_us(self) -> float:
        return self.begin_us + self.duration_us


@dataclass(frozen=True, slots=True)
class LayerEvent:
    """A layer that ran once. `key` tells layers of one name apart.

    `inputs` and `outputs` are shapes as they were then, those of stored tensors too where the engine kept them as they
    were. `activation_bytes` are what was read and written of tensors that are computed, None where it is not known,
    and `stored_bytes` what was read of those that are stored. `made_of` may name the nodes where `name` does not.
    `inner_us` is how much of its time other layers took, which ran inside it. `output_bytes` has the size of each
    output, and nothing where the engine does not tell that of all.
    """

    key: str
    name: str
    operator: str
    span: Span
    inputs: tuple[Shape, ...] = ()
    outputs: tuple[Shape, ...] = ()
    activation_bytes: int | None = None
    stored_bytes: int = 0
    made_of: str = ""
    inner_us: float = 0.0
    output_bytes: tuple[int, ...] = ()

    @property
    def own_us(self) -> float:
        """Its time without that of the layers inside it."""
        return max(0.0, self.span.duration_us - self.inner_us)


@dataclass(frozen=True, slots=True)
class EngineRun:
    """One run of the network, and its layers in the order in which they ran."""

    span: Span
    layers: tuple[LayerEvent, ...]


@runtime_checkable
class HasLayers(Protocol):
    """A session whose engine has a profiler, which the option `layers` turns on. `layer_profiler` is its name."""

    layer_profiler: str

    def layer_runs(self) -> tuple[EngineRun, ...]:
        """All runs since it was loaded, in order; asked once, after the last run."""
        ...


def read_onnxruntime(file: Path) -> tuple[EngineRun, ...]:
    """The runs in the JSON that ONNX Runtime's profiler wrote. Raises BadArtefact where it is not that."""
    try:
        events = json.loads(file.read_text(encoding="utf-8", errors="replace"))
        spans = [_span(e) for e in events if e["cat"] == "Session" and e["name"] == "model_run"]
        nodes = [_layer(e) for e in events if e["cat"] == "Node" and e["name"].endswith("_kernel_time")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadArtefact(
            f"ONNX Runtime's profile {file} cannot be read ({type(error).__name__}: {error}); expected its list of "
            "events; is the disk full?"
        ) from error
    nodes = _nested(nodes)
    begins = [one.span.begin_us for one in nodes]
    return tuple(
        EngineRun(span, tuple(nodes[bisect_left(begins, span.begin_us) : bisect_left(begins, span.end_us)]))
        for span in sorted(spans, key=lambda one: one.begin_us)
    )


def _nested(events: Sequence[LayerEvent]) -> list[LayerEvent]:
    """In the order in which they began, each outer one with what ran directly inside it."""
    ordered = sorted(events, key=lambda e: (e.span.begin_us, -e.span.duration_us if e.operator in OUTER else 0.0))
    inner_us = [0.0] * len(ordered)
    around: list[int] = []
    for at, event in enumerate(ordered):
        while around and ordered[around[-1]].span.end_us <= event.span.begin_us:
            around.pop()
        if around:
            inner_us[around[-1]] += event.span.duration_us
        if event.operator in OUTER:
            around.append(at)
    return [replace(event, inner_us=us) if us else event for event, us in zip(ordered, inner_us, strict=True)]


def _span(event: Mapping[str, Any]) -> Span:
    return Span(float(event["ts"]), float(event["dur"]))


def _layer(event: Mapping[str, Any]) -> LayerEvent:
    said = event["args"]
    name = event["name"].removesuffix("_kernel_time")
    return LayerEvent(
        key=f"{said['node_index']} {name}",
        name=name,
        operator=said["op_name"],
        span=_span(event),
        inputs=_shapes(said["input_type_shape"]),
        outputs=_shapes(said["output_type_shape"]),
        activation_bytes=int(said["activation_size"]) + int(said["output_size"]),
        stored_bytes=int(said["parameter_size"]),
        output_bytes=_sizes(said["output_type_shape"]),
    )


def _shapes(said: Any) -> tuple[Shape, ...]:
    """Shapes of `[{"float": [1, 3]}, ...]`."""
    return tuple(tuple(shape) for one in said for shape in one.values())


def _sizes(said: Any) -> tuple[int, ...]:
    """Bytes of the same; none of them where the size of one's type is not known, as of bfloat16 or a string."""
    typed = [(kind, shape) for one in said for kind, shape in one.items()]
    known = all(kind in _BYTES for kind, _ in typed)
    return tuple(prod(shape) * _BYTES[kind] for kind, shape in typed) if known else ()
