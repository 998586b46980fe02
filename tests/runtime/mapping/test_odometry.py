import math

import numpy as np
import pytest

from helmsight.runtime.mapping.geometry import FloorView, Pose
from helmsight.runtime.mapping.mapper import Mapper, MapperOptions
from helmsight.runtime.mapping.motion import Motion
from helmsight.runtime.mapping.odometry import OdometryOptions
from helmsight.runtime.results import Drive

from .conftest import World

cv2 = pytest.importorskip("cv2")


def drive(world, poses, hw=(240, 320), wheels=()):
    mapper = Mapper(world.geometry)
    motions = []
    for index, pose in enumerate(poses):
        told = wheels[index] if wheels else None
        mapper.update(world.frame(index, pose, hw), world.drive(pose, hw), told)
        motions.append(mapper.motion)
    return mapper, motions


def distance(a, b):
    return math.hypot(a.x_m - b.x_m, a.y_m - b.y_m)


def test_drift_over_a_lap(lap):
    errors = [distance(a, b) for a, b in zip(lap.mapper.trajectory, lap.poses, strict=True)]
    assert lap.way_m > 10
    assert lap.mapper.lost == 0
    assert max(errors) < 0.01 * lap.way_m
    assert abs(math.degrees(lap.mapper.pose.yaw_rad - lap.poses[-1].yaw_rad)) < 2


def test_standing_still_adds_up_to_nothing(room):
    mapper, motions = drive(room, [Pose()] * 40)
    assert not any(m.lost for m in motions)
    assert distance(mapper.pose, Pose()) < 0.003
    assert abs(mapper.pose.yaw_rad) < 0.002


@pytest.mark.parametrize("hw", [(480, 640), (180, 320), (120, 160)])
def test_any_size_of_frame(room, hw):
    poses = [Pose()]
    for _ in range(24):  # arcs, as wheels make them
        poses.append(poses[-1].then(Pose(0.04 * math.cos(0.005), 0.04 * math.sin(0.005), 0.01)))
    mapper, _ = drive(room, poses, hw)
    assert mapper.lost == 0
    assert distance(mapper.pose, poses[-1]) < 0.03
    assert mapper.pose.yaw_rad == pytest.approx(poses[-1].yaw_rad, abs=0.02)


def test_turning_on_the_spot_and_backwards(room):
    poses = [Pose(0.0, 0.0, 0.05 * i) for i in range(20)] + [
        Pose(0.0, 0.0, 0.95).then(Pose(-0.03 * i)) for i in range(15)
    ]
    mapper, _ = drive(room, poses)
    assert mapper.lost == 0
    assert distance(mapper.pose, poses[-1]) < 0.03
    assert mapper.pose.yaw_rad == pytest.approx(0.95, abs=0.02)


def test_what_wheels_tell_is_where_the_search_begins(room):
    """A robot that turns with a jerk, 0.3 rad from one frame to the next: by what wheels tell, roughly, it is found."""
    turns = [0.0, 0.0, 0.3, 0.3, 0.0, -0.3, -0.3, 0.0]
    poses = [Pose(yaw_rad=sum(turns[: i + 1])) for i in range(len(turns))]
    rough = [Motion(0.0, 0.0, 0.8 * turn, 0.1, 0.1) for turn in turns]
    mapper, motions = drive(room, poses, wheels=rough)
    assert mapper.lost == 0
    assert [m.dyaw_rad for m in motions] == pytest.approx(turns, abs=0.02)


def test_wheels_that_slip_do_not_lead_astray(room):
    poses = [Pose(0.03 * i) for i in range(8)]
    mapper, motions = drive(room, poses, wheels=[Motion(0.03, 0.0, 0.16, 0.02, 0.1)] * 8)
    assert mapper.lost == 0
    assert [m.dyaw_rad for m in motions[1:]] == pytest.approx([0.0] * 7, abs=0.01)


def test_the_same_frames_give_the_same_path(room):
    poses = [Pose(0.05 * i) for i in range(10)]
    assert drive(room, poses)[0].trajectory == drive(room, poses)[0].trajectory


def test_a_jump_is_lost_and_following_goes_on(room):
    poses = [Pose(0.04 * i) for i in range(5)] + [Pose(2.0, 2.0, 2.5).then(Pose(0.04 * i)) for i in range(5)]
    mapper, motions = drive(room, poses)
    assert [m.lost for m in motions] == [i == 5 for i in range(10)]
    assert motions[5].pose == motions[4].pose  # taken to go on
    assert mapper.pose.x_m == pytest.approx(0.36, abs=0.02)
    assert mapper.lost == 1


def test_a_floor_without_texture_is_lost_not_invented(room):
    mapper = Mapper(room.geometry)
    for index in range(4):
        frame = room.frame(index, Pose(0.1 * index), noise=0.0)
        frame.image[:] = 128
        mapper.update(frame, room.drive(Pose()))
    assert mapper.lost == 3
    assert mapper.pose == Pose()


def test_another_frame_size_in_between_is_lost_once(room):
    mapper = Mapper(room.geometry)
    for index, hw in enumerate([(240, 320), (240, 320), (480, 640), (480, 640)]):
        pose = Pose(0.04 * index)
        mapper.update(room.frame(index, pose, hw), room.drive(pose, hw))
    assert mapper.lost == 1
    assert mapper.pose.x_m == pytest.approx(0.12, abs=0.01)  # bridged by the last motion


