"""Drives the expert around courses of each split, without drawing; run by hand after a change to courses:

python -m helmsight.runtime.sim.check_courses [train validation test]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import expert
from .course import make_course
from .looks import SEEDS, Split
from .motion import Motion
from .world import clearance_m

PERIOD_S = 0.1
SLOWEST_MPS = 0.1
NAMES = ("office", "corridor")
COURSES: dict[Split, int] = {"train": 100, "validation": 40, "test": 40}


@dataclass(frozen=True, slots=True)
class Lap:
    """One lap of the expert: `waited_s` is the longest time without getting on, `gap_m` the least free width on the
    line while nothing moves."""

    course: str
    seed: int
    length_m: float
    side_ways: int
    movers: int
    gap_m: float
    elapsed_s: float
    waited_s: float
    collided: bool
    done: bool


def drive_lap(name: str, seed: int) -> Lap:
    """One lap from the start that the seed chooses; it ends at a collision, or when it takes for ever."""
    course = make_course(name, seed)
    robot = Motion(course, seed)
    farthest, since, waited = 0.0, 0.0, 0.0
    while not robot.lap_done and not robot.collided and robot.time_s < course.length_m / SLOWEST_MPS:
        robot.step(expert.steer(course, robot.pose, robot.nearest), expert.speed(robot.course, robot.pose), PERIOD_S)
        if robot.progress_m > farthest + 0.1:
            farthest, since = robot.progress_m, robot.time_s
        waited = max(waited, robot.time_s - since)
    return Lap(
        name,
        seed,
        course.length_m,
        len(course.side_ways),
        len(course.movers),
        2 * float(clearance_m(course.line, course.solids).min()),
        robot.time_s,
        waited,
        robot.collided,
        robot.lap_done,
    )


def main(splits: Sequence[Split]) -> None:
    """Print a line for each lap and the sums of each split."""
    for split in splits:
        laps = []
        for seed in SEEDS[split][: COURSES[split]]:
            laps.append(drive_lap(NAMES[seed % 2], seed))
            print(laps[-1], flush=True)
        length = np.array([lap.length_m for lap in laps])
        print(
            f"{split}: {len(laps)} courses, {sum(lap.done for lap in laps)} laps done, "
            f"{sum(lap.collided for lap in laps)} collisions; lap {length.mean():.1f} m ({length.min():.1f} to "
            f"{length.max():.1f}); with side ways {sum(lap.side_ways > 0 for lap in laps)}, with moving things "
            f"{sum(lap.movers > 0 for lap in laps)}; narrowest {min(lap.gap_m for lap in laps):.2f} m; longest wait "
            f"{max(lap.waited_s for lap in laps):.1f} s"
        )


if __name__ == "__main__":
    main([split for split in COURSES if split in (sys.argv[1:] or COURSES)])
