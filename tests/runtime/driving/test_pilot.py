"""The pilot on a map that is drawn here, and between a pipeline and its sinks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

pytest.importorskip("cv2", reason="opencv-python is not installed")

from helmsight.runtime.driving.pilot import Pilot
from helmsight.runtime.driving.piloted import PilotedSinks
from helmsight.runtime.driving.route import Route
from helmsight.runtime.mapping.geometry import FloorView, Points, Pose
from helmsight.runtime.mapping.grid import FloorEdge, OccupancyGrid
from helmsight.runtime.mapping.motion import Motion
from helmsight.runtime.results import Command, Drive, Frame, Reading, Result, Stop

from .test_local import grid_with

FREE = np.ones((36, 48), np.float32)
AHEAD = Drive(0.0, 0.0, FREE)


@dataclass
class Known:
    """A mapper whose map and pose are known."""

    grid: OccupancyGrid = field(default_factory=grid_with)
    pose: Pose = field(default_factory=Pose)
    stands: Points = field(default_factory=lambda: np.empty((0, 2)))
    edge: FloorEdge | None = None
    view: FloorView | None = None
    drive: Drive | None = None
    motion: Motion = field(default_factory=Motion)
    corrections: list[Pose] = field(default_factory=list)


@dataclass
class Source:
    live: bool = False
    fps: float = 10.0


def follow(mapper: Known, pilot: Pilot, seconds: float, start_s: float = 0.0) -> list[Command | Stop]:
    """Drive by the pilot's commands, ten a second."""
    commands = []
    for step in range(round(seconds * 10)):
        command = pilot.command(AHEAD, start_s + step / 10)
        commands.append(command)
        if isinstance(command, Command):
            turn = command.steer * 0.16
            way = command.speed * 0.06
            mapper.pose = mapper.pose.then(Pose(way * math.cos(turn / 2), way * math.sin(turn / 2), turn))
    return commands


def test_the_network_slows_the_pilot_down() -> None:
    pilot = Pilot(Known())
    speeds = [pilot.command(Drive(0.0, p, FREE), 0.1).speed for p in (0.0, 0.4, 0.75, 1.0)]
    assert speeds == pytest.approx([1, 1, 0.5, pilot.options.slowest])


def test_a_thing_beside_the_way_does_not_hold_the_pilot_for_ever() -> None:
    """The network's word is about straight on; where the map has a way around, the robot creeps on."""
    mapper = Known()
    pilot = Pilot(mapper)
    for step in range(30):
        command = pilot.command(Drive(0.0, 1.0, FREE), step / 10)
        assert isinstance(command, Command)
        mapper.pose = mapper.pose.then(Pose(command.speed * 0.06, 0, 0))
    assert 0.4 < mapper.pose.x_m < 0.6


def test_before_what_stands_it_stands_whatever_the_network_says() -> None:
    mapper = Known(grid_with((0.3, -3, 0.5, 3)))
    command = Pilot(mapper).command(AHEAD, 0.0)
    assert isinstance(command, Command)
    assert command.speed == 0


def test_where_the_way_ends_it_turns_to_the_opening_that_it_did_not_come_from() -> None:
    """A room with a door to the right, which a camera that looks ahead does not show."""
    room = ((0.9, -1.5, 1.1, 1.5), (-1.5, 1.2, 1.1, 1.4), (-1.5, -1.4, 0.0, -1.2))
    mapper = Known(grid_with(*room), Pose(-1.5, 0.0, 0.0))
    pilot = Pilot(mapper)
    follow(mapper, pilot, 8)
    assert mapper.pose.y_m < -1.2, mapper.pose


def test_turned_back_it_turns_again_and_goes_on_as_before() -> None:
    mapper = Known()
    pilot = Pilot(mapper)
    follow(mapper, pilot, 5)
    assert mapper.pose.x_m > 2
    mapper.pose = Pose(mapper.pose.x_m, mapper.pose.y_m, math.pi - 0.1)  # something pushed it round
    commands = follow(mapper, pilot, 8, 5)
    assert any(c.speed == 0 and abs(c.steer) == 1 for c in commands)
    assert abs(mapper.pose.yaw_rad) < math.radians(40)
    assert mapper.pose.x_m > 2.5


def test_where_the_way_it_came_is_the_only_one_it_may_go_back() -> None:
    mapper = Known(grid_with((1.6, -0.5, 1.8, 0.5), (-2, 0.35, 1.8, 0.5), (-2, -0.5, 1.8, -0.35)))
    follow(mapper, Pilot(mapper), 40)
    assert mapper.pose.x_m < 0