def test_wheels_do_not_slide_unless_they_may(room):
    """What moves across its own heading is believed where `sideways_m` is 0, and resisted where it is not."""
    reached = []
    for sideways_m in (0.0, 0.0002):
        mapper = Mapper(room.geometry, MapperOptions(odometry=OdometryOptions(sideways_m=sideways_m)))
        for index in range(20):
            pose = Pose(0.0, 0.002 * index, 0.0)
            mapper.update(room.frame(index, pose), room.drive(pose, (240, 320)))
        reached.append(mapper.pose.y_m)
    assert reached[0] == pytest.approx(0.038, abs=0.005)
    assert reached[1] < 0.75 * reached[0]


def test_a_floor_that_repeats_itself_does_not_lead_astray():
    """Planks of 6 cm across the way, which a coarse picture cannot tell apart, on a way that begins to bend."""
    world = World((-2.0, -3.0, 8.0, 4.0))
    rows = world.texture.shape[:2]
    planks = 45.0 * (np.arange(rows[1]) // 3 % 2)
    grain = np.random.default_rng(3).normal(0, 6, rows)
    world.texture = np.repeat((100 + planks + grain).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    poses = [Pose()]
    for index in range(60):
        poses.append(poses[-1].then(Pose(0.03, 0.0, 0.0005 * index)))
    mapper, _ = drive(world, poses)
    assert mapper.lost == 0
    assert max(distance(a, b) for a, b in zip(mapper.trajectory, poses, strict=True)) < 0.04


class Textured(World):
    """The same world with a picture on its walls, which are what is seen where no floor is."""

    def frame(self, index, pose, hw=(240, 320), noise=2.0):
        view, made = FloorView(self.geometry, hw), super().frame(index, pose, hw, noise)
        columns, rows = np.meshgrid(np.arange(hw[1], dtype=float), np.arange(hw[0], dtype=float))
        rays = view.upright(np.stack([columns.ravel(), rows.ravel()], axis=1), np.ones(columns.size))
        rays -= (0, 0, self.geometry.height_m)
        cos, sin = math.cos(pose.yaw_rad), math.sin(pose.yaw_rad)
        way = np.stack([cos * rays[:, 0] - sin * rays[:, 1], sin * rays[:, 0] + cos * rays[:, 1]], axis=1)
        with np.errstate(divide="ignore"):
            steps = np.stack([(wall - at) / way[:, axis] for wall, at, axis in self._walls(pose)])
        near = np.where(steps > 0, steps, np.inf).min(0)
        x, y = (way * near[:, None] + (pose.x_m, pose.y_m)).T
        z = rays[:, 2] * near + self.geometry.height_m
        wall = (120 + 40 * np.sin(7 * (x + y)) * np.sin(5 * z + 1) + 30 * np.sin(17 * (x - y) + 9 * z)).reshape(hw)
        up = ~self.sees_floor(pose, view)
        made.image[up] = wall[up][:, None]
        return made

    def _walls(self, pose):
        x0, y0, x1, y1 = self.walls
        return ((x0, pose.x_m, 0), (x1, pose.x_m, 0), (y0, pose.y_m, 1), (y1, pose.y_m, 1))


def test_walls_tell_where_the_floor_does_not():
    """Stripes along the way: the floor looks the same however far the robot went, the wall ahead does not."""
    off = []
    for wall_pixels in (500, 0):
        world = Textured((-1.0, -1.0, 4.0, 1.0))
        stripes = 40 * np.sin(np.arange(world.texture.shape[0]) / 3)
        world.texture[:] = (120 + stripes).astype(np.uint8)[:, None, None]
        mapper = Mapper(world.geometry, MapperOptions(odometry=OdometryOptions(wall_pixels=wall_pixels)))
        poses = [Pose(0.03 * index + 0.0005 * index**2) for index in range(30)]
        for index, pose in enumerate(poses):
            mapper.update(world.frame(index, pose), world.drive(pose))
        off.append(distance(mapper.pose, poses[-1]))
    assert off[0] < 0.1
    assert off[1] > 3 * off[0]


def test_a_wall_before_the_nose_is_lost_and_no_crash(room):
    """Nothing but the lowest row is floor, which is too little to go by, whatever stands there."""
    mapper = Mapper(room.geometry)
    free = np.zeros((36, 48), np.float32)
    free[-1] = 1
    for index in range(3):
        mapper.update(room.frame(index, Pose(0.01 * index)), Drive(0.0, 0.0, free))
    assert mapper.lost == 2


def test_what_goes_by_does_not_take_the_robot_along(room):
    """A robot that stands before something that fills the upper part of the picture and moves."""
    mapper = Mapper(room.geometry)
    free = np.zeros((36, 48), np.float32)
    free[-8:] = 1
    passing = np.random.default_rng(5).integers(0, 255, (24, 64), np.uint8)
    passing = cv2.resize(passing, (640, 240), interpolation=cv2.INTER_CUBIC)
    for index in range(25):
        frame = room.frame(index, Pose())
        frame.image[: 240 * 28 // 36] = passing[: 240 * 28 // 36, 2 * index : 2 * index + 320, None]
        mapper.update(frame, Drive(0.0, 0.0, free))
    assert distance(mapper.pose, Pose()) < 0.02
    assert abs(math.degrees(mapper.pose.yaw_rad)) < 0.5
