"""What the camera pipeline itself costs at a camera's pace: processor time and latency beyond the work that anyone has.

A clip at 30 frames/s stands for a camera. The bare loop reads, prepares, runs the network and decodes its outputs one
after the other, in one thread; the pipeline does the same work in its threads, with everything that it promises. They
take turns; processor time is that of all threads of the process.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.heap import share_one_heap
from helmsight.runtime.model import Model
from helmsight.runtime.pipeline import Pipeline
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.results import Result as Seen
from helmsight.runtime.tasks import task_for

from .harness import Goal, LiveClip, Result, parser, spread, write_clip


@dataclass(frozen=True)
class Cost:
    """Of one turn: processor time a frame, share of a core, and the median time from capture to result."""

    cpu_ms: float
    core_share: float
    latency_ms: float


def measured(loop: Callable[[], list[float]]) -> Cost:
    """`loop` gives the latency of each frame in milliseconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    latency_ms = loop()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Cost(cpu / len(latency_ms) * 1e3, cpu / wall, float(np.median(latency_ms)))


def bare(source: LiveClip, model: Model, seconds: float) -> list[float]:
    """The same work with nothing around it."""
    latency_ms, end = [], time.monotonic() + seconds
    with source:
        while time.monotonic() < end:
            frame = source.read()
            assert frame is not None
            outputs = model.session.run(model.task.prepare(frame.image))
            model.task.decode(outputs, (frame.image.shape[0], frame.image.shape[1]))
            latency_ms.append((time.perf_counter_ns() - frame.captured_ns) / 1e6)
    return latency_ms


def pipeline(source: LiveClip, model: Model, seconds: float) -> list[float]:
    """The pipeline with a sink that looks at the clock."""
    latency_ms: list[float] = []
    running = Pipeline(source, [model])

    def sink(result: Seen) -> None:
        latency_ms.append((time.perf_counter_ns() - result.frame.captured_ns) / 1e6)

    threading.Timer(seconds, running.stop).start()
    running.run([sink])
    return latency_ms


def main() -> None:
    """Run and write the result."""
    share_one_heap()  # as the command does
    made = parser(__doc__ or "")
    made.add_argument("--bundle", default="face")
    made.add_argument("--device", default="cpu")
    made.add_argument("--fps", type=float, default=30.0)
    made.add_argument("--seconds", type=float, default=10.0, help="of a turn")
    made.add_argument("--rounds", type=int, default=7)
    args = made.parse_args()
    bundle = open_bundle(args.bundle)
    with (
        tempfile.TemporaryDirectory() as folder,
        load(bundle, SessionOptions(args.device, 1)) as session,
        OthersWatch() as others,
    ):
        clip = write_clip(Path(folder) / "clip.mp4", 300)
        model = Model(session, task_for(bundle.manifest))
        loops = {"bare loop": bare, "pipeline": pipeline}
        turns = []
        for _ in range(args.rounds):
            one = {}
            for name, loop in loops.items():
                one[name] = measured(lambda loop=loop: loop(LiveClip(clip, args.fps), model, args.seconds))
            turns.append(one)
    rows = [
        {
            "what": name,
            "CPU ms a frame": spread([turn[name].cpu_ms for turn in turns])["median"],
            "% of a core": 100 * spread([turn[name].core_share for turn in turns])["median"],
            "capture to result, median ms": spread([turn[name].latency_ms for turn in turns])["median"],
        }
        for name in loops
    ]
    own = [(turn["pipeline"], turn["bare loop"]) for turn in turns]
    added = {
        "CPU ms a frame": spread([a.cpu_ms - b.cpu_ms for a, b in own])["median"],
        "% of a core": 100 * spread([a.core_share - b.core_share for a, b in own])["median"],
        "capture to result, median ms": spread([a.latency_ms - b.latency_ms for a, b in own])["median"],
    }
    rows.append({"what": "difference in a turn", **added})
    goals = [
        Goal("own CPU ms a frame", added["CPU ms a frame"], 1.0, at_least=False),
        Goal("own latency, ms", added["capture to result, median ms"], 1.0, at_least=False),
        Goal("own share of a core, %", added["% of a core"], 10.0, at_least=False),
    ]
    options = {k: getattr(args, k) for k in ("bundle", "device", "fps", "seconds", "rounds")}
    title = "What the pipeline itself costs at a camera's pace"
    Result("overhead", title, options, rows, goals, others.cores).write(args.out)


if __name__ == "__main__":
    main()
