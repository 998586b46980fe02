"""What a run looks like from outside, for the page (`status`) and for Prometheus (`metrics.py`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...devices.sensors import Sensors
from ..meter import Meter
from ..results import Stop
from ..sinks.take import Takes
from .tally import Tally


@dataclass(frozen=True, slots=True)
class Running:
    """The run that is watched: where frames come from, `models` by name with their device and precision, its counts.

    `max_age_ms` is None for a source that is not live: nothing is too old there. `takes` can be started and stopped.
    """

    source: str
    models: Mapping[str, Mapping[str, Any]]
    meter: Meter
    overwritten: Callable[[], Mapping[str, int]]
    max_age_ms: float | None = None
    takes: Takes | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """A run with what the preview itself keeps of it. `running` is None until its models are loaded."""

    tally: Tally
    sensors: Sensors
    running: Running | None = None


def status(watched: Watched, after: int) -> dict[str, Any]:
    """Plain JSON values: the figures now, and the points of the plots from number `after` on."""
    tally, now_ns = watched.tally, time.perf_counter_ns()
    newest = tally.newest
    points, following = tally.points(after, now_ns)
    said: dict[str, Any] = {
        "up_s": round((now_ns - tally.start_ns) / 1e9, 2),
        "results": tally.results,
        "silent_s": round((now_ns - newest.frame.captured_ns) / 1e9, 3) if newest else None,
        "stop": newest.command.reason if newest and isinstance(newest.command, Stop) else None,
        "map": newest is not None and newest.map is not None,
        "sensors": watched.sensors.newest(),
        "points": points,
        "next": following,
    }
    running = watched.running
    if running is None:
        return said | {"source": {"uri": "", "state": "opening", "since_s": 0.0, "reason": "the models are loaded"}}
    meter = running.meter
    source = meter.source
    return said | {
        "source": {
            "uri": running.source,
            "state": source.name,
            "since_s": round(source.lasted_s, 2),
            "reason": source.reason,
        },
        "models": running.models,
        "max_age_ms": running.max_age_ms,
        "overwritten": dict(running.overwritten()),
        "stops": meter.stops,
        "reopened": meter.reopened,
        "repeated": meter.repeated,
        "recording": running.takes.state() if running.takes else None,
    }
