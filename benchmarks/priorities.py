"""Navigation and faces on one small machine: how often navigation misses its deadline, and what faces give up for it.

A live source of 30 pictures a second and the two bundles that ship, faces at a large size. Both run on one device that
does one thing at a time, as accelerators do: here a lock around the CPU. In the middle third of each run other
processes take the cores. "As they come": both models run as fast as they can, and navigation's period only counts
what is late. "Navigation first": it has the priority.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from helmsight.runtime.backends import Feeds, Outputs, Session, SessionOptions, load
from helmsight.runtime.bundle import open_bundle, resize_bundles
from helmsight.runtime.model import Model
from helmsight.runtime.pipeline import Pipeline, PipelineOptions
from helmsight.runtime.sources import open_source
from helmsight.runtime.tasks import task_for

from .harness import Goal, Result, parser, spread

PHASES = ("alone", "others busy", "alone again")
BURN = "while True: pass"


@dataclass
class Phase:
    """What came out in one third of a run."""

    seconds: float = 0.0
    response_ms: list[float] = field(default_factory=list)
    late: int = 0
    faces: set[int] = field(default_factory=set)
    steps: int = 0


class OneAtATime:
    """A session on a device that it shares with others."""

    def __init__(self, session: Session, device: threading.Lock) -> None:
        self._session, self._device = session, device
        self.inputs, self.outputs = session.inputs, session.outputs
        self.device, self.precision = session.device, session.precision

    def run(self, feeds: Feeds) -> Outputs:
        with self._device:
            return self._session.run(feeds)

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> OneAtATime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def burning(processes: int) -> Iterator[None]:
    """Other processes that take what they get."""
    others = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def models(args: Any, first: bool) -> list[Model]:
    """Navigation with its period, and faces at a size of their own."""
    navigate = open_bundle("navigate")
    faces = resize_bundles([open_bundle("face")], (args.face_height, args.face_height * 4 // 3))[0]
    device = threading.Lock()
    sessions = [load(navigate, SessionOptions("cpu", 1)), load(faces, SessionOptions("cpu", args.face_threads))]
    return [
        Model(OneAtATime(sessions[0], device), task_for(navigate.manifest), args.period_ms, float(first)),
        Model(OneAtATime(sessions[1], device), task_for(faces.manifest)),
    ]


def run(args: Any, first: bool) -> list[Phase]:
    """One run of three phases."""
    used = models(args, first)
    pipeline = Pipeline(open_source("test://pattern?fps=30"), used, PipelineOptions(max_age_ms=5000))
    results = pipeline.results()
    phases = []
    for name in PHASES:
        with burning(args.others if name == "others busy" else 0):
            phases.append(phase(pipeline, results, args))
    pipeline.stop()
    for _ in results:
        pass
    for model in used:
        model.session.close()
    return phases


def phase(pipeline: Pipeline, results: Iterator[Any], args: Any) -> Phase:
    """Results for so many seconds."""
    made = Phase()
    began, late = time.perf_counter(), pipeline.summary().late["navigate"]
    while (seconds := time.perf_counter() - began) < args.seconds:
        result = next(results)
        made.response_ms.append(result.readings["navigate"].age_ms(result.made_ns))
        if "face" in result.readings:
            made.faces.add(result.readings["face"].frame_index)
        made.steps = max(made.steps, pipeline.shed_step)
    made.seconds = seconds
    made.late = pipeline.summary().late["navigate"] - late
    return made


def row(way: str, name: str, runs: list[Phase]) -> Mapping[str, Any]:
    """A line of the table: medians over the rounds."""
    return {
        "way": way,
        "phase": name,
        "navigation late %": spread([100 * p.late / len(p.response_ms) for p in runs])["median"],
        "late % max": max(100 * p.late / len(p.response_ms) for p in runs),
        "age p50 ms": spread([float(np.percentile(p.response_ms, 50)) for p in runs])["median"],
        "age p99 ms": spread([float(np.percentile(p.response_ms, 99)) for p in runs])["median"],
        "navigation/s": spread([len(p.response_ms) / p.seconds for p in runs])["median"],
        "faces/s": spread([len(p.faces) / p.seconds for p in runs])["median"],
        "shed step": max(p.steps for p in runs),
    }


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--period-ms", type=float, default=34.0)
    made.add_argument("--face-height", type=int, default=1536, help="of the face detector's input; 4:3")
    made.add_argument("--face-threads", type=int, default=1, help="of the face detector")
    made.add_argument("--seconds", type=float, default=10.0, help="of each phase")
    made.add_argument("--others", type=int, default=1, help="processes that each take a core in the middle phase")
    made.add_argument("--rounds", type=int, default=2)
    made.add_argument("--cores", type=int, default=2, help="that this process and the others may use")
    args = made.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    ways = {"as they come": False, "navigation first": True}
    runs: dict[str, list[list[Phase]]] = {way: [] for way in ways}
    for _ in range(args.rounds):
        for way, first in ways.items():
            runs[way].append(run(args, first))
    rows = [row(way, name, [r[i] for r in runs[way]]) for way in ways for i, name in enumerate(PHASES)]
    by = {(r["way"], r["phase"]): r for r in rows}
    first_busy, any_busy = by["navigation first", "others busy"], by["as they come", "others busy"]
    again = by["navigation first", "alone again"]
    goals = [
        Goal(
            "late while alone, navigation first over as they come",
            by["navigation first", "alone"]["navigation late %"]
            / max(by["as they come", "alone"]["navigation late %"], 1e-9), 0.5, at_least=False,
        ),
        Goal(
            "late while others are busy, navigation first over as they come",
            first_busy["navigation late %"] / max(any_busy["navigation late %"], 1e-9), 0.5, at_least=False,
        ),
        Goal(
            "faces/s given back, of those before",
            again["faces/s"] / by["navigation first", "alone"]["faces/s"], 0.5, at_least=True,
        ),
    ]  # fmt: skip
    options = {
        k: getattr(args, k)
        for k in ("period_ms", "face_height", "face_threads", "seconds", "others", "cores", "rounds")
    }
    notes = (
        "Late is an answer that took longer than the period, counted from its turn or its frame, whichever was later. "
        "The first late answers of each run are what the steps are taken for.",
        "Without the lock, both on the CPU, the system's scheduler keeps navigation in time by itself.",
    )
    Result("priorities", "Two models and one deadline", options, rows, goals, None, notes=notes).write(args.out)


if __name__ == "__main__":
    main()
