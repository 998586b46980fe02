"""The remembered way, from looks at a floor that is drawn here."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("cv2", reason="opencv-python is not installed")

from helmsight.runtime.driving.pilot import Pilot
from helmsight.runtime.driving.way import Way
from helmsight.runtime.mapping.geometry import FloorView, Points, Pose, pursuit_curvature
from helmsight.runtime.results import Command, Drive, Floats
from helmsight.runtime.sources import CameraGeometry

from .test_local import grid_with
from .test_pilot import Known

VIEW = FloorView(CameraGeometry(fov_y_deg=80, height_m=0.3, pitch_deg=5), (240, 320), (48, 64))
FAR = np.arange(0, 3, 0.05)
BEND = np.vstack([np.stack([FAR[:40], np.zeros(40)], 1), np.stack([np.full(60, 2.0), -FAR], 1)])
"""Two metres straight on, then to the right."""
BACK = np.arange(-2, 0, 0.1)
NOWHERE = np.empty((0, 2))
NO_LINE = np.full((1, 2), 99.0)


def look(pose: Pose, line: Points) -> tuple[Floats, Floats]:
    """The way and the floor as seen from `pose` where all is floor, and the way within 0.25 m of `line` (n, 2)."""
    height, width = VIEW.raster_hw
    columns, rows = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    floor = pose.to_world(VIEW.to_floor(np.stack([columns.ravel(), rows.ravel()], 1)))
    free = np.isfinite(floor).all(1)
    near = np.hypot(*(floor[:, None] - line).transpose(2, 0, 1)).min(1) < 0.25
    return near.reshape(height, width).astype(np.float32), free.reshape(height, width).astype(np.float32)


def seen(way: Way, poses: list[Pose], line: Points = BEND) -> float:
    """Add a look from each, ten a second; the time of the last."""
    for step, pose in enumerate(poses):
        way.add(*look(pose, line), VIEW, pose, step / 10)
    return (len(poses) - 1) / 10


def test_it_steers_to_the_middle_of_the_way_before_it() -> None:
    way = Way()
    seen(way, [Pose(0.0, 0.1, 0.2)] * 10)
    aim = way.aim(Pose(0.0, 0.1, 0.2), NOWHERE)
    assert aim is not None
    assert Pose(0.0, 0.1, 0.2).to_world(np.array([aim])) == pytest.approx(np.array([[0.7, 0.0]]), abs=0.05)


def test_a_turn_is_known_when_it_has_left_the_picture() -> None:
    way = Way()
    driven = [Pose(0.06 * step) for step in range(30)]
    end_s = seen(way, driven)
    for step in range(20):  # straight on into the corner, where the network sees no way any more
        here = Pose(1.8 + 0.03 * step)
        way.add(*look(here, NO_LINE), VIEW, here, end_s + step / 10)
    aim = way.aim(here, np.array([(pose.x_m, pose.y_m) for pose in driven]))
    assert aim is not None
    assert math.degrees(math.atan2(aim[1], aim[0])) < -80
    assert way.path[-1, 1] < -1


def test_where_it_came_from_is_no_way_on() -> None:
    way = Way()
    straight = BEND[:40]
    end_s = seen(way, [Pose(0.06 * step) for step in range(20)], straight)
    back = Pose(1.9, 0.0, math.pi)
    for step in range(10):
        way.add(*look(back, straight), VIEW, back, end_s + step / 10)
    assert way.aim(back, np.stack([np.arange(0, 1.9, 0.18), np.zeros(11)], 1)) is None


def test_where_the_way_forks_it_goes_on_as_it_began() -> None:
    """Both arms are seen now and then; the one that is the longer for a moment does not turn it around."""
    way = Way()
    stem = np.stack([FAR[:20], np.zeros(20)], 1)
    left, right = (np.vstack([stem, np.stack([np.full(40, 1.0), side * FAR[:40]], 1)]) for side in (1, -1))
    poses = [Pose(0.02 * step) for step in range(20)]
    end_s = seen(way, poses, left)
    driven = np.array([(pose.x_m, pose.y_m) for pose in poses])
    here = poses[-1]
    assert way.aim(here, driven) is not None
    assert way.path[-1, 1] > 0.3
    turned = Pose(here.x_m, 0.0, -0.6)
    for step in range(6):
        way.add(*look(turned, right), VIEW, turned, end_s + step / 10)
    assert way.aim(here, driven) is not None
    assert way.path[-1, 1] > 0.3


def strip(*boxes: tuple[float, float, float, float]) -> Way:
    """What is remembered around the origin: way in boxes x0, y0, x1, y1 in metres, and nowhere else."""
    way = Way()
    nowhere, floor = look(Pose(), NO_LINE)
    way.add(nowhere, floor * 0, VIEW, Pose(), 0.0)
    for box in boxes:
        _lay(way, box)
    return way


def _lay(way: Way, box: tuple[float, float, float, float]) -> None:
    places = way._places(np.indices(way._evidence.shape).reshape(2, -1).T)
    inside = (places >= box[:2]).all(1) & (places <= box[2:]).all(1)
    way._evidence[inside.reshape(way._evidence.shape)] = 1


def test_an_edge_of_the_way_beside_its_own_path_is_no_way_on() -> None:
    """It drove around something, so that some of the strip behind it is farther from its path than the rest."""
    way = strip((-2, -0.3, 0.9, 0.2))
    bulge = np.where(np.abs(BACK + 1) < 0.6, 0.4, 0.0)
    assert way.aim(Pose(-1.6), NOWHERE) is not None
    aim = way.aim(Pose(), np.stack([BACK, bulge], 1))
    assert aim is not None
    assert aim[0] > 0.3


def test_a_rest_of_the_way_at_its_feet_does_not_hide_the_next() -> None:
    """Though it is the larger piece: it leads nowhere."""
    way = strip((-0.2, -0.2, 0.2, 0.2), (-0.1, 0.7, 0.1, 1.4))
    aim = way.aim(Pose(), NOWHERE)
    assert aim is not None
    assert aim[1] > 0.3


def test_of_two_pieces_it_goes_on_with_the_one_that_it_went_to_though_the_other_grows() -> None:
    way = strip((-1, -0.2, 1.5, 0.2))
    driven = np.stack([BACK, np.zeros(len(BACK))], 1)
    assert way.aim(Pose(), driven) is not None
    _lay(way, (0.3, 0.6, 1.5, 3))
    assert way.aim(Pose(), driven) is not None
    assert way.path[-1] == pytest.approx((1.4, 0), abs=0.3)


def test_with_no_end_yet_it_goes_the_farthest_way() -> None:
    way = strip((0, -0.2, 2.6, 0.2), (0.8, 0.2, 1.2, 1.8))
    assert way.aim(Pose(), NOWHERE) is not None
    assert way.path[-1] == pytest.approx((2.6, 0), abs=0.3)


@pytest.mark.parametrize(("end_m", "pause_s"), [(-0.5, 0.1), (-3.5, 5.0)], ids=["passed", "old"])
def test_an_end_that_it_has_passed_or_that_is_old_does_not_draw_it_back(end_m: float, pause_s: float) -> None:
    way = strip((-1.5, -0.9, 2, -0.5))
    way._end = (np.array([end_m, 0.0]), 0.0)
    nowhere, floor = look(Pose(), NO_LINE)
    way.add(nowhere, floor * 0, VIEW, Pose(), pause_s)
    assert way.aim(Pose(), np.stack([BACK, np.zeros(len(BACK))], 1)) is not None
    assert way.path[-1, 0] > 1.5


def test_standing_still_it_knows_the_way_before_it() -> None:
    way, stood = Way(), Pose(0.9)
    end_s = seen(way, [*(Pose(0.03 * step) for step in range(30)), *[stood] * 30], BEND[:30])
    assert end_s > 5
    driven = np.vstack([np.stack([np.arange(0, 0.9, 0.09), np.zeros(10)], 1), np.tile((0.9, 0.0), (10, 1))])
    aim = way.aim(stood, driven)
    assert aim is not None
    assert 0.3 < aim[0] < 0.8


def test_one_wrong_second_does_not_outweigh_what_was_seen_before() -> None:
    way = Way()
    end_s = seen(way, [Pose(0.03 * step) for step in range(30)])
    pose, wrong = Pose(0.9), BEND * (1, -1)
    for step in range(5):
        way.add(*look(pose, wrong), VIEW, pose, end_s + step / 10)
    assert way.aim(pose, NOWHERE) is not None
    assert way.path[-1, 1] < -0.5


def test_it_forgets() -> None:
    way = Way()
    end_s = seen(way, [Pose()] * 10)
    nowhere, floor = look(Pose(), NO_LINE)
    way.add(nowhere, floor * 0, VIEW, Pose(), end_s + 5)
    assert way.aim(Pose(), NOWHERE) is not None, "what is no floor says nothing"
    way.add(nowhere, floor * 0, VIEW, Pose(), end_s + 60)
    assert way.aim(Pose(), NOWHERE) is None
    seen(way, [Pose()] * 10)
    for place in (Pose(20.0), Pose()):
        way.add(nowhere, floor * 0, VIEW, place, 1.0)
    assert way.aim(Pose(), NOWHERE) is None, "what was out of reach is gone"
    assert not len(way.path)


def test_the_pilot_follows_it_whatever_the_steering_says() -> None:
    mapper = Known(view=VIEW)
    pilot = Pilot(mapper)
    for step in range(90):
        way, floor = look(mapper.pose, BEND)
        mapper.drive = Drive(0.0, 0.0, floor, way)
        command = pilot.command(mapper.drive, step / 10)
        assert isinstance(command, Command)
        turn, ahead = command.steer * 0.16, command.speed * 0.06
        mapper.pose = mapper.pose.then(Pose(ahead * math.cos(turn / 2), ahead * math.sin(turn / 2), turn))
        cut_m = np.hypot(*(BEND - (mapper.pose.x_m, mapper.pose.y_m)).T).min()
        assert cut_m < 0.35, "half of what it looks ahead, for the corner is sharp"
        if mapper.pose.y_m < -2:
            return
    pytest.fail(f"it came as far as {mapper.pose}")


def before_a_wall() -> tuple[Known, Pilot, Drive]:
    """Where the way that it remembers goes on behind what it stands before, and a look that shows nothing."""
    mapper = Known(grid_with((0.25, -3, 0.4, 3)), view=VIEW)
    pilot = Pilot(mapper)
    seen(pilot.way, [Pose()] * 20, BEND[:40])
    nowhere, floor = look(mapper.pose, NO_LINE)
    mapper.drive = Drive(0.0, 0.0, floor * 0, nowhere)
    return mapper, pilot, mapper.drive


def test_a_turn_away_from_what_stands_is_not_turned_back_by_the_way() -> None:
    mapper, pilot, drive = before_a_wall()
    first = pilot.command(drive, 2.0)
    assert isinstance(first, Command)
    assert first.speed == 0
    seen(pilot.way, [Pose()] * 60, np.stack([0.2 + FAR / 4, -first.steer * FAR], 1))
    for step in range(1, 6):
        mapper.pose = Pose(yaw_rad=0.16 * first.steer * step)
        assert pilot.command(drive, 6 + step / 10) == first
        assert pilot.way.path[-1, 1] * first.steer < -0.3


def test_from_where_it_had_to_turn_it_drives_before_it_turns_to_the_way() -> None:
    mapper, pilot, drive = before_a_wall()
    drove_m, away, turned_back = 0.0, 0.0, False
    for step in range(60):
        command = pilot.command(drive, 2.0 + step / 10)
        assert isinstance(command, Command)
        away = away or command.steer
        turned_back = command.speed == 0 and command.steer == -away
        if turned_back:
            break
        drove_m += command.speed * 0.06
        turn = command.steer * 0.16
        mapper.pose = mapper.pose.then(Pose(command.speed * 0.06 * math.cos(turn / 2), 0.0, turn))
    assert drove_m > 0.4
    assert turned_back, "then it tries the way again"


def test_a_circle_leads_through_the_point_that_is_pursued() -> None:
    for x, y in ((0.5, 0.3), (0.6, -0.4), (1.0, 0.0)):
        curvature = pursuit_curvature(math.atan2(y, x), math.hypot(x, y))
        # All points of a circle that leaves ahead have x² + y² = 2 y / curvature.
        assert curvature * (x**2 + y**2) == pytest.approx(2 * y)
    assert pursuit_curvature(1.0, 0.1) == pursuit_curvature(1.0, 0.3)
