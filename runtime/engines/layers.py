"""The layers of an engine as it runs: TensorRT's IProfiler for their times, its inspector's JSON for what each one is.

Seen with TensorRT 8.5.3 on an H200 (benchmarks/results/gpu_face_fp16.txt); later versions by their documentation only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

from ..backends.layer_times import EngineRun, LayerEvent, Shape, Span
from .inspector import type_of

_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1}


def make_profiler(trt: Any) -> Any:
    """An IProfiler that keeps (name, ms) of each layer in `times`, in the order in which they ran."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: list[tuple[str, float]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.times.append((layer_name, ms))

    return Profiler()


def runs_of(taken: Sequence[tuple[Span, Sequence[tuple[str, float]]]], text: str) -> tuple[EngineRun, ...]:
    """Runs as `HasLayers` has them, of the span of each and its layers' times, and the inspector's `text`.

    TensorRT tells how long a layer took and not when it began: they stand one after the other, from the run's begin.
    """
    known = {str(one.get("Name", "")): one for one in _layers(text)}
    return tuple(EngineRun(span, tuple(_events(span, times, known))) for span, times in taken)


def _events(
    span: Span, times: Sequence[tuple[str, float]], known: Mapping[str, Mapping[str, Any]]
) -> Iterator[LayerEvent]:
    begin_us = span.begin_us
    for number, (name, ms) in enumerate(times):
        facts = known.get(name, {})
        inputs, outputs = _tensors(facts.get("Inputs")), _tensors(facts.get("Outputs"))
        sizes = [_size(shape, kind) for shape, kind in (*inputs, *outputs)]
        yield LayerEvent(
            key=f"{number} {name}",
            name=name,
            operator=str(facts.get("ParameterType") or facts.get("LayerType", "")),
            span=Span(begin_us, ms * 1e3),
            inputs=tuple(shape for shape, _ in inputs),
            outputs=tuple(shape for shape, _ in outputs),
            activation_bytes=None if not outputs or None in sizes else sum(size or 0 for size in sizes),
            made_of=str(facts.get("Metadata", "")),
        )
        begin_us += ms * 1e3


def _layers(text: str) -> list[Mapping[str, Any]]:
    """Empty where the inspector says something else: then a layer has a name and a time."""
    try:
        return [one for one in json.loads(text)["Layers"] if isinstance(one, Mapping)]
    except (ValueError, KeyError, TypeError):
        return []


def _tensors(said: Any) -> list[tuple[Shape, str]]:
    """Shape and type of each input or output; none where one has no dimensions."""
    tensors = [one for one in said if isinstance(one, Mapping)] if isinstance(said, list) else []
    if any(not isinstance(one.get("Dimensions"), list) for one in tensors):
        return []
    return [(tuple(int(d) for d in one["Dimensions"]), type_of(str(one.get("Format/Datatype", "")))) for one in tensors]


def _size(shape: Shape, kind: str) -> int | None:
    return prod(shape) * _BYTES[kind] if kind in _BYTES else None
