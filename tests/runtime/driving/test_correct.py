"""What the pilot remembers goes along when a closed loop moves the map."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("cv2", reason="opencv-python is not installed")

from helmsight.runtime.driving.explorer import Explorer
from helmsight.runtime.driving.glance import Glance, GlanceOptions
from helmsight.runtime.driving.lately import Lately
from helmsight.runtime.driving.pilot import Pilot
from helmsight.runtime.driving.route import Route
from helmsight.runtime.driving.trail import Trail
from helmsight.runtime.driving.way import Way
from helmsight.runtime.mapping.geometry import Pose
from helmsight.runtime.results import Command, Drive

from .test_glance import NOTHING as NO_WAY
from .test_glance import turned
from .test_lately import BOX, NOTHING
from .test_local import grid_with
from .test_pilot import AHEAD, Known
from .test_way import BEND, VIEW, look, seen

BY = Pose(0.5, -0.3, 0.2)


def test_the_way() -> None:
    here, driven = Pose(1.2, 0.05, -0.1), np.stack([np.arange(0, 1, 0.1), np.zeros(10)], 1)
    way = Way()
    seen(way, [Pose(0.06 * step) for step in range(20)] + [here])
    before, ends = way.aim(here, driven), way.path[-1]
    way.correct(BY)
    assert before is not None
    assert way.aim(BY.then(here), BY.to_world(driven)) == pytest.approx(before, abs=way.options.cell_m)
    assert way.path[-1] == pytest.approx(BY.to_world(ends[None])[0], abs=0.15)


def test_where_it_goes_along_the_way() -> None:
    way = Way()
    way._end = (np.array([2.0, 1.0]), 0.0)
    way.correct(BY)
    end, _ = way._end
    assert end == pytest.approx(BY.to_world(np.array([[2.0, 1.0]]))[0])


def test_where_it_was() -> None:
    trail = Trail()
    for step in range(40):
        trail.add(Pose(0.05 * step, 0.01 * step, 0.2), step / 10)
    before, went = trail.visited(4.0), trail.travel_rad(Pose(2.0, 0.4))
    trail.correct(BY)
    after = trail.visited(4.0)
    assert after[:, :2] == pytest.approx(BY.to_world(before[:, :2]))
    assert after[:, 2] == pytest.approx(before[:, 2] + BY.yaw_rad)
    assert trail.travel_rad(BY.then(Pose(2.0, 0.4))) == pytest.approx(went + BY.yaw_rad)


def test_what_came_into_its_way() -> None:
    lately, grid = Lately(), grid_with()
    lately.add(grid, NOTHING, Pose(), 0.0)
    lately.add(grid, BOX, Pose(), 0.1)
    lately.correct(BY)
    wall = np.array([[1.0, 1.0]])
    assert lately.add(grid, wall, BY, 0.2) == pytest.approx(BY.to_world(BOX)), "the map before is no look before"


def test_how_far_it_has_looked_aside() -> None:
    expected = turned(Glance(), 1.0, None)
    glance, off, passed = Glance(), 0.0, []
    for step in range(100):
        moved_rad = 0.0 if step < 8 else BY.yaw_rad
        if step == 8:
            glance.correct(BY)
        glance.add(Drive(0.0, 0.0, np.ones_like(NO_WAY), NO_WAY))
        side = glance.side(1.0 + math.radians(off) + moved_rad, 1.0 + moved_rad, 2.0, lambda: 1.0, step / 10)
        if side is None:
            break
        off += 9 * side
        passed.append(off)
    assert max(expected) > math.degrees(GlanceOptions().sweep_rad)
    assert passed == expected


def test_where_it_explores() -> None:
    grid = grid_with((1.5, -3, 1.7, 3), (-1, 1, 1.5, 1.2))
    explorer = Explorer(0.17)
    explorer.seek(grid, Pose(), Trail(), 0.0, 0.0)
    assert explorer._aim is not None
    goal = np.array([explorer._aim[0].goal])
    explorer.correct(BY)
    assert explorer._aim[0].goal == pytest.approx(BY.to_world(goal)[0])
    assert explorer._aim[1] > 0


def test_the_pilot_commands_what_it_would_have() -> None:
    commands: list[Command] = []
    nowhere, floor = look(Pose(), BEND[:1] + 99)
    unseen = Drive(0.0, 0.0, floor * 0, nowhere)
    for by in (Pose(), BY):
        mapper = Known(view=VIEW)
        pilot = Pilot(mapper)
        for step in range(22):
            way, floor = look(mapper.pose, BEND)
            mapper.drive = Drive(0.0, 0.0, floor, way)
            pilot.command(mapper.drive, step / 10)
            mapper.pose = mapper.pose.then(Pose(0.06))
        mapper.pose, mapper.drive = by.then(mapper.pose), unseen
        mapper.corrections.append(by)
        for step in range(3):  # the third would be off if it were moved more than once
            command = pilot.command(unseen, 2.2 + step / 10)
        assert isinstance(command, Command)
        commands.append(command)
    assert commands[0].steer < -0.15
    assert commands[1].steer == pytest.approx(commands[0].steer, abs=0.1)


def test_a_goal_stays_and_the_way_to_it_is_found_anew() -> None:
    mapper, route = Known(), Route((2.0, 0.5))
    pilot = Pilot(mapper, route)
    pilot.command(AHEAD, 0.0)
    before = route._field
    pilot.command(AHEAD, 0.1)
    assert route._field is before, "it is not made anew for every look"
    mapper.pose = BY.then(mapper.pose)
    mapper.corrections.append(BY)
    pilot.command(AHEAD, 0.2)
    assert route._field is not before
    assert route.goal == (2.0, 0.5)
