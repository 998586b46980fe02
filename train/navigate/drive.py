"""How well a network drives: closed-loop laps in the simulator on courses that it has never seen."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

import numpy as np

from ...runtime.bundle import Manifest
from ...runtime.driving.pilot import Pilot
from ...runtime.mapping.mapper import Mapper
from ...runtime.results import Command, Drive, Frame, Stop
from ...runtime.sim import expert
from ...runtime.sim.course import make_course
from ...runtime.sim.looks import SEEDS
from ...runtime.sim.motion import Motion
from ...runtime.sim.robot import MAX_SPEED_MPS, Pose
from ...runtime.sim.simulator import Simulator, SimulatorOptions
from ...runtime.tasks.navigate import NavigateTask
from .collect import COURSES, PERIOD_S
from .evaluate import Run

FRAME_HW = (240, 320)
STUCK_S, INTERVENTION_S = 8.0, 6.0
"""Without progress for so long, someone helps; what a help costs in DAVE-2's autonomy (Bojarski et al. 2016)."""
SLOWEST = 4.0
"""A lap ends after so many times the time it takes at top speed."""

Driver = Callable[[Motion], tuple[float, float]]
"""From the state of the simulator to steering -1..1 and speed 0..1; a fair one looks at `render` only."""
MakeDriver = Callable[[Motion], Driver]
"""Called at the start of a lap and after each help, which a driver that keeps track of its way could not follow."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What makes driving harder than on a good day.

    A command acts `late_ms` after its frame; of every `drop_every` frames one is lost (0: none), and the last command
    holds; the camera looks `pitch_offset_deg` farther down than the driver is told; the light is `light` times what it
    was.
    """

    late_ms: float = 0.0
    drop_every: int = 0
    pitch_offset_deg: float = 0.0
    light: float = 1.0


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


@dataclass(frozen=True, slots=True)
class DriveTest:
    """What to drive: `courses` laps, with seeds from `seed` on (None: the first of the test split).

    With the `pilot` on its map, or by the network's own word.
    """

    courses: int = 10
    seed: int | None = None
    pilot: bool = True
    conditions: Conditions = Conditions()


def evaluate(run: Run, manifest: Manifest, test: DriveTest) -> dict[str, dict[str, Any]]:
    """The metrics of `test`, those of the drivers in BASELINES beside them, as `expert_collisions`."""
    laps = laps_from(test.seed, test.courses)
    make = by_pilot(run, manifest) if test.pilot else by_network(run, manifest)
    metrics = summary(drive(make, laps, test.conditions))
    for name, baseline in BASELINES.items():
        metrics |= {f"{name}_{metric}": value for metric, value in summary(drive_blind(baseline, laps)).items()}
    return metrics


def laps_from(seed: int | None, count: int) -> list[tuple[str, int]]:
    """`count` courses from `seed` on, else from the first of the test split; offices and corridors in turns."""
    first = SEEDS["test"][0] if seed is None else seed
    return [(COURSES[seed % 2], seed) for seed in range(first, first + count)]


def drive(make: MakeDriver, laps: Sequence[tuple[str, int]], conditions: Conditions = Conditions()) -> list[Lap]:
    """Drive a lap of each course, (name, seed), looking through the camera."""
    return [_seen_lap(make, name, seed, conditions) for name, seed in laps]


def drive_blind(make: MakeDriver, laps: Sequence[tuple[str, int]]) -> list[Lap]:
    """The same for a driver that needs no picture: nothing is drawn."""
    return [_lap(make, Motion(make_course(name, seed), seed), Lap(name, seed), Conditions()) for name, seed in laps]


def summary(laps: Sequence[Lap]) -> dict[str, dict[str, Any]]:
    """The metrics of closed-loop driving, each with what it was measured on."""
    deviation = np.abs(np.concatenate([lap.deviation_m for lap in laps]))
    collisions = sum(lap.collisions for lap in laps)
    helped = collisions + sum(lap.stuck for lap in laps)
    elapsed, metres = sum(lap.elapsed_s for lap in laps), sum(lap.distance_m for lap in laps)
    values = {
        "laps_without_collision": float(sum(lap.done and not lap.collisions for lap in laps)),
        "laps_without_help": float(sum(lap.done and not lap.collisions and not lap.stuck for lap in laps)),
        "collisions": float(collisions),
        "stuck": float(helped - collisions),
        # With no collision at all this is the distance that was driven, a lower bound.
        "km_per_collision": metres / 1000 / max(1, collisions),
        "autonomy": max(0.0, 1 - helped * INTERVENTION_S / elapsed),
        "speed_mps": metres / elapsed,
        "deviation_median_m": float(np.median(deviation)),
        "deviation_p95_m": float(np.percentile(deviation, 95)),
    }
    data = f"simulator, {len(laps)} lap{'s' * (len(laps) != 1)} of unseen courses, {metres:.0f} m"
    return {name: {"value": value, "data": data, "n": len(laps)} for name, value in values.items()}


