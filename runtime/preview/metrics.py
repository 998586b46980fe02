"""Figures of a run in Prometheus' text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from .status import Watched
from .tally import BOUNDS_S, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("opening", "open", "silent", "lost", "frozen", "ended")
SENSORS = {"temperature_c": "temperature_celsius", "power_w": "power_watts", "mhz": "clock_megahertz"}
"""A sensor's kind, and the name of its metric."""


def metrics(watched: Watched) -> str:
    """The whole exposition."""
    return "\n".join(line for part in (_results(watched), _run(watched), _machine(watched)) for line in part) + "\n"


def _results(watched: Watched) -> Iterator[str]:
    tally = watched.tally
    yield from _metric("helmsight_results_total", "counter", "Results that went to the sinks.", {"": tally.results})
    yield from _head("helmsight_frame_age_seconds", "histogram", "From the capture of a frame to the sinks.")
    yield from _histogram("helmsight_frame_age_seconds", "", tally.ages)
    yield from _head("helmsight_stage_seconds", "histogram", "What a stage of a model took.")
    for (model, stage), histogram in tally.stages.items():
        yield from _histogram("helmsight_stage_seconds", _labels(model=model, stage=stage), histogram)
    if tally.newest is not None:
        silent_s = (time.perf_counter_ns() - tally.newest.frame.captured_ns) / 1e9
        text = "How long ago the newest frame with a result was captured."
        yield from _metric("helmsight_newest_frame_age_seconds", "gauge", text, {"": silent_s})


def _run(watched: Watched) -> Iterator[str]:
    running = watched.running
    if running is None:
        return
    meter = running.meter
    left_out = {_labels(model=name): count for name, count in running.overwritten().items()}
    text = "Frames that a model never looked at, or whose result was overtaken, since a newer one came."
    yield from _metric("helmsight_frames_overwritten_total", "counter", text, left_out)
    text = "Frames of a camera that showed nothing new, given to no model."
    yield from _metric("helmsight_frames_repeated_total", "counter", text, {"": meter.repeated})
    yield from _metric("helmsight_stops_total", "counter", "Stops that a robot was told.", {"": meter.stops})
    text = "How often a lost source was opened again."
    yield from _metric("helmsight_source_reopened_total", "counter", text, {"": meter.reopened})
    states = {_labels(source=running.source, state=name): int(meter.source.name == name) for name in STATES}
    yield from _metric("helmsight_source_state", "gauge", "1 for the state that the source is in.", states)
    models = {_labels(model=name, **{k: str(v) for k, v in m.items()}): 1 for name, m in running.models.items()}
    yield from _metric("helmsight_model_info", "gauge", "Where a model runs and in what precision.", models)
    if running.takes is not None:
        state = {"": int(running.takes.state()["on"])}
        yield from _metric("helmsight_recording", "gauge", "1 while a recording to be replayed is on.", state)
        frames, text = {"": running.takes.frames}, "Frames in recordings."
        yield from _metric("helmsight_recorded_frames_total", "counter", text, frames)
        dropped, text = {"": running.takes.dropped}, "Results that a recording lacks."
        yield from _metric("helmsight_recording_dropped_total", "counter", text, dropped)


def _machine(watched: Watched) -> Iterator[str]:
    kinds: dict[str, dict[str, float]] = {}
    for name, value in watched.sensors.newest().items():
        for kind, metric in SENSORS.items():
            if kind in name:
                kinds.setdefault(metric, {})[_labels(sensor=name)] = value
    for metric, samples in sorted(kinds.items()):
        yield from _metric(f"helmsight_{metric}", "gauge", "What the board's sensors say.", samples)
    used = resource.getrusage(resource.RUSAGE_SELF)
    text = "CPU time of this process, user and system."
    yield from _metric("process_cpu_seconds_total", "counter", text, {"": used.ru_utime + used.ru_stime})
    pages = Path("/proc/self/statm")
    if pages.exists():
        resident = int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        yield from _metric("process_resident_memory_bytes", "gauge", "Resident memory.", {"": resident})


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _metric(name: str, kind: str, text: str, samples: Mapping[str, float]) -> Iterator[str]:
    yield from _head(name, kind, text)
    for labels, value in samples.items():
        yield f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"


def _histogram(name: str, labels: str, histogram: Histogram) -> Iterator[str]:
    before = f"{labels}," if labels else ""
    up_to, counts = 0, list(histogram.counts)
    for bound_s, count in zip((*BOUNDS_S, "+Inf"), counts, strict=True):
        up_to += count
        yield f'{name}_bucket{{{before}le="{bound_s}"}} {up_to}'
    shown = f"{{{labels}}}" if labels else ""
    yield f"{name}_sum{shown} {histogram.sum_s}"
    yield f"{name}_count{shown} {up_to}"


def _labels(**labels: str) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
