"""Looks to both sides where no way is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("cv2", reason="opencv-python is not installed")

from helmsight.runtime.driving.glance import Glance, GlanceOptions
from helmsight.runtime.driving.pilot import Pilot
from helmsight.runtime.mapping.geometry import Pose
from helmsight.runtime.results import Command, Drive

from .test_local import grid_with
from .test_pilot import Known
from .test_way import NO_LINE, VIEW, look

FLOOR = np.ones((4, 10), np.float32)
NOTHING, A_FIFTH = FLOOR * 0, FLOOR * (np.arange(10) < 2)
OPTIONS = GlanceOptions()


def turned(glance: Glance, first: float, way_at: tuple[float, float] | None, start_s: float = 0.0) -> list[float]:
    """The headings through which it turns, in degrees, ten steps a second of 9 degrees; a look shows way between those
    of `way_at`."""
    off, passed = 0.0, []
    for step in range(100):
        seen = way_at is not None and way_at[0] < off < way_at[1]
        glance.add(Drive(0.0, 0.0, FLOOR, A_FIFTH if seen else NOTHING))
        side = glance.side(1.0 + math.radians(off), 1.0, 2.0, lambda: first, start_s + step / 10)
        if side is None:
            return passed
        off += 9 * side
        passed.append(off)
    pytest.fail("it turns for ever")


def test_it_looks_to_both_sides_and_no_farther() -> None:
    glance = Glance()
    passed = turned(glance, 1.0, None)
    farthest = math.degrees(OPTIONS.sweep_rad)
    assert farthest < max(passed) < farthest + 10
    assert -farthest - 10 < min(passed) < -farthest
    assert passed.index(max(passed)) < passed.index(min(passed)), "the side that it is told comes first"
    assert abs(passed[-1]) < math.degrees(OPTIONS.ahead_rad), "it looks straight on again"
    assert turned(Glance(), -1.0, None)[0] == -9
    assert glance.failed(len(passed) / 10 + 1)
    assert turned(glance, 1.0, None, len(passed) / 10 + 1) == [], "not again so soon"
    assert turned(glance, 1.0, None, len(passed) / 10 + OPTIONS.rest_s + 1) == passed


def test_it_stops_where_two_looks_show_a_way() -> None:
    glance = Glance()
    passed = turned(glance, -1.0, (50, 100))
    assert min(passed) < -100
    assert passed[-1] == 63, "54 is the first, 63 the second"
    assert not glance.failed(5)


def test_a_glimpse_ahead_is_followed_but_not_for_ever() -> None:
    glance = Glance()
    glance.leave(0.0)
    glance.add(Drive(0.0, 0.0, FLOOR, A_FIFTH))
    longest_s = OPTIONS.after_s + OPTIONS.glimpse_s
    assert glance.side(0.0, 0.0, 2.0, lambda: 1.0, longest_s - 0.1) is None
    assert glance.side(0.0, 0.0, 2.0, lambda: 1.0, longest_s + 0.1) == 1.0
    assert min(turned(Glance(), 1.0, (-15, 15))) < -100, "what was seen ahead is no find"


def test_it_does_not_look_where_the_floor_goes_on_or_a_way_was_known_just_now() -> None:
    glance = Glance()
    glance.add(Drive(0.0, 0.0, FLOOR, NOTHING))
    assert glance.side(0.0, 0.0, OPTIONS.open_m + 0.1, lambda: 1.0, 0.0) is None
    glance.leave(0.0)
    assert glance.side(0.0, 0.0, 1.0, lambda: 1.0, OPTIONS.after_s - 0.1) is None
    assert glance.side(0.0, 0.0, 1.0, lambda: 1.0, OPTIONS.after_s + 0.1) == 1.0


def test_without_floor_or_without_a_way_in_the_network_it_sees_none() -> None:
    glance = Glance()
    glance.add(Drive(0.0, 0.0, NOTHING, A_FIFTH))
    assert not glance.sees
    glance.add(Drive(0.0, 0.0, FLOOR))
    assert not glance.sees
    glance.add(Drive(0.0, 0.0, FLOOR, A_FIFTH))
    assert glance.sees


def test_the_pilot_looks_aside_once_from_a_standing_start_and_then_drives() -> None:
    mapper = Known(grid_with((2.0, -3, 2.2, 3)), view=VIEW)
    nowhere, floor = look(Pose(), NO_LINE)
    mapper.drive = Drive(0.0, 0.0, floor, nowhere)
    pilot, turned_rad = Pilot(mapper), 0.0
    for step in range(100):
        command = pilot.command(mapper.drive, step / 10)
        assert isinstance(command, Command)
        if command.speed > 0:
            break
        mapper.pose = mapper.pose.then(Pose(yaw_rad=0.16 * command.steer))
        turned_rad += 0.16 * abs(command.steer)
    assert math.radians(360) < turned_rad < math.radians(460), "105 degrees, 210, and back"
    assert abs(mapper.pose.yaw_rad) < 0.4


def test_the_pilot_turns_to_look_before_a_wall_and_without_way_drives_on() -> None:
    """The network steers straight on, a wall is two metres ahead, and it sees no way."""
    wall = grid_with((2.0, -3, 2.2, 3))
    nowhere, floor = look(Pose(), NO_LINE)
    for drive, turns in ((Drive(0.0, 0.0, floor, nowhere), True), (Drive(0.0, 0.0, floor), False)):
        mapper = Known(wall, view=VIEW, drive=drive)
        command = Pilot(mapper).command(drive, 1.0)
        assert isinstance(command, Command)
        assert (command.speed == 0) == turns
        assert (abs(command.steer) == 1) == turns