def test_it_drives_to_a_goal_around_what_is_in_the_way_and_stops_there() -> None:
    mapper = Known(grid_with((0.9, -1.5, 1.1, 0.6)))
    pilot = Pilot(mapper, Route((2.0, 0.0)))
    commands = follow(mapper, pilot, 15)
    assert pilot.arrived
    assert commands[-1] == Stop("goal 2,0 reached")
    assert math.hypot(mapper.pose.x_m - 2, mapper.pose.y_m) < 0.25


def test_with_the_goal_walled_off_it_stands_still_and_says_why() -> None:
    walls = (0.5, -0.7, 0.6, 0.7), (0.5, 0.6, 1.9, 0.7), (0.5, -0.7, 1.9, -0.6), (1.8, -0.7, 1.9, 0.7)
    command = Pilot(Known(grid_with(*walls)), Route((1.2, 0.0))).command(AHEAD, 0.0)
    assert isinstance(command, Stop)
    assert "goal 1.2,0: what stands around it or the robot leaves no way" in command.reason


def result(index: int, command: Command | Stop | None) -> Result:
    reading = Reading("navigate", AHEAD, index, 0, 1, {})
    return Result(Frame(np.zeros((4, 4, 3), np.uint8), index, 0), {"navigate": reading}, command)


def test_sinks_get_the_pilots_command_but_a_stop_stays() -> None:
    mapper, got, ended = Known(grid_with((0.25, -3, 0.4, 3))), [], []
    piloted = PilotedSinks(
        Pilot(mapper), lambda r, _: r.frame.index != 1, Source(), [got.append], lambda: ended.append(1)
    )
    for index, command in enumerate((Command(0.0, 1.0), Command(0.5, 1.0), Stop("too old"), None)):
        piloted(result(index, command))
    assert got[0].command.speed == 0
    assert abs(got[0].command.steer) == 1, "a wall ahead: it turns"
    assert got[1].command == Command(0.5, 1.0), "not on the map: what the network would do"
    assert got[2].command == Stop("too old")
    assert got[3].command is None
    assert not ended


def test_the_run_is_told_once_that_the_goal_is_reached() -> None:
    mapper, got, ended, stopped = Known(pose=Pose(1.0, 0.0, 0.0)), [], [], []
    pilot = Pilot(mapper, Route((1.1, 0.0)))
    piloted = PilotedSinks(
        pilot, lambda *_: True, Source(), [got.append], lambda: ended.append(1), lambda: stopped.append(1)
    )
    for index in range(3):
        piloted(result(index, Command(0.0, 1.0)))
    assert all(isinstance(r.command, Stop) for r in got)
    assert ended == [1]
    assert len(stopped) == 3, "each is counted"


def test_what_came_into_its_way_is_minded_when_it_is_out_of_sight() -> None:
    mapper = Known()
    pilot = Pilot(mapper)
    follow(mapper, pilot, 1)
    box = np.stack([np.full(13, 0.6), np.linspace(-0.3, 0.3, 13)], 1)
    there = mapper.pose.to_world(box)
    mapper.stands = box
    pilot.command(AHEAD, 1.0)
    mapper.stands = np.empty((0, 2))  # the map has nothing of it either
    nearest = []
    for step in range(20):
        follow(mapper, pilot, 0.1, 1.1 + step / 10)
        nearest.append(float(np.hypot(*(there - (mapper.pose.x_m, mapper.pose.y_m)).T).min()))
    assert min(nearest) > pilot.planner.robot.radius_m


def test_it_waits_before_what_comes_into_its_way_but_not_while_it_turns() -> None:
    """A thing that comes up to the robot on floor that was free, and moves."""
    mapper = Known()
    pilot = Pilot(mapper)
    speeds = [pilot.command(AHEAD, 0.0).speed]
    mapper.stands = np.stack([np.full(9, 0.3), np.linspace(-0.3, 0.3, 9)], 1)
    for step in range(1, 4):
        depth = np.roll(np.where(np.arange(8) < 4, 0.3, 2.0), step)
        mapper.edge = FloorEdge(depth, depth, np.zeros(8), np.ones(8, bool))
        command = pilot.command(AHEAD, step / 10)
        assert isinstance(command, Command)
        speeds.append(command.speed)
    assert speeds[0] > 0
    assert speeds[1:] == [0, 0, 0]
    assert pilot._patience.waiting
    pilot.overruled(Stop("the camera is gone"), 0.4)
    assert not pilot._patience.waiting
