"""What the navigation network costs: parameters, a frame's time on one thread here, and what a Jetson TK1 would need.

A frame is 640x480; preparation, network and decoding take turns with a matrix product, so that shares are of the same
moments. The TK1 is predicted from the number of operations, since none is at hand: at the share of a matrix product's
rate that the network reaches here, on one of its cores.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: the product is to be one core's

import cv2
import numpy as np

from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.sources import open_source
from helmsight.runtime.tasks import task_for

from .harness import Goal, Result, parser

FRAME_HW = (480, 640)
TK1_CORE_GFLOPS = 2.32 * 8
"""A Cortex-A15 at 2.32 GHz multiplies and adds four floats a cycle (ARM, Cortex-A15 Technical Reference Manual: one
128-bit NEON multiply-accumulate)."""
TK1_PERIOD_MS = 33.0
PRODUCT = 512
"""Side of the matrices whose product stands for what this core can do at best."""
NOTES = (
    "The TK1's figure is a prediction from the operation count, with no board at hand: it says nothing of caches or of "
    "memory, and ncnn's kernels are not ONNX Runtime's.",
    "p50 in ms; each stage was timed by itself, in turns.",
)


def main() -> None:
    """Run and write the result."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--bundle", default="navigate")
    arguments.add_argument("--rounds", type=int, default=600)
    args = arguments.parse_args()
    bundle = open_bundle(args.bundle)
    graph = bundle.manifest.provenance["graph"]
    mflop = 2 * graph["macs"] / 1e6
    with OthersWatch() as others:
        taken = _take(bundle, args.rounds)
    p50 = {stage: statistics.median(times) for stage, times in taken.items()}
    frame_ms = p50["prepare"] + p50["network"] + p50["decode"]
    product_gflops = 2 * PRODUCT**3 / p50["matrix product"] / 1e6
    share = mflop / p50["network"] / product_gflops
    tk1_ms = mflop / (share * TK1_CORE_GFLOPS)
    rows: list[dict[str, Any]] = [{"stage": stage, "p50 ms": value} for stage, value in p50.items()]
    predicted = {
        "million operations": mflop,
        "of a matrix product's rate here": share,
        "ms on one core of a TK1, predicted": tk1_ms,
        "share of that core's peak that 33 ms need": mflop / TK1_PERIOD_MS / TK1_CORE_GFLOPS,
    }
    goals = [
        Goal("parameters", graph["parameters"], 350_000, at_least=False),
        Goal("ms a frame, one thread, with preparation and decoding", frame_ms, 3.0, at_least=False),
        Goal("ms a frame on a Jetson TK1's CPU, predicted", tk1_ms, TK1_PERIOD_MS, at_least=False),
    ]
    options = {"bundle": args.bundle, "rounds": args.rounds, "threads": 1, "frame": "640x480"}
    title = "What the navigation network costs"
    more = {"Predicted": [predicted]}
    Result("navigation_cost", title, options, rows, goals, others.cores, more, NOTES).write(args.out)


def _take(bundle: Any, rounds: int) -> dict[str, list[float]]:
    cv2.setNumThreads(1)
    task = task_for(bundle.manifest)
    with open_source("sample://corridor") as source:
        small = source.read()
    assert small is not None
    image = cv2.resize(small.image, FRAME_HW[::-1], interpolation=cv2.INTER_LINEAR)
    matrix = np.random.default_rng(0).random((PRODUCT, PRODUCT), np.float32)
    taken: dict[str, list[float]] = {"prepare": [], "network": [], "decode": [], "matrix product": []}
    with load(bundle, SessionOptions(threads=1)) as session:
        for turn in range(rounds + 20):
            times = [time.thread_time()]
            feeds = task.prepare(image)
            times.append(time.thread_time())
            outputs = session.run(feeds)
            times.append(time.thread_time())
            task.decode(outputs, FRAME_HW)
            times.append(time.thread_time())
            np.dot(matrix, matrix)
            times.append(time.thread_time())
            if turn >= 20:  # the first are not warm
                for stage, took in zip(taken, np.diff(times), strict=True):
                    taken[stage].append(1000 * float(took))
    return taken


if __name__ == "__main__":
    main()
