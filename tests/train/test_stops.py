"""Boxes that drop into the way of drivers whose conduct is known."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from helmsight.devices.errors import MissingExtra, UsageError
from helmsight.runtime.sim.course import make_course
from helmsight.runtime.sim.motion import Motion
from helmsight.runtime.sim.robot import RADIUS_M
from helmsight.runtime.sim.simulator import Simulator
from helmsight.runtime.sim.world import free_ahead_m
from helmsight.train.navigate import stops
from helmsight.train.navigate.drive import Conditions, Driver, Wheel, straight_on


@pytest.fixture(scope="module", autouse=True)
def _graphics() -> None:
    try:
        Simulator(make_course("corridor", 1)).close()
    except MissingExtra as error:
        pytest.skip(str(error))


def careful(_: Motion) -> Driver:
    """Straight on, and stands half a metre before whatever is ahead."""

    def drive(robot: Motion) -> tuple[float, float]:
        here = np.array([robot.pose.x, robot.pose.y])
        return 0.0, float(free_ahead_m(here, robot.pose.heading_rad, RADIUS_M, robot.course.solids, 0.5) == 0.5)

    return drive


def test_who_looks_ahead_stops_and_who_does_not_hits_the_box() -> None:
    assert stops.stops(careful, 3, 14) == 3
    assert stops.stops(straight_on, 3, 14) == 0


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (Conditions(), [0.0, 0.1, 0.2, 0.3]),
        (Conditions(late_ms=200, drop_every=2), [None, None, 0.0, 0.0, 0.2, 0.2]),
        (Conditions(late_ms=50), [None, 0.0, 0.0, 0.1, 0.1, 0.2]),
        (Conditions(late_ms=130), [None, None, None, 0.0, 0.0, 0.1]),
    ],
)
def test_late_commands_and_lost_frames_count(conditions: Conditions, expected: list[float | None]) -> None:
    robot, told = Motion(make_course("corridor", 14), 14), []

    def driver(robot: Motion) -> tuple[float, float]:
        return robot.time_s, 1.0

    wheel, step = Wheel(driver, conditions), robot.step

    def listen(steer: float, speed: float, seconds: float) -> None:
        told.append((steer, speed, seconds))
        step(0.0, 0.0, seconds)

    robot.step = listen  # type: ignore[method-assign]
    for _ in range(6):
        wheel.step(robot)
    assert robot.time_s == pytest.approx(0.6)
    halves = [seconds for _, _, seconds in told]
    if conditions.late_ms % 100:
        assert halves[:2] == pytest.approx([conditions.late_ms % 100 / 1000, 0.1 - conditions.late_ms % 100 / 1000])
    for (steer, speed, _), wanted in zip(told, expected, strict=False):
        assert (steer, speed) == pytest.approx((0.0, 0.0) if wanted is None else (wanted, 1.0))


def test_too_few_places_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "COURSES", 1)
    with pytest.raises(UsageError, match=r"--boxes 60: only \d of 1 courses' places serve"):
        stops.stops(careful, 60, 14)


@pytest.mark.slow
def test_the_command_has_it_beside_the_laps_or_alone() -> None:
    command = [sys.executable, "-m", "helmsight", "evaluate", "navigate", "--courses", "0", "--boxes", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (metric,) = json.loads(done.stdout)["metrics"].items()
    assert metric[0] == "stops_before_a_box"
    assert metric[1]["n"] == 2
    assert 0 <= metric[1]["value"] <= 2
