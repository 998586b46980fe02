"""The remembered way, from looks at a floor that is drawn here."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("cv2", reason="opencv-python is not installed")

from helmsight.runtime.driving.way import Way, WayOptions
from helmsight.runtime.mapping.geometry import FloorView, Points, Pose
from helmsight.runtime.results import Drive
from helmsight.runtime.sources import CameraGeometry

VIEW = FloorView(CameraGeometry(fov_y_deg=80, height_m=0.3, pitch_deg=5), (240, 320), (48, 64))
FAR = np.arange(0, 3, 0.05)
BEND = np.vstack([np.stack([FAR[:40], np.zeros(40)], 1), np.stack([np.full(60, 2.0), -FAR], 1)])
"""Two metres straight on, then to the right."""
NOWHERE = np.empty((0, 2))


def look(pose: Pose, line: Points) -> Drive:
    """What a network says at `pose` where all is floor, and the way within 0.25 m of `line` (n, 2)."""
    height, width = VIEW.raster_hw
    columns, rows = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    floor = pose.to_world(VIEW.to_floor(np.stack([columns.ravel(), rows.ravel()], 1)))
    free = np.isfinite(floor).all(1)
    near = np.hypot(*(floor[:, None] - line).transpose(2, 0, 1)).min(1) < 0.25
    free, near = (mask.reshape(height, width).astype(np.float32) for mask in (free, near))
    return Drive(0.0, 0.0, free, near)


def seen(way: Way, poses: list[Pose], line: Points = BEND) -> float:
    """Add a look from each, ten a second; the time of the last."""
    for step, pose in enumerate(poses):
        way.add(look(pose, line), VIEW, pose, step / 10)
    return (len(poses) - 1) / 10


def test_it_steers_to_the_middle_of_the_way_before_it() -> None:
    way = Way()
    seen(way, [Pose(0.0, 0.1, 0.2)] * 10)
    aim = way.aim(Pose(0.0, 0.1, 0.2), NOWHERE)
    assert aim is not None
    assert Pose(0.0, 0.1, 0.2).to_world(np.array([aim])) == pytest.approx(np.array([[0.7, 0.0]]), abs=0.12)


def test_a_turn_is_known_when_it_has_left_the_picture() -> None:
    way = Way()
    came = [Pose(0.06 * step) for step in range(30)]
    end_s = seen(way, came)
    for step in range(20):  # straight on into the corner, where the network sees no way any more
        here = Pose(1.8 + 0.03 * step)
        way.add(look(here, np.full((1, 2), 99.0)), VIEW, here, end_s + step / 10)
    aim = way.aim(here, np.array([(pose.x_m, pose.y_m) for pose in came]))
    assert aim is not None
    assert math.degrees(math.atan2(aim[1], aim[0])) < -80
    assert way.path[-1, 1] < -1


def test_where_it_came_from_is_no_way_on() -> None:
    way = Way()
    straight = BEND[:40]
    end_s = seen(way, [Pose(0.06 * step) for step in range(20)], straight)
    back = Pose(1.9, 0.0, math.pi)
    for step in range(10):
        way.add(look(back, straight), VIEW, back, end_s + step / 10)
    assert way.aim(back, np.stack([np.arange(0, 1.9, 0.18), np.zeros(11)], 1)) is None


def test_one_wrong_second_does_not_outweigh_what_was_seen_before() -> None:
    way = Way()
    end_s = seen(way, [Pose(0.03 * step) for step in range(30)])
    pose, wrong = Pose(0.9), BEND * (1, -1)
    for step in range(5):
        way.add(look(pose, wrong), VIEW, pose, end_s + step / 10)
    assert way.aim(pose, NOWHERE) is not None
    assert way.path[-1, 1] < -0.5


def test_it_forgets() -> None:
    way = Way()
    end_s = seen(way, [Pose()] * 10)
    nothing = look(Pose(), BEND)
    way.add(Drive(0.0, 0.0, nothing.free_space * 0, nothing.way), VIEW, Pose(), end_s + 5)
    assert way.aim(Pose(), NOWHERE) is not None, "what is no floor says nothing"
    way.add(Drive(0.0, 0.0, nothing.free_space), VIEW, Pose(), end_s + 60)
    assert way.aim(Pose(), NOWHERE) is None
    seen(way, [Pose()] * 10)
    way.add(Drive(0.0, 0.0, nothing.free_space), VIEW, Pose(20.0), 1.0)
    way.add(Drive(0.0, 0.0, nothing.free_space), VIEW, Pose(), 1.1)
    assert way.aim(Pose(), NOWHERE) is None, "what was out of reach is gone"


def test_without_a_word_on_the_way_nothing_is_known() -> None:
    way = Way(WayOptions())
    way.add(Drive(0.0, 0.0, np.ones(VIEW.raster_hw, np.float32)), VIEW, Pose(), 0.0)
    assert way.aim(Pose(), NOWHERE) is None
    assert not len(way.path)
