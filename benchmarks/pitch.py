"""How soon the camera's pitch is known, where it is mounted as told and where it looks lower or higher.

The expert drives the first metres of courses of the validation split, frames of 320x240 at 10 a second; the floor is
that of the shipped network, the pitch the Mapper's. A course ends early where the expert waits for what moves.
"""

from __future__ import annotations

import math
import os
from argparse import Namespace
from typing import Any

import cv2

from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.mapping.mapper import Mapper
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.results import Frame
from helmsight.runtime.sim import expert
from helmsight.runtime.sim.course import make_course
from helmsight.runtime.sim.simulator import Simulator, SimulatorOptions
from helmsight.runtime.tasks import task_for

from .harness import Goal, Result, parser

FRAME_HW, PERIOD_S = (240, 320), 0.1
OFF_DEG = (-3.0, 0.0, 3.0)
AFTER_M = (1.0, 3.0, 5.0, 10.0, 20.0)
FROM_M = 10.0
"""From here on it has to be known."""
LONGEST_S = 60.0
NOTES = (
    "`after` columns are the pitch beyond what was told, in degrees, as it is believed after so much way.",
    "`most off` is how far it is from the truth at the worst from 10 m on.",
    "`lost` counts the frames whose motion is unknown.",
)


def row(seed: int, off_deg: float) -> dict[str, Any]:
    """What a mapper believes on the course of a seed, whose camera looks `off_deg` lower than it is told."""
    name = ("office", "corridor")[seed % 2]
    bundle, course = open_bundle("navigate"), make_course(name, seed)
    task, options = task_for(bundle.manifest), SimulatorOptions(pitch_offset_deg=off_deg)
    found: dict[str, Any] = dict.fromkeys(f"after {after:g} m" for after in AFTER_M)
    late: list[float] = []
    with load(bundle, SessionOptions("cpu", 1)) as session, Simulator(course, seed, options) as robot:
        mapper, frames = Mapper(robot.geometry), 0
        while robot.progress_m < AFTER_M[-1] and not robot.collided and frames * PERIOD_S < LONGEST_S:
            image = robot.render(FRAME_HW)
            drive = task.decode(dict(session.run(task.prepare(image))), FRAME_HW)
            mapper.update(Frame(image, frames, round(frames * PERIOD_S * 1e9)), drive)
            robot.step(expert.steer(course, robot.pose, robot.nearest), expert.speed(course, robot.pose), PERIOD_S)
            frames += 1
            believed = math.degrees(mapper.pitch.offset_rad)
            for after in AFTER_M:
                if robot.progress_m >= after and found[f"after {after:g} m"] is None:
                    found[f"after {after:g} m"] = believed
            if robot.progress_m >= FROM_M:
                late.append(abs(believed - off_deg))
    most = max(late) if late else None
    return {"course": f"{name} {seed}", "off deg": off_deg, **found, "most off deg": most, "lost": mapper.lost}


def run(options: Namespace) -> Result:
    """All courses, one after the other."""
    os.environ["LP_NUM_THREADS"] = "0"
    cv2.setNumThreads(1)
    with OthersWatch() as others:
        rows = [row(seed, off_deg) for seed in options.seeds for off_deg in OFF_DEG]
    late = [row["most off deg"] for row in rows if row["most off deg"] is not None]
    goals = [Goal("most off from 10 m on, degrees", max(late), 0.5, False)]
    seeds = " ".join(map(str, options.seeds))
    return Result(
        "pitch", "The camera's pitch, found on the move", {"seeds": seeds}, rows, goals, others.cores, notes=NOTES
    )


if __name__ == "__main__":
    made = parser(__doc__ or "")
    made.add_argument(
        "--seeds", type=int, nargs="+", default=[2040, 2042, 2043, 2044, 2045, 2046, 2047], help="courses"
    )
    arguments = made.parse_args()
    run(arguments).write(arguments.out)
