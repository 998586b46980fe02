import math

import numpy as np
import pytest

from helmsight.devices.errors import UsageError
from helmsight.runtime.mapping.geometry import FloorView, Pose, wrapped
from helmsight.runtime.sources import CameraGeometry

LEVEL = CameraGeometry(fov_y_deg=90.0, height_m=0.5)
TILTED = CameraGeometry(fov_y_deg=75.0, height_m=0.4, pitch_deg=10.0)


def test_level_camera_sees_its_own_height_ahead_at_45_degrees():
    # With 90 degrees over 101 rows the focal length is 50.5 rows, so the ray 45 degrees down is at 50 + 50.5.
    view = FloorView(LEVEL, (101, 201))
    assert view.to_floor(np.array([[100.0, 100.5]])) == pytest.approx(np.array([[0.5, 0.0]]))
    assert view.to_floor(np.array([[49.5, 100.5]])) == pytest.approx(np.array([[0.5, 0.5]]))  # left is positive
    assert view.horizon_row == 50.0


def test_pitch_is_downwards():
    centre = np.array([[99.5, 99.5]])
    depth = FloorView(CameraGeometry(60.0, 1.0, 30.0), (200, 200)).to_floor(centre)[0, 0]
    assert depth == pytest.approx(1 / math.tan(math.radians(30)))


@pytest.mark.parametrize("geometry", [LEVEL, TILTED, CameraGeometry(50.0, 1.2, 60.0), CameraGeometry(90.0, 0.3, -5.0)])
def test_floor_and_pixels_are_inverse(geometry):
    view = FloorView(geometry, (240, 320))
    points = np.random.default_rng(0).uniform((0.8, -2.0), (5.0, 2.0), (50, 2))
    assert view.to_floor(view.to_pixels(points)) == pytest.approx(points)


def test_nothing_at_or_above_the_horizon_and_nothing_behind():
    view = FloorView(TILTED, (240, 320))
    assert np.isnan(view.to_floor(np.array([[160.0, view.horizon_row - 1]]))).all()
    assert np.isnan(view.to_pixels(np.array([[-1.0, 0.0]]))).all()
    assert view.row_depth_m(np.array([view.horizon_row - 1]))[0] == math.inf


def test_row_depth_is_the_floor_point_of_the_middle():
    view = FloorView(TILTED, (241, 321))
    rows = np.arange(100.0, 241.0)
    points = view.to_floor(np.stack([np.full_like(rows, 160.0), rows], axis=1))
    assert view.row_depth_m(rows) == pytest.approx(points[:, 0])


def test_a_raster_of_another_aspect_covers_the_same_frame():
    frame, grid = FloorView(TILTED, (360, 640)), FloorView(TILTED, (360, 640), (36, 48))
    cell = np.array([[40.0, 30.0]])
    pixel = (cell + 0.5) * (640 / 48, 360 / 36) - 0.5
    assert grid.to_floor(cell) == pytest.approx(frame.to_floor(pixel))


@pytest.mark.parametrize("geometry", [LEVEL, TILTED, CameraGeometry(90.0, 0.3, -5.0)])
def test_what_stands_upright_is_seen_where_it_is(geometry):
    view = FloorView(geometry, (240, 320))
    points = np.random.default_rng(1).uniform((0.8, -2.0, 0.0), (5.0, 2.0, 1.5), (50, 3))
    across, down, third = view.projection @ np.hstack([points, np.ones((50, 1))]).T
    pixels = np.stack([across, down], axis=1) / third[:, None]
    assert view.upright(pixels, points[:, 0]) == pytest.approx(points)
    flat = points * (1, 1, 0)
    assert view.upright(view.to_pixels(flat[:, :2]), flat[:, 0]) == pytest.approx(flat)


def test_how_pixels_move_with_what_they_show():
    view, points = FloorView(TILTED, (240, 320)), np.array([[1.0, 0.3, 0.0], [2.5, -0.8, 0.6]])

    def pixels(x_m, y_m, yaw_rad):
        moved = np.hstack([Pose(x_m, y_m, yaw_rad).to_world(points[:, :2]), points[:, 2:], np.ones((2, 1))])
        across, down, third = view.projection @ moved.T
        return np.stack([across, down], axis=1) / third[:, None]

    steps = np.eye(3) * 1e-5
    derived = np.stack([(pixels(*step) - pixels(*-step)) / 2e-5 for step in steps], axis=2)
    np.testing.assert_allclose(view.pixel_by_motion(points), derived, rtol=1e-5, atol=1e-5)


def test_poses_compose_and_invert():
    pose = Pose(1.0, 2.0, math.pi / 2).then(Pose(1.0, 0.5, math.pi))
    assert (pose.x_m, pose.y_m) == pytest.approx((0.5, 3.0))
    assert pose.yaw_rad == pytest.approx(-math.pi / 2)
    back = pose.then(pose.inverse())
    assert (back.x_m, back.y_m, back.yaw_rad) == pytest.approx((0, 0, 0))
    assert Pose(1.0, 2.0, math.pi / 2).to_world(np.array([[1.0, 0.5]])) == pytest.approx(np.array([[0.5, 3.0]]))


@pytest.mark.parametrize(
    ("geometry", "what"),
    [
        (CameraGeometry(0.0, 0.5), "field of view is 0.0"),
        (CameraGeometry(180.0, 0.5), "field of view is 180.0"),
        (CameraGeometry(60.0, 0.0), "height is 0.0"),
        (CameraGeometry(60.0, math.nan), "height is nan"),
        (CameraGeometry(60.0, 0.5, -30.0), "sees no floor"),
        (CameraGeometry(60.0, 0.5, 95.0), "pitch of 95.0"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(geometry, what):
    with pytest.raises(UsageError, match=what):
        FloorView(geometry, (240, 320))


def test_wrapped_angles_are_the_same_ones_within_half_a_turn():
    angles = np.array([0.0, 3.0, 3.5, -3.5, 100.0, -100.0, math.pi])
    found = wrapped(angles)
    assert (np.abs(found) <= math.pi).all()
    np.testing.assert_allclose(np.exp(1j * found), np.exp(1j * angles), atol=1e-12)
