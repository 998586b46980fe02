"""A timeline in Chrome's trace format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

The format is that of "Trace Event Format" (Google, 2016): complete events (`ph` X) with microseconds; what lies within
another on the same thread is drawn below it. So a layer is below its run of the engine, and that below its stage.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..backends.layer_times import Span
from ..json_form import NUMBER, OBJECT, Fields, Rows, check_form
from ..strict_json import parse_json
from .layer_profile import Layer
from .layers import Timeline

Process = Sequence[Mapping[str, Any]]
"""The events of one process: a bundle on a device."""

_FORM = Fields(
    {"traceEvents": Rows(Fields({"ph": str, "name": str, "args": OBJECT}, {"ts": NUMBER, "dur": NUMBER, "tid": int}))}
)


def write_trace(path: Path, processes: Sequence[Process]) -> None:
    """Write `processes` to `path`, numbered from 1."""
    events = [{**event, "pid": pid} for pid, one in enumerate(processes, 1) for event in one]
    path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}) + "\n")


def read_trace(content: bytes, name: str, most: int) -> Process:
    """The one process that `write_trace` wrote elsewhere, at most `most` bytes of it, called `name`.

    Raises BadArtefact for what is no JSON, ValueError for another form.
    """
    said = parse_json(content, "it", most)
    check_form(said, _FORM, "it")
    return [_called(name), *(event for event in said["traceEvents"] if event["name"] != "process_name")]


def process_of(timeline: Timeline, name: str) -> Process:
    """The events of a timeline, as a process called `name`."""
    return [_called(name), *_events(timeline)]


def _called(name: str) -> dict[str, Any]:
    return {"ph": "M", "name": "process_name", "args": {"name": name}}


def _events(timeline: Timeline) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "name": "thread_name", "tid": 1, "args": {"name": "stages and layers"}}
    for number, (stages, run) in enumerate(zip(timeline.stages, timeline.runs, strict=True)):
        for name, span in stages.items():
            yield _event(name, "stage", span, {"query": number})
        yield _event("engine", "engine", run.span, {"query": number})
        for event in run.layers:
            layer = timeline.layers[event.key]
            yield _event(layer.module or layer.name, "layer", event.span, dict(_arguments(layer)))


def _arguments(layer: Layer) -> Iterable[tuple[str, Any]]:
    yield "layer", layer.name
    yield "operator", layer.operator
    for name in ("module", "operations", "moved_bytes"):
        value = getattr(layer, name)
        yield name, "not available" if value is None else value


def _event(name: str, category: str, span: Span, arguments: dict[str, Any]) -> dict[str, Any]:
    times = {"ts": round(span.begin_us, 3), "dur": round(span.duration_us, 3)}
    return {"ph": "X", "tid": 1, "name": name, "cat": category, **times, "args": arguments}
