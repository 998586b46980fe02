"""What a thread pool that is sized from the affinity mask, and does not spin, is worth beside ONNX Runtime's own.

Both take turns of some queries each, one right after the other: on all cores with nothing beside them, on all cores
beside one busy process, and held to one core, as `taskset -c 0` does it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from numpy.typing import NDArray

from helmsight.devices.errors import need
from helmsight.devices.processor import processor
from helmsight.runtime.backends import Feeds, OnnxRuntimeSettings, SessionOptions, load
from helmsight.runtime.backends.onnxruntime import session_settings
from helmsight.runtime.bundle import Bundle, open_bundle
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.profiler.stats import percentile_ms, queries_needed

from .harness import Goal, Result, parser
from .precision import clip_feeds

TURN, REST_S = 64, 0.02
"""Queries one after the other, and the seconds before them."""
OWN, OURS = "ONNX Runtime's own", "helmsight's"
Run = Callable[[Feeds], Mapping[str, NDArray[Any]]]
NOTES = (
    "ONNX Runtime's own pool has a thread for each core of the machine, whatever the affinity mask says, and its "
    "threads wait by working; helmsight's has as many as the process may use, which sleep. All else is the same.",
    f"p99 is the nearest-rank percentile; with 99 % confidence it takes {queries_needed(0.99):,} queries of a row to "
    "support it, which none has.",
    "Other processes count the busy one, which the second of three situations has beside it.",
)


class OwnPool:
    """`bundle` in ONNX Runtime with the pool that it makes by itself, all other settings being helmsight's."""

    def __init__(self, bundle: Bundle) -> None:
        ort = need("onnxruntime", "cpu")
        settings = session_settings(ort, bundle, SessionOptions(settings=OnnxRuntimeSettings(spinning=True)))
        settings.intra_op_num_threads = 0  # as many as it thinks right
        self._session = ort.InferenceSession(bundle.read_model(), settings, providers=["CPUExecutionProvider"])
        self._names = [spec.name for spec in bundle.manifest.outputs]

    def run(self, feeds: Feeds) -> Mapping[str, NDArray[Any]]:
        return dict(zip(self._names, self._session.run(self._names, dict(feeds)), strict=True))


@contextmanager
def busy_process() -> Iterator[None]:
    """A process that never waits, meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def one_core() -> Iterator[None]:
    """This thread, and those that it makes, are held to one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


SITUATIONS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "all cores": nullcontext,
    "all cores, beside a busy process": busy_process,
    "held to one core": one_core,
}


def in_turns(runs: Mapping[str, Run], feeds: Sequence[Feeds], seconds: float) -> dict[str, list[float]]:
    """Latencies in ms; before each turn the threads of the other come to rest, and one query is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, run in runs.items():
            time.sleep(REST_S)
            for i in range(TURN + 1):
                begin = time.perf_counter_ns()
                run(feeds[i % len(feeds)])
                if i:
                    taken[name].append((time.perf_counter_ns() - begin) / 1e6)
    return taken


def measured(name: str, situation: str, seconds: float, frames: int) -> list[dict[str, Any]]:
    """A row for each pool."""
    bundle = open_bundle(name)
    feeds = clip_feeds(bundle, frames)
    with SITUATIONS[situation](), load(bundle) as ours:
        threads = {OWN: os.cpu_count(), OURS: processor().usable_cores}
        taken = in_turns({OWN: OwnPool(bundle).run, OURS: ours.run}, feeds, seconds)
    return [
        {
            "network": name,
            "situation": situation,
            "pool": pool,
            "threads": threads[pool],
            "p50 ms": statistics.median(own),
            "p99 ms": percentile_ms(own, 0.99),
            "max ms": max(own),
            "n": len(own),
        }
        for pool, own in taken.items()
    ]


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--bundles", nargs="+", default=["face", "navigate"])
    made.add_argument("--seconds", type=float, default=20.0, help="of timing for each network and situation")
    made.add_argument("--frames", type=int, default=32, help="of the clip, over and over")
    args = made.parse_args()
    with OthersWatch() as others:
        rows = [
            row
            for name in args.bundles
            for situation in SITUATIONS
            for row in measured(name, situation, args.seconds, args.frames)
        ]
    tails = {(row["network"], row["situation"], row["pool"]): row["p99 ms"] for row in rows}
    goals = [
        Goal(f"{name}, {s}, p99 of its own over ours", tails[name, s, OWN] / tails[name, s, OURS], 1.0, at_least=True)
        for name in args.bundles
        for s in list(SITUATIONS)[1:]
    ]
    options = {"bundles": " ".join(args.bundles), "seconds": args.seconds, "frames": args.frames}
    Result("thread_pools", "Thread pools on a CPU", options, rows, goals, others.cores, notes=NOTES).write(args.out)


if __name__ == "__main__":
    main()
