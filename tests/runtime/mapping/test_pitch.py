import math
from dataclasses import replace

import numpy as np
import pytest

from helmsight.runtime.mapping.geometry import FloorView, Pose
from helmsight.runtime.mapping.mapper import Mapper, MapperOptions
from helmsight.runtime.mapping.pitch import PitchFilter, PitchOptions, pitch_step, pixel_by_pitch, tilted
from helmsight.runtime.sources import CameraGeometry

from .conftest import FRAME_HW, GEOMETRY, loop

pytest.importorskip("cv2")

UNSURE, AS_TOLD = PitchOptions(), PitchOptions(mount_rad=0.0)


def drive(room, off_deg, poses, options=UNSURE):
    """What a mapper makes of frames by a camera that looks `off_deg` farther down than it is told."""
    told = replace(GEOMETRY, pitch_deg=GEOMETRY.pitch_deg - off_deg)
    mapper = Mapper(told, MapperOptions(pitch=options))
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
    assert math.degrees(mapper.pitch.offset_rad) == pytest.approx(off_deg, abs=0.15)
    assert math.degrees(mapper.pitch.sigma_rad) < 0.2
    assert mapper.view.geometry.pitch_deg == pytest.approx(GEOMETRY.pitch_deg, abs=0.15)
    assert mapper.geometry.pitch_deg == GEOMETRY.pitch_deg - off_deg  # what was told stays what was told
    assert off_m(mapper, way) < 0.5 * off_m(drive(room, off_deg, way, AS_TOLD), way)


def test_a_mount_as_told_stays_as_told(lap):
    assert abs(math.degrees(lap.mapper.pitch.offset_rad)) < 0.1


def test_a_camera_that_hardly_moves_says_nothing_of_its_mount(room):
    mapper = drive(room, 2.0, [Pose(yaw_rad=0.0005 * i) for i in range(30)])
    assert mapper.pitch.offset_rad == 0
    assert mapper.pitch.sigma_rad == UNSURE.mount_rad


def test_it_goes_on_over_another_size_of_frame(room, way):
    told = replace(GEOMETRY, pitch_deg=GEOMETRY.pitch_deg - 2.0)
    mapper = Mapper(told)
    for index, pose in enumerate(way[:60]):
        hw = (240, 320) if index < 40 else (480, 640)
        mapper.update(room.frame(index, pose, hw), room.drive(pose, hw))
        if index == 40:
            assert math.degrees(mapper.pitch.offset_rad) > 1
    assert math.degrees(mapper.pitch.offset_rad) == pytest.approx(2.0, abs=0.3)


def test_taken_as_told_where_the_mount_is_sure(room, way):
    mapper = drive(room, 2.0, way[:40], AS_TOLD)
    assert mapper.pitch.offset_rad == 0
    assert mapper.view.geometry == mapper.geometry


def settled():
    known = PitchFilter()
    for _ in range(30):
        known.add(0.0, 1e7)
    assert math.degrees(known.sigma_rad) < 0.2
    return known


def test_steps_are_weighed_by_what_they_know_and_bounded():
    unsure = PitchFilter()
    unsure.add(0.01, 0.0)
    assert unsure.offset_rad == 0
    unsure.add(0.01, 1.0)
    assert 0 < unsure.offset_rad < 1e-4
    for _ in range(50):
        unsure.add(1.0, 1e9)
    assert unsure.offset_rad == unsure.options.most_rad


def test_one_bad_pair_is_half_believed_and_then_the_pitch_is_not_known():
    known = settled()
    known.add(math.radians(5), 1e7)
    assert math.degrees(known.offset_rad) < 1.1
    assert math.degrees(known.sigma_rad) > 0.5
    for _ in range(10):
        known.add(-known.offset_rad, 1e7)
    assert abs(math.degrees(known.offset_rad)) < 0.1


def test_a_mount_that_is_knocked_is_found_again():
    known, true_rad = settled(), math.radians(2)
    for _ in range(30):
        known.add(0.5 * (true_rad - known.offset_rad), 1e7)
    assert math.degrees(known.offset_rad) == pytest.approx(2, abs=0.2)


def test_it_is_not_sought_for_ever():
    unsure = PitchFilter()
    for _ in range(PitchOptions().most_pairs):
        assert unsure.seeking
        unsure.add(0.0, 0.0)
    assert not unsure.seeking


@pytest.mark.parametrize(("pitch_deg", "by_deg"), [(86.0, 6.0), (-29.5, -6.0)])
def test_a_camera_is_never_believed_to_see_no_floor(pitch_deg, by_deg):
    view = FloorView(CameraGeometry(60.0, 0.5, pitch_deg), FRAME_HW)
    other = tilted(view, math.radians(by_deg))
    assert np.isfinite(other.to_floor(np.array([[160.0, 239.0]]))).all()


def test_the_derivative_is_how_pixels_move_when_the_camera_tilts():
    view, pose = FloorView(GEOMETRY, FRAME_HW), Pose(-0.2, 0.05, 0.1)
    pixels = np.array([[40.0, 200.0], [160.0, 150.0], [250.0, 120.0]])
    by_pitch = pixel_by_pitch(view, view.to_floor(pixels), pose)

    def seen(by_deg):
        """By the cameras' own matrices: the floor that these pixels show, moved, and looked at."""
        camera = FloorView(replace(GEOMETRY, pitch_deg=GEOMETRY.pitch_deg + by_deg), FRAME_HW)
        flat = camera.projection[:, [0, 1, 3]]
        x, y, third = np.linalg.solve(flat, np.vstack([pixels.T, np.ones(3)]))
        moved = pose.to_world(np.stack([x, y], axis=1) / third[:, None])
        across, down, third = flat @ np.vstack([moved.T, np.ones(3)])
        return np.stack([across, down], axis=1) / third[:, None]

    np.testing.assert_allclose(by_pitch, (seen(0.5) - seen(-0.5)) / math.radians(1), rtol=0.03)


def test_the_step_leaves_to_the_rest_what_the_rest_explains():
    random = np.random.default_rng(1)
    jacobian, by_pitch = random.normal(size=(200, 3)), random.normal(size=200)
    error = jacobian @ (1.0, -2.0, 0.5) - 0.03 * by_pitch
    step, information = pitch_step(by_pitch, jacobian, error, np.ones(200))
    assert step == pytest.approx(0.03)
    assert 150 < information < 250
    assert pitch_step(jacobian @ (1.0, 1.0, 1.0), jacobian, error, np.ones(200)) == (0.0, 0.0)
