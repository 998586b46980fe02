"""Whether anything grows or slows down while the camera pipeline runs for long: memory, latency, frames.

A clip at 30 frames/s stands for a camera; both bundles run, results are written as JSON
lines. Memory is read every few seconds, and a straight line is fitted through all but the first tenth of it.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.model import Model
from helmsight.runtime.pipeline import Pipeline
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.results import Result as Seen
from helmsight.runtime.sinks.jsonlines import JsonLines
from helmsight.runtime.tasks import task_for

from .harness import Goal, LiveClip, Result, parser, resident_mb, write_clip

PARTS = 10
"""Latency is compared between the second and the last of so many parts: in the first the machine still settles."""
FILLS = (
    "In the first 10,000 results, 333 s at 30 frames/s, the samples that the meter keeps fill up, about 4 MB; the line "
    "is fitted through that too when the run is shorter than an hour."
)


class Watch:
    """A sink that keeps the age of each result, and a thread that keeps the resident memory over time."""

    def __init__(self, every_s: float) -> None:
        self.ages_ms: list[float] = []
        self.memory: list[tuple[float, float]] = []
        self._every_s, self._done = every_s, threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def __call__(self, result: Seen) -> None:
        self.ages_ms.append((time.perf_counter_ns() - result.frame.captured_ns) / 1e6)

    def _read(self) -> None:
        begin = time.monotonic()
        while not self._done.wait(self._every_s):
            self.memory.append((time.monotonic() - begin, resident_mb()))


def slope_mb_per_hour(memory: list[tuple[float, float]]) -> float:
    """Of the line of least squares through (seconds, MB), the first tenth left out."""
    seconds, megabytes = np.array(memory[len(memory) // PARTS :]).T
    return float(np.polyfit(seconds, megabytes, 1)[0] * 3600)


def parts(watch: Watch) -> list[dict[str, Any]]:
    """A row for each part of the run: the age of results and the memory at its end."""
    rows = []
    for i in range(PARTS):
        ages, memory = (
            values[len(values) * i // PARTS : len(values) * (i + 1) // PARTS]
            for values in (watch.ages_ms, watch.memory)
        )
        p50, p90, p99 = map(float, np.percentile(ages, (50, 90, 99)))
        rows.append(
            {
                "part": i + 1, "until s": memory[-1][0], "results": len(ages), "age p50 ms": p50, "age p90 ms": p90,
                "age p99 ms": p99, "RSS MB": memory[-1][1],
            }
        )  # fmt: skip
    return rows


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--bundles", nargs="+", default=["face", "navigate"])
    made.add_argument("--device", default="cpu")
    made.add_argument("--fps", type=float, default=30.0)
    made.add_argument("--minutes", type=float, default=60.0)
    args = made.parse_args()
    seconds = args.minutes * 60
    with tempfile.TemporaryDirectory() as folder, OthersWatch() as others:
        clip = write_clip(Path(folder) / "clip.mp4", 300)
        models = []
        for name in args.bundles:
            bundle = open_bundle(name)
            models.append(Model(load(bundle, SessionOptions(args.device, 1)), task_for(bundle.manifest)))
        pipeline = Pipeline(LiveClip(clip, args.fps), models)
        end = threading.Timer(seconds, pipeline.stop)
        with Watch(min(5.0, seconds / 200)) as watch, JsonLines(Path(folder) / "log.jsonl") as log:
            end.start()
            summary = pipeline.run([watch, log])
        for model in models:
            model.session.close()
    rows = parts(watch)
    drift = rows[-1]["age p50 ms"] / rows[1]["age p50 ms"]
    goals = [
        Goal("growth of RSS, MB an hour", slope_mb_per_hour(watch.memory), 1.0, at_least=False),
        Goal("median age, last part over second", drift, 1.1, at_least=False),
        Goal("peak RSS MB", max(mb for _, mb in watch.memory), 150.0, at_least=False),
    ]
    options = {"bundles": " ".join(args.bundles), **{k: getattr(args, k) for k in ("device", "fps", "minutes")}}
    left_out = ", ".join(f"{name} {count}" for name, count in summary.overwritten.items())
    notes = [f"{summary.results} results; frames overwritten: {left_out}; stops: {summary.stops}."]
    notes.append(FILLS)
    Result("soak", "The pipeline over a long time", options, rows, goals, others.cores, notes=notes).write(args.out)


if __name__ == "__main__":
    main()
