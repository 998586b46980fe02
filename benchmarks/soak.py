"""Whether anything grows or slows down while the camera pipeline runs for long: memory, threads, files, latency.

A clip at 30 frames/s stands for a camera, which is lost and returns again and again: pulled, hanging, frozen in turn.
Both bundles run, results are written as JSON lines. Memory is read every few seconds, and a straight line is fitted
through all but the first tenth of it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from helmsight.devices.errors import CameraUnavailable
from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.heap import share_one_heap
from helmsight.runtime.meter import Summary
from helmsight.runtime.model import Model
from helmsight.runtime.pipeline import Pipeline
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.results import Frame, Stop
from helmsight.runtime.results import Result as Seen
from helmsight.runtime.sinks.jsonlines import JsonLines
from helmsight.runtime.tasks import task_for

from .harness import Goal, LiveClip, Result, parser, resident_mb, write_clip

PARTS = 10
"""Latency is compared between the second and the last of so many parts: in the first the machine still settles."""


WAYS = ("pulled", "hangs", "frozen")
BACK_S = 2.0
"""Results are to come again so soon after the camera's return."""


@dataclass(slots=True)
class Losses:
    """The camera is away for the last `away_s` of each `every_s`, in one of `WAYS` after the other; `given` counts its
    new frames, over all who opened it."""

    every_s: float
    away_s: float
    began_s: float = field(default_factory=time.monotonic)
    given: int = 0
    last: Frame | None = None

    def now(self) -> str | None:
        """How it is away at this moment, None while it is there."""
        cycle, within_s = divmod(time.monotonic() - self.began_s, self.every_s)
        return WAYS[int(cycle) % len(WAYS)] if within_s >= self.every_s - self.away_s else None

    def returns_s(self, until_s: float) -> list[float]:
        """When it came back, `time.monotonic()`, up to `until_s`."""
        return [self.began_s + i * self.every_s for i in range(1, int((until_s - self.began_s) / self.every_s) + 1)]


class LosingClip(LiveClip):
    """A clip that stands for a camera that is lost now and then."""

    can_freeze = True

    def __init__(self, path: Path, fps: float, losses: Losses) -> None:
        super().__init__(path, fps)
        self._given_path, self._rate, self._losses = path, fps, losses

    def open(self) -> None:
        if self._losses.now() == "pulled":
            raise CameraUnavailable("clip: pulled")
        super().open()

    def read(self) -> Frame | None:
        frame, how = super().read(), self._losses.now()
        if how is None and frame is not None:
            frame = replace(frame, index=self._losses.given)
            frame.image[0, 0] = frame.index % 256  # where the clip stands still; a sensor's noise does it
            self._losses.given, self._losses.last = frame.index + 1, frame
            return frame
        if how == "frozen" and self._losses.last is not None:
            return replace(self._losses.last, captured_ns=time.perf_counter_ns())
        while self._losses.now() == "hangs":
            time.sleep(0.05)
        return None

    def another(self) -> LosingClip:
        return LosingClip(self._given_path, self._rate, self._losses)


@dataclass(frozen=True, slots=True)
class Held:
    """What the process holds at `at_s` of the run."""

    at_s: float
    resident_mb: float
    threads: int
    files: int


