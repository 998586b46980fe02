"""A map that is driven round and round: what a frame costs after minutes, how far the robot is off, closures.

The expert drives a short course of the validation split again and again, frames of 320x240 at 20 a second; path and
map are the Mapper's, from the free space of the shipped network. Who comes back to known places all the time closes
loops all the time, on a map that is in use.
"""

from __future__ import annotations

import os
import time
from argparse import Namespace
from typing import Any

import cv2
import numpy as np

from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.mapping.geometry import Pose
from helmsight.runtime.mapping.mapper import Mapper
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.results import Frame
from helmsight.runtime.sim import expert
from helmsight.runtime.sim.course import make_course
from helmsight.runtime.sim.simulator import Simulator
from helmsight.runtime.tasks import task_for

from .harness import Goal, Result, parser
from .mapping import FRAME_HW, PERIOD_S, apart, false_closures

NOTES = (
    "`off` is the distance of the robot on the map from its true place, the most in that minute; `open` is the same at "
    "its end by odometry alone. A rebuild is a map that was built anew and taken into use; closures, false ones and "
    "nodes are those since the start.",
    "Times are of the process's CPU, for a whole `Mapper.update`, with OpenCV in one thread.",
)


def drive(seed: int, minutes: int) -> list[dict[str, Any]]:
    """A row a minute."""
    bundle = open_bundle("navigate")
    task = task_for(bundle.manifest)
    course = make_course("office", seed, blocks=1)
    rows: list[dict[str, Any]] = []
    poses: list[Pose] = []
    ms: list[float] = []
    off_m: list[float] = []
    rebuilds = 0
    with load(bundle, SessionOptions("cpu", 1)) as session, Simulator(course, seed=seed) as simulator:
        mapper = Mapper(simulator.geometry)
        start = Pose(simulator.pose.x, simulator.pose.y, simulator.pose.heading_rad)
        while len(rows) < minutes and not simulator.collided:
            image = simulator.render(FRAME_HW)
            seen = task.decode(dict(session.run(task.prepare(image))), FRAME_HW)
            at = Pose(simulator.pose.x, simulator.pose.y, simulator.pose.heading_rad)
            poses.append(start.inverse().then(at))
            begin = time.process_time()
            grid = mapper.grid
            mapper.update(Frame(image, len(poses) - 1, time.perf_counter_ns()), seen)
            ms.append((time.process_time() - begin) * 1e3)
            rebuilds += mapper.grid is not grid
            off_m.append(apart(mapper.pose, poses[-1]))
            if len(ms) == round(60 / PERIOD_S):
                rows.append(
                    {
                        "minute": len(rows) + 1,
                        "way m": simulator.progress_m,
                        "ms p50": float(np.percentile(ms, 50)),
                        "ms p99": float(np.percentile(ms, 99)),
                        "ms most": max(ms),
                        "off m": max(off_m),
                        "open m": apart(mapper.unclosed(-1), poses[-1]),
                        "rebuilds": rebuilds,
                        "closures": len(mapper.loops.graph.closures),
                        "false": false_closures(mapper, poses),
                        "nodes": len(mapper.loops.graph),
                    }
                )
                ms, off_m, rebuilds = [], [], 0
            simulator.step(
                expert.steer(course, simulator.pose, simulator.nearest), expert.speed(course, simulator.pose), PERIOD_S
            )
    if not rows:
        raise SystemExit(f"seed {seed}: the expert hit something in the first minute; choose another --seed")
    return rows


def run(options: Namespace) -> Result:
    """The whole drive."""
    os.environ["LP_NUM_THREADS"] = "0"
    cv2.setNumThreads(1)
    with OthersWatch() as others:
        rows = drive(options.seed, options.minutes)
    goals = [
        Goal("minutes driven", float(len(rows)), float(options.minutes), True),
        Goal("largest median of ms a frame", max(row["ms p50"] for row in rows), 5.0, False),
        Goal("p99 of the last minute over that of the first", rows[-1]["ms p99"] / rows[0]["ms p99"], 1.5, False),
        Goal("most that the robot was off, m", max(row["off m"] for row in rows), 0.25, False),
        Goal("false closures", float(rows[-1]["false"]), 0.0, False),
    ]
    given = {"seed": options.seed, "minutes": options.minutes}
    return Result("rounds", "A map driven round and round", given, rows, goals, others.cores, notes=NOTES)


if __name__ == "__main__":
    made = parser(__doc__ or "")
    made.add_argument("--seed", type=int, default=2000, help="course")
    made.add_argument("--minutes", type=int, default=10, help="of the robot's time")
    arguments = made.parse_args()
    run(arguments).write(arguments.out)
