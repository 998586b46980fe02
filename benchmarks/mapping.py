"""The map of a lap: how right it is, how far the path drifts with and without loop closure, and what a frame costs.

The expert drives a lap and 6 m of the next on courses of the validation split, frames of 320x240 at 20 a second; path
and map are the Mapper's, from the free space of the shipped network or from the simulator's true mask.

IoU is of free floor, in cells of 5 cm. A cell is in view when the mapper, given true masks and true poses, says
anything about it. The map is laid over the course by the first frame's true pose, not by a best fit. Counted are cells
that are free in truth and in the map, over those that the map says are free, or that are free in truth and in view.
Cells beside a wall or the side of a thing (those of whose eight neighbours one is of the other kind) are left out: a
tolerance of one cell. What the map says of cells outside of the course's plan counts against it.
"""

from __future__ import annotations

import math
import os
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.mapping.geometry import FloorView, Pose
from helmsight.runtime.mapping.grid import OccupancyGrid
from helmsight.runtime.mapping.mapfile import FREE_BELOW
from helmsight.runtime.mapping.mapper import Mapper
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.results import Drive, Frame
from helmsight.runtime.sim import expert
from helmsight.runtime.sim.course import Course, make_course
from helmsight.runtime.sim.simulator import Simulator
from helmsight.runtime.sim.topview import FREE, occupancy
from helmsight.runtime.tasks import task_for

from .harness import Goal, Result, parser

FRAME_HW, MASK_HW = (240, 320), (36, 48)
PERIOD_S = 0.05
BEYOND_M = 6.0
FALSE_M, FALSE_RAD = 0.5, 0.15
"""A closure that is off by more is a false one."""
NOTES = (
    "Drift is the distance from the true place over the way, at the end of the lap and as odometry alone has it. `end` "
    "is the same after 6 m of the next lap, by when loops are closed, and `end open` there without them.",
    "A closure is false when it is off by more than 0.5 m or 8.6 degrees.",
    "Times are of the process's CPU, for a whole `Mapper.update`, with OpenCV in one thread; they are those of a "
    "machine that is as busy as said above.",
)


@dataclass
class Lap:
    """What a mapper made of a lap."""

    mapper: Mapper
    ms: list[float] = field(default_factory=list)

    def update(self, frame: Frame, drive: Drive) -> None:
        begin = time.process_time()
        self.mapper.update(frame, drive)
        self.ms.append((time.process_time() - begin) * 1e3)


def lap_rows(name: str, seed: int) -> list[dict[str, Any]]:
    """A row for the network's free space and one for the true mask."""
    bundle = open_bundle("navigate")
    task = task_for(bundle.manifest)
    course = make_course(name, seed)
    poses: list[Pose] = []
    seen: OccupancyGrid = OccupancyGrid()
    lap_frames = 0
    with load(bundle, SessionOptions("cpu", 1)) as session, Simulator(course, seed=seed) as simulator:
        laps = {who: Lap(Mapper(simulator.geometry)) for who in ("network", "truth")}
        view = FloorView(simulator.geometry, FRAME_HW, MASK_HW)
        start = Pose(simulator.pose.x, simulator.pose.y, simulator.pose.heading_rad)
        while simulator.progress_m < course.length_m + BEYOND_M and not simulator.collided:
            image = simulator.render(FRAME_HW)
            mask = cv2.resize(
                simulator.free_space_mask().astype(np.float32), MASK_HW[::-1], interpolation=cv2.INTER_AREA
            )
            network = task.decode(dict(session.run(task.prepare(image))), FRAME_HW)
            at = Pose(simulator.pose.x, simulator.pose.y, simulator.pose.heading_rad)
            poses.append(start.inverse().then(at))
            frame = Frame(image, len(poses) - 1, time.perf_counter_ns())
            for who, drive in (("network", network), ("truth", Drive(0.0, 0.0, mask))):
                laps[who].update(frame, drive)
            seen.update(poses[-1], mask, view)
            lap_frames += not simulator.lap_done
            simulator.step(
                expert.steer(course, simulator.pose, simulator.nearest), expert.speed(course, simulator.pose), PERIOD_S
            )
    return [_row(course, who, laps[who], (seen, start), poses, lap_frames) for who in laps]


