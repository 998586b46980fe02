"""A timeline in Chrome's trace format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

The format is that of "Trace Event Format" (Google, 2016): complete events (`ph` X) with microseconds; what lies within
another on the same thread is drawn below it. So a layer is below its run of the engine, and that below its stage.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..backends.layer_times import Span
from .layer_profile import Layer
from .layers import Timeline


def write_trace(path: Path, timelines: Sequence[Timeline]) -> None:
    """Write `timelines` to `path`, each as a process of its own."""
    events = [event for pid, one in enumerate(timelines, 1) for event in _events(one, pid)]
    path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}) + "\n")


def _events(timeline: Timeline, pid: int) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": timeline.bundle}}
    yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": 1, "args": {"name": "stages and layers"}}
    for number, (stages, run) in enumerate(zip(timeline.stages, timeline.runs, strict=True)):
        for name, span in stages.items():
            yield _event(pid, name, "stage", span, {"query": number})
        yield _event(pid, "engine", "engine", run.span, {"query": number})
        for event in run.layers:
            layer = timeline.layers[event.key]
            yield _event(pid, layer.module or layer.name, "layer", event.span, dict(_arguments(layer)))


def _arguments(layer: Layer) -> Iterable[tuple[str, Any]]:
    yield "layer", layer.name
    yield "operator", layer.operator
    for name in ("module", "operations", "moved_bytes"):
        value = getattr(layer, name)
        yield name, "not available" if value is None else value


def _event(pid: int, name: str, category: str, span: Span, arguments: dict[str, Any]) -> dict[str, Any]:
    times = {"ts": round(span.begin_us, 3), "dur": round(span.duration_us, 3)}
    return {"ph": "X", "pid": pid, "tid": 1, "name": name, "cat": category, **times, "args": arguments}
