"""What of navigation's training needs the simulator: collecting and closed-loop driving."""

from __future__ import annotations

import numpy as np
import pytest

from helmsight.devices.errors import MissingExtra
from helmsight.runtime.sim.course import make_course
from helmsight.runtime.sim.robot import RADIUS_M
from helmsight.runtime.sim.simulator import Simulator
from helmsight.runtime.sim.world import clearance_m, polygon_segments
from helmsight.train.navigate import collect, drive
from helmsight.train.navigate.model import IMAGE_HW, MASK_HW

from ..bundles import navigate_manifest


@pytest.fixture(scope="module", autouse=True)
def _graphics():
    try:
        Simulator(make_course("corridor", 1)).close()
    except MissingExtra as error:
        pytest.skip(str(error))


def test_a_course_gives_the_same_labelled_frames_again(monkeypatch):
    monkeypatch.setattr(collect, "FRAMES_PER_COURSE", 20)
    first, again = (collect._collect_course((1001, 0, None)) for _ in range(2))
    frames = 20 + collect.THING_FRAMES
    assert len(first) == frames
    assert first.images.shape == (frames, *IMAGE_HW, 3)
    assert first.free.shape == first.way.shape == (frames, *MASK_HW)
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.steer, again.steer)
    assert first.collision.sum() >= 2
    assert 0.1 < first.free.mean() < 0.7
    assert 0.02 < first.way.mean() < first.free.mean()
    assert not (first.way & ~first.free).any()
    assert np.abs(first.steer).max() <= 1


def test_around_things_the_robot_stands_free_and_half_of_the_time_too_near():
    with Simulator(make_course("office", 1002), 0) as simulator:
        recorder, poses, near = collect._Recorder(simulator), [], []
        rng = np.random.default_rng(0)
        for wanted in range(1, 11):
            collect._look_at_things(recorder, rng, 1)
            assert len(recorder) == wanted
            assert not simulator.collided
            here = np.array([[simulator.pose.x, simulator.pose.y]])
            outlines = np.concatenate([polygon_segments(o.corners) for o in simulator.course.obstacles])
            near.append(clearance_m(here, outlines)[0])
            poses.append(simulator.pose)
        assert len(set(poses)) == 10
        assert max(near) < RADIUS_M + collect.THING_M + 1  # a thing's corner, seen from its longer side
        assert 2 <= recorder.frames().collision.sum() <= 9


@pytest.mark.slow
def test_workers_give_the_frames_in_the_order_of_the_seeds(monkeypatch):
    parts = list(collect.collect([1001, 1003], 0, None, workers=2))
    assert [len(p) for p in parts] == [collect.FRAMES_PER_COURSE + collect.THING_FRAMES] * 2
    assert not np.array_equal(parts[0].images[0], parts[1].images[0])


def test_the_map_drives_a_lap_and_straight_on_does_not():
    laps = [("corridor", 14)]
    good, bad = (drive.summary(drive.drive_blind(d, laps)) for d in (drive.with_map, drive.straight_on))
    assert good["laps_without_collision"]["value"] == 1
    assert good["autonomy"]["value"] == 1
    assert good["deviation_p95_m"]["value"] < 0.1
    assert bad["collisions"]["value"] > 5
    assert bad["autonomy"]["value"] < 0.5


def test_a_network_that_stands_still_is_helped_on(monkeypatch):
    """Collision probability 1 means speed 0: without help the lap would never end."""
    monkeypatch.setattr(drive, "FRAME_HW", (18, 24))
    outputs = {
        "steer": np.zeros((1, 1), np.float32),
        "collision": np.ones((1, 1), np.float32),
        "free_space": np.ones((1, *MASK_HW), np.float32),
    }
    make = drive.by_network(lambda feeds: outputs, navigate_manifest())
    (lap,) = drive.drive(make, [("corridor", 14)])
    assert lap.stuck > 3
    assert not lap.collisions


def test_laps_are_those_of_the_test_courses_or_from_a_seed_on():
    assert drive.laps_from(2001, 2) == [("corridor", 2001), ("office", 2002)]
    assert drive.laps_from(None, 4) == [("office", 4000), ("corridor", 4001), ("office", 4002), ("corridor", 4003)]
