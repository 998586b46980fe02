import math
from dataclasses import replace

import numpy as np
import pytest

from helmsight.runtime.mapping.geometry import FloorView, Pose
from helmsight.runtime.mapping.level import Level, LevelOptions, pitch_step, pixel_by_pitch, tilted
from helmsight.runtime.mapping.mapper import Mapper, MapperOptions

from .conftest import FRAME_HW, GEOMETRY, loop

pytest.importorskip("cv2")

UNSURE, AS_TOLD = LevelOptions(), LevelOptions(mount_rad=0.0)


def drive(room, off_deg, poses, level=UNSURE):
    """What a mapper makes of frames by a camera that looks `off_deg` farther down than it is told."""
    told = replace(GEOMETRY, pitch_deg=GEOMETRY.pitch_deg - off_deg)
    mapper = Mapper(told, MapperOptions(level=level))
    for index, pose in enumerate(poses):
        mapper.update(room.frame(index, pose), room.drive(pose))
    return mapper


def off_m(mapper, poses):
    return max(math.hypot(a.x_m - b.x_m, a.y_m - b.y_m) for a, b in zip(mapper.trajectory, poses, strict=True))


@pytest.fixture(scope="module")
def way():
    return loop(3.2, 2.6, 0.6, 0.06)[:80]


@pytest.mark.parametrize("off_deg", [-3.0, 2.0])
def test_a_mount_that_is_off_is_found_while_it_drives(room, way, off_deg):
    mapper = drive(room, off_deg, way)
    assert math.degrees(mapper.level.offset_rad) == pytest.approx(off_deg, abs=0.15)
    assert math.degrees(mapper.level.sigma_rad) < 0.2
    assert mapper.view.geometry.pitch_deg == pytest.approx(GEOMETRY.pitch_deg, abs=0.15)
    assert mapper.geometry.pitch_deg == GEOMETRY.pitch_deg - off_deg  # what was told stays what was told
    assert off_m(mapper, way) < 0.5 * off_m(drive(room, off_deg, way, AS_TOLD), way)


def test_a_mount_as_told_stays_as_told(lap):
    assert abs(math.degrees(lap.mapper.level.offset_rad)) < 0.1


@pytest.mark.parametrize("poses", [[Pose()] * 30, [Pose(yaw_rad=0.0005 * i) for i in range(30)]])
def test_a_camera_that_hardly_moves_says_nothing_of_its_mount(room, poses):
    mapper = drive(room, 2.0, poses)
    assert mapper.level.offset_rad == 0
    assert mapper.level.sigma_rad == UNSURE.mount_rad


def test_taken_as_told_where_the_mount_is_sure(room, way):
    mapper = drive(room, 2.0, way[:40], AS_TOLD)
    assert mapper.level.offset_rad == 0
    assert mapper.view.geometry == mapper.geometry


def test_steps_are_weighed_by_what_they_know_and_bounded():
    level = Level()
    level.add(0.01, 0.0)
    assert level.offset_rad == 0
    level.add(0.01, 1.0)
    assert 0 < level.offset_rad < 1e-4
    for _ in range(50):
        level.add(1.0, 1e9)
    assert level.offset_rad == level.options.most_rad


def test_the_derivative_is_how_pixels_move_when_the_camera_tilts():
    view, pose = FloorView(GEOMETRY, FRAME_HW), Pose(-0.2, 0.05, 0.1)
    pixels = np.array([[40.0, 200.0], [160.0, 150.0], [250.0, 120.0]])
    by_pitch = pixel_by_pitch(view, view.to_floor(pixels), pose)
    at = {}
    for by_rad in (-0.01, 0.01):
        other = tilted(view, by_rad)
        at[by_rad] = other.to_pixels(pose.to_world(other.to_floor(pixels)))
    np.testing.assert_allclose(by_pitch, (at[0.01] - at[-0.01]) / 0.02, rtol=0.03)


def test_the_step_leaves_to_the_rest_what_the_rest_explains():
    random = np.random.default_rng(1)
    jacobian, by_pitch = random.normal(size=(200, 3)), random.normal(size=200)
    error = jacobian @ (1.0, -2.0, 0.5) - 0.03 * by_pitch
    step, information = pitch_step(by_pitch, jacobian, error, np.ones(200))
    assert step == pytest.approx(0.03)
    assert 150 < information < 250
    assert pitch_step(jacobian @ (1.0, 1.0, 1.0), jacobian, error, np.ones(200)) == (0.0, 0.0)