class Watch:
    """A sink that keeps when each result came and its age, and a thread that keeps what the process holds over time.

    The room for `most` results is taken at the start: what the benchmark keeps must not look like growth.
    """

    def __init__(self, every_s: float, most: int) -> None:
        self.results = 0
        self._ages_ms, self._came_s = np.full(most, -1.0), np.full(most, -1.0)
        self.held: list[Held] = []
        self._every_s, self._done = every_s, threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def __call__(self, result: Seen) -> None:
        if isinstance(result.command, Stop) or self.results == len(self._ages_ms):
            return
        self._ages_ms[self.results] = (time.perf_counter_ns() - result.frame.captured_ns) / 1e6
        self._came_s[self.results] = time.monotonic()
        self.results += 1

    @property
    def ages_ms(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return self._ages_ms[: self.results]

    def back_s(self, returns_s: list[float], ended_s: float) -> list[float]:
        """For each return of the camera that left `BACK_S` until the end, how long until the next result; infinite
        where none came."""
        came_s = np.append(self._came_s[: self.results], np.inf)
        counted = [at for at in returns_s if at <= ended_s - BACK_S]
        return [float(came_s[np.searchsorted(came_s, at, side="right")] - at) for at in counted]

    def _read(self) -> None:
        begin = time.monotonic()
        while not self._done.wait(self._every_s):
            files = len(list(Path("/proc/self/fd").iterdir()))
            self.held.append(Held(time.monotonic() - begin, resident_mb(), threading.active_count(), files))


def slope_mb_per_hour(held: list[Held]) -> float:
    """Of the line of least squares through (seconds, MB), the first tenth left out."""
    seconds, megabytes = np.array([(h.at_s, h.resident_mb) for h in held[len(held) // PARTS :]]).T
    return float(np.polyfit(seconds, megabytes, 1)[0] * 3600)


def parts(watch: Watch) -> list[dict[str, Any]]:
    """A row for each part of the run: the age of results in it and the memory at its end, the median of the rest."""
    rows = []
    for i in range(PARTS):
        ages = watch.ages_ms[watch.results * i // PARTS : watch.results * (i + 1) // PARTS]
        held = watch.held[len(watch.held) * i // PARTS : len(watch.held) * (i + 1) // PARTS]
        p50, p90, p99 = map(float, np.percentile(ages if len(ages) else [np.nan], (50, 90, 99)))
        rows.append(
            {
                "part": i + 1, "until s": held[-1].at_s, "results": len(ages), "age p50 ms": p50, "age p90 ms": p90,
                "age p99 ms": p99, "RSS MB": held[-1].resident_mb,
                "threads": statistics.median_low([h.threads for h in held]),
                "open files": statistics.median_low([h.files for h in held]),
            }
        )  # fmt: skip
    return rows


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one."""

    watch: Watch
    losses: Losses
    summary: Summary
    left_over: int
    ended_s: float


def soak(args: argparse.Namespace) -> Run:
    """The pipeline for so long."""
    seconds = args.minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        clip = write_clip(Path(folder) / "clip.mp4", 300)
        models = []
        for name in args.bundles:
            bundle = open_bundle(name)
            models.append(Model(load(bundle, SessionOptions(args.device, 1)), task_for(bundle.manifest)))
        losses = Losses(args.every, args.away)
        pipeline = Pipeline(LosingClip(clip, args.fps, losses), models)
        end = threading.Timer(seconds, pipeline.stop)
        watch = Watch(min(5.0, seconds / 200), round(args.fps * seconds * 1.1) + 100)
        with watch, JsonLines(Path(folder) / "log.jsonl") as log:
            end.start()
            until_s = time.monotonic() + seconds
            summary = pipeline.run([watch, log])
            ended_s = min(time.monotonic(), until_s)
        for model in models:
            model.session.close()
    leader = "navigate" if "navigate" in summary.overwritten else next(iter(summary.overwritten))
    left_over = losses.given - watch.results - summary.overwritten[leader]
    return Run(watch, losses, summary, left_over, ended_s)


def main() -> None:
    """Run and write the result."""
    share_one_heap()  # as the command does
    made = parser(__doc__ or "")
    made.add_argument("--bundles", nargs="+", default=["face", "navigate"])
    made.add_argument("--device", default="cpu")
    made.add_argument("--fps", type=float, default=30.0)
    made.add_argument("--minutes", type=float, default=60.0)
    made.add_argument("--every", type=float, default=300.0, help="seconds from one loss of the camera to the next")
    made.add_argument("--away", type=float, default=20.0, help="seconds that it is away")
    args = made.parse_args()
    with OthersWatch() as others:
        run = soak(args)
    watch, summary = run.watch, run.summary
    rows = parts(watch)
    back_s = watch.back_s(run.losses.returns_s(run.ended_s), run.ended_s)
    goals = [
        Goal("growth of RSS, MB an hour", slope_mb_per_hour(watch.held), 1.0, at_least=False),
        Goal("threads, last part less second", rows[-1]["threads"] - rows[1]["threads"], 0, at_least=False),
        Goal("open files, last part less second", rows[-1]["open files"] - rows[1]["open files"], 0, at_least=False),
        Goal("median age, last part over second", rows[-1]["age p50 ms"] / rows[1]["age p50 ms"], 1.1, at_least=False),
        Goal("peak RSS MB", max(h.resident_mb for h in watch.held), 150.0, at_least=False),
        Goal(
            "results again after the camera's return, s, the worst", max(back_s, default=None), BACK_S, at_least=False
        ),
    ]
    options = {k: getattr(args, k) for k in ("device", "fps", "minutes", "every", "away")}
    left_out = ", ".join(f"{name} {count}" for name, count in summary.overwritten.items())
    notes = [
        f"{run.losses.given} new frames: {watch.results} results that drive; frames overwritten: {left_out}; neither a "
        f"result nor overwritten: {run.left_over}.",
        f"{len(back_s)} returns of the camera, opened again {summary.reopened} times, {summary.repeated} repeated "
        f"frames kept from the models; stops: {summary.stops}.",
    ]
    options = {"bundles": " ".join(args.bundles), **options}
    Result("soak", "The pipeline over a long time", options, rows, goals, others.cores, notes=notes).write(args.out)


if __name__ == "__main__":
    main()
