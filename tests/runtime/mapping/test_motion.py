import pytest

from helmsight.runtime.mapping.geometry import Pose
from helmsight.runtime.mapping.mapper import Mapper
from helmsight.runtime.mapping.motion import Motion, fuse

SEEN = Motion(0.10, 0.00, 0.02, sigma_m=0.003, sigma_rad=0.004)
WHEELS = Motion(0.12, 0.01, 0.06, sigma_m=0.006, sigma_rad=0.002)


def test_the_surer_motion_weighs_more_by_the_square():
    both = fuse(Motion(0.0, 0.0, 0.0, 0.01, 0.02), Motion(0.0, 1e-9, 0.0, 0.02, 0.01))
    assert both.sigma_m == pytest.approx((1 / 0.01**2 + 1 / 0.02**2) ** -0.5, rel=0.01)
    both = fuse(SEEN, WHEELS)
    assert both.dx_m == pytest.approx(0.104, abs=0.001)
    assert 0.02 < both.dyaw_rad < 0.06
    assert both.sigma_m < SEEN.sigma_m * 1.1
    assert not both.lost


def test_one_that_is_lost_has_no_weight():
    lost = Motion(lost=True)
    assert fuse(SEEN, None) == fuse(SEEN, lost) == SEEN
    assert fuse(lost, WHEELS) == WHEELS
    assert fuse(lost, lost).lost


def blind(frame):
    frame.image[:] = 128
    return frame


def test_wheels_bridge_what_vision_loses(room):
    pytest.importorskip("cv2")
    alone, bridged = Mapper(room.geometry), Mapper(room.geometry)
    poses = [Pose(0.05 * i, 0.0, 0.03 * max(0, i - 6)) for i in range(16)]
    for index, pose in enumerate(poses):
        before = poses[max(0, index - 1)].inverse().then(pose)
        wheels = Motion(before.x_m, before.y_m, before.yaw_rad)
        frame = room.frame(index, pose, noise=1.0)
        if 6 <= index < 11:
            blind(frame)
        alone.update(frame, room.drive(pose))
        bridged.update(frame, room.drive(pose), wheels)
    assert alone.lost == bridged.lost > 4
    assert (alone.bridged, bridged.bridged) == (0, bridged.lost)
    assert bridged.pose.yaw_rad == pytest.approx(poses[-1].yaw_rad, abs=0.02)
    assert abs(alone.pose.yaw_rad - poses[-1].yaw_rad) > 0.05


def test_without_wheels_the_last_motion_goes_on_and_then_the_robot_stands(room):
    pytest.importorskip("cv2")
    mapper = Mapper(room.geometry)
    for index in range(3):
        mapper.update(room.frame(index, Pose(0.05 * index)), room.drive(Pose(0.05 * index)))
    places = []
    for index in range(3, 20):
        mapper.update(blind(room.frame(index, Pose())), room.drive(Pose()))
        places.append(mapper.pose.x_m)
    assert places[9] == pytest.approx(0.6, abs=0.02)
    assert places[-1] == places[9]
    assert mapper.lost == 17