def by_network(run: Run, manifest: Manifest) -> MakeDriver:
    """The network's own word: its steering, and speed 1 - collision probability as in DroNet."""
    task = NavigateTask(manifest)

    def drive_by(simulator: Motion) -> tuple[float, float]:
        command = Command.of(_look(task, run, simulator)[1])
        return command.steer, command.speed

    return lambda _: drive_by


def by_pilot(run: Run, manifest: Manifest) -> MakeDriver:
    """The pilot on its map, from what the network sees, as `helmsight camera --follow` drives."""
    task = NavigateTask(manifest)

    def make(simulator: Motion) -> Driver:
        assert isinstance(simulator, Simulator)
        mapper = Mapper(simulator.geometry)
        pilot = Pilot(mapper)

        def drive_by(simulator: Motion) -> tuple[float, float]:
            frame, drive = _look(task, run, simulator)
            mapper.update(frame, drive, pilot.expected(simulator.time_s))
            command = pilot.command(drive, simulator.time_s)
            return (0.0, 0.0) if isinstance(command, Stop) else (command.steer, command.speed)

        return drive_by

    return make


def with_map(_: Motion) -> Driver:
    """The expert: what can be reached."""
    return lambda robot: (expert.steer(robot.course, robot.pose, robot.nearest), expert.speed(robot.course, robot.pose))


def straight_on(_: Motion) -> Driver:
    """Never steers: what is worth nothing."""
    return lambda _: (0.0, 1.0)


BASELINES: Mapping[str, MakeDriver] = {"expert": with_map, "straight_on": straight_on}
"""Drivers that need no picture, to read the figures of a network by."""


class Wheel:
    """A driver whose frames get lost and whose commands are late, as the conditions say."""

    def __init__(self, driver: Driver, conditions: Conditions) -> None:
        self._driver, self._drop_every = driver, conditions.drop_every
        whole, self._rest_s = divmod(conditions.late_ms / 1000 + 1e-9, PERIOD_S)
        self._waiting = deque([(0.0, 0.0)] * (round(whole) + 1))
        self._frames, self._command = 0, (0.0, 0.0)

    def step(self, robot: Motion) -> None:
        """One period: a look, unless the frame is lost, and what was commanded by then."""
        self._frames += 1
        if not (self._drop_every and self._frames % self._drop_every == 0):
            self._command = self._driver(robot)
        self._waiting.append(self._command)
        before = self._waiting.popleft()
        if self._rest_s > 1e-6:
            robot.step(*before, self._rest_s)
        if not robot.collided:
            robot.step(*self._waiting[0], PERIOD_S - self._rest_s)


def _look(task: NavigateTask, run: Run, simulator: Motion) -> tuple[Frame, Drive]:
    assert isinstance(simulator, Simulator)
    frame = Frame(simulator.render(FRAME_HW), round(simulator.time_s / PERIOD_S), perf_counter_ns())
    return frame, task.decode(dict(run(task.prepare(frame.image))), FRAME_HW)


def _seen_lap(make: MakeDriver, name: str, seed: int, conditions: Conditions) -> Lap:
    options = SimulatorOptions(pitch_offset_deg=conditions.pitch_offset_deg, light=conditions.light)
    with Simulator(make_course(name, seed), seed, options) as simulator:
        return _lap(make, simulator, Lap(name, seed), conditions)


def _lap(make: MakeDriver, robot: Motion, lap: Lap, conditions: Conditions) -> Lap:
    wheel = Wheel(make(robot), conditions)
    best, since, limit = 0.0, 0.0, SLOWEST * robot.course.length_m / MAX_SPEED_MPS
    while not robot.lap_done and lap.elapsed_s < limit:
        wheel.step(robot)
        lap.elapsed_s += PERIOD_S
        lap.deviation_m.append(robot.lateral_deviation_m)
        lap.poses.append(robot.pose)
        if robot.progress_m > best + 0.1:
            best, since = robot.progress_m, lap.elapsed_s
        stuck = lap.elapsed_s - since > STUCK_S
        if robot.collided or stuck:
            lap.collisions += robot.collided
            lap.stuck += not robot.collided
            # Half a metre beyond the farthest point: one that turned back would else do so for ever.
            best, since = best + 0.5, lap.elapsed_s
            robot.put_back(best)
            wheel = Wheel(make(robot), conditions)
    lap.distance_m, lap.done = robot.progress_m, robot.lap_done
    return lap