def _row(
    course: Course, who: str, lap: Lap, truth: tuple[OccupancyGrid, Pose], poses: Sequence[Pose], lap_frames: int
) -> dict[str, Any]:
    mapper = lap.mapper
    mapper.finish()
    places = np.array([(pose.x_m, pose.y_m) for pose in poses])
    way = np.concatenate([[0.0], np.hypot(*np.diff(places, axis=0).T).cumsum()])
    at_lap = min(lap_frames, len(poses)) - 1
    return {
        "course": f"{course.name} {course.seed}",
        "free space": who,
        "way m": float(way[-1]),
        "IoU": iou(mapper.grid, *truth, course),
        "drift %": 100 * apart(mapper.unclosed(at_lap), poses[at_lap]) / float(way[at_lap]),
        "end open %": 100 * apart(mapper.unclosed(-1), poses[-1]) / float(way[-1]),
        "end %": 100 * apart(mapper.pose, poses[-1]) / float(way[-1]),
        "closures": len(mapper.loops.graph.closures),
        "false": false_closures(mapper, poses),
        "refused": mapper.loops.refused,
        "lost": mapper.lost,
        "ms p50": float(np.percentile(lap.ms, 50)),
        "ms p99": float(np.percentile(lap.ms, 99)),
    }


def apart(a: Pose, b: Pose) -> float:
    """Metres between two poses."""
    return math.hypot(a.x_m - b.x_m, a.y_m - b.y_m)


def iou(grid: OccupancyGrid, seen: OccupancyGrid, start: Pose, course: Course) -> float:
    """Free floor in the map and in truth, see above."""
    plan = occupancy(course, grid.options.resolution_m)
    rows, columns = np.indices(plan.cells.shape)
    centres = (np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5) * plan.resolution_m + plan.origin
    here = start.inverse().to_world(centres)
    true = (plan.cells == FREE).astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    beside = (cv2.dilate(true, kernel) != cv2.erode(true, kernel)).ravel()
    free = odds_at(grid, here) < math.log(FREE_BELOW / (1 - FREE_BELOW))
    in_view = odds_at(seen, here) != 0
    truly = true.ravel() > 0
    outside = free_cells(grid) - int(free.sum())
    union = int(((free | (truly & in_view)) & ~beside).sum()) + max(0, outside)
    return int((free & truly & ~beside).sum()) / union


def free_cells(grid: OccupancyGrid) -> int:
    """How many cells a map says are free; those outside of the plan are what is more than inside."""
    return int((grid.log_odds < math.log(FREE_BELOW / (1 - FREE_BELOW))).sum())


def odds_at(grid: OccupancyGrid, points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Log-odds (N,) of points (N, 2), 0 outside of the grid."""
    cells = grid.cell(points)
    inside = ((cells >= 0) & (cells < grid.log_odds.shape)).all(axis=1)
    odds = np.zeros(len(points), np.float32)
    odds[inside] = grid.log_odds[cells[inside, 0], cells[inside, 1]]
    return odds


def false_closures(mapper: Mapper, poses: Sequence[Pose]) -> int:
    """Closures that are off from the true poses by more than FALSE_M or FALSE_RAD."""
    frames = mapper.node_frames
    count = 0
    for closure in mapper.loops.graph.closures:
        true = poses[frames[closure.first]].inverse().then(poses[frames[closure.second]])
        off = true.inverse().then(closure.pose)
        count += math.hypot(off.x_m, off.y_m) > FALSE_M or abs(off.yaw_rad) > FALSE_RAD
    return count


def run(options: Namespace) -> Result:
    """All laps, one after the other."""
    os.environ["LP_NUM_THREADS"] = "0"
    cv2.setNumThreads(1)
    with OthersWatch() as others:
        rows = [row for seed in options.seeds for row in lap_rows(("office", "corridor")[seed % 2], seed)]
    ours = [row for row in rows if row["free space"] == "network"]
    goals = [
        Goal("lowest IoU, network", min(row["IoU"] for row in ours), 0.8, True),
        Goal("largest drift before closure, network, %", max(row["drift %"] for row in ours), 3.0, False),
        Goal("false closures", float(sum(row["false"] for row in rows)), 0.0, False),
        Goal("largest median of ms a frame", max(row["ms p50"] for row in rows), 5.0, False),
    ]
    seeds = " ".join(map(str, options.seeds))
    return Result("mapping", "Maps of laps in the simulator", {"seeds": seeds}, rows, goals, others.cores, notes=NOTES)


if __name__ == "__main__":
    made = parser(__doc__ or "")
    made.add_argument("--seeds", type=int, nargs="+", default=[2000, 2001, 2002, 2003, 2004, 2005], help="courses")
    arguments = made.parse_args()
    run(arguments).write(arguments.out)
