"""How well a network drives: closed-loop laps in the simulator on courses that it has never seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...runtime.bundle import Manifest
from ...runtime.sim import expert
from ...runtime.sim.course import make_course
from ...runtime.sim.looks import SEEDS
from ...runtime.sim.robot import MAX_SPEED_MPS, Pose
from ...runtime.sim.simulator import Simulator
from ...runtime.tasks.navigate import NavigateTask
from .collect import COURSES, PERIOD_S, RENDER_HW
from .evaluate import Run

STUCK_S, INTERVENTION_S = 8.0, 6.0
"""Without progress for so long, someone helps; what a help costs in DAVE-2's autonomy (Bojarski et al. 2016)."""
SLOWEST = 4.0
"""A lap ends after so many times the time it takes at top speed."""

Driver = Callable[[Simulator], tuple[float, float]]
"""From the state of the simulator to steering -1..1 and speed 0..1; a fair one looks at `render` only."""


@dataclass(slots=True)
class Lap:
    """One lap: `collisions` and `stuck` were helped back onto the line; `deviation_m` is the distance from it."""

    course: str
    seed: int
    elapsed_s: float = 0.0
    distance_m: float = 0.0
    collisions: int = 0
    stuck: int = 0
    done: bool = False
    deviation_m: list[float] = field(default_factory=list)
    poses: list[Pose] = field(default_factory=list)


def unseen_laps(count: int = 20) -> list[tuple[str, int]]:
    """The first `count` courses of the test split, offices and corridors in turns."""
    return [(COURSES[seed % 2], seed) for seed in list(SEEDS["test"])[:count]]


def drive(driver: Driver, laps: Sequence[tuple[str, int]]) -> list[Lap]:
    """Drive a lap of each course, (name, seed)."""
    return [_lap(driver, name, seed) for name, seed in laps]


def summary(laps: Sequence[Lap]) -> dict[str, dict[str, Any]]:
    """The metrics of closed-loop driving, each with what it was measured on."""
    deviation = np.abs(np.concatenate([lap.deviation_m for lap in laps]))
    collisions = sum(lap.collisions for lap in laps)
    helped = collisions + sum(lap.stuck for lap in laps)
    elapsed, metres = sum(lap.elapsed_s for lap in laps), sum(lap.distance_m for lap in laps)
    values = {
        "laps_without_collision": float(sum(lap.done and not lap.collisions and not lap.stuck for lap in laps)),
        "collisions": float(collisions),
        "stuck": float(helped - collisions),
        # With no collision at all this is the distance that was driven, a lower bound.
        "km_per_collision": metres / 1000 / max(1, collisions),
        "autonomy": max(0.0, 1 - helped * INTERVENTION_S / elapsed),
        "speed_mps": metres / elapsed,
        "deviation_median_m": float(np.median(deviation)),
        "deviation_p95_m": float(np.percentile(deviation, 95)),
    }
    data = f"simulator, {len(laps)} laps of unseen courses, {metres:.0f} m"
    return {name: {"value": value, "data": data, "n": len(laps)} for name, value in values.items()}


def network(run: Run, manifest: Manifest) -> Driver:
    """Drives by a network: its steering, and speed 1 - collision probability as in DroNet."""
    task = NavigateTask(manifest)

    def drive_by(simulator: Simulator) -> tuple[float, float]:
        image = simulator.render(RENDER_HW)
        reading = task.decode(dict(run(task.prepare(image))), image.shape[:2])
        return reading.steer, 1 - reading.collision_probability

    return drive_by


def with_map(simulator: Simulator) -> tuple[float, float]:
    """Drives by the expert: what can be reached."""
    steer = expert.steer(simulator.course, simulator.pose, simulator.nearest)
    return steer, expert.speed(simulator.course, simulator.pose)


def straight_on(simulator: Simulator) -> tuple[float, float]:
    """Never steers: what is worth nothing."""
    return 0.0, 1.0


def _lap(driver: Driver, name: str, seed: int) -> Lap:
    lap = Lap(name, seed)
    course = make_course(name, seed)
    with Simulator(course, seed=seed) as simulator:
        best, since = 0.0, 0.0
        limit = SLOWEST * course.length_m / MAX_SPEED_MPS
        while not simulator.lap_done and lap.elapsed_s < limit:
            simulator.step(*driver(simulator), PERIOD_S)
            lap.elapsed_s += PERIOD_S
            lap.deviation_m.append(simulator.lateral_deviation_m)
            lap.poses.append(simulator.pose)
            if simulator.progress_m > best + 0.1:
                best, since = simulator.progress_m, lap.elapsed_s
            stuck = lap.elapsed_s - since > STUCK_S
            if simulator.collided or stuck:
                lap.collisions += simulator.collided
                lap.stuck += not simulator.collided
                # Half a metre beyond the farthest point: one that turned back would else do so for ever.
                best, since = best + 0.5, lap.elapsed_s
                simulator.put_back(best)
        lap.distance_m, lap.done = simulator.progress_m, simulator.lap_done
    return lap
