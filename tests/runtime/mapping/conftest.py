"""A world drawn with a homography: a textured floor, walls around it and round pillars, every pose and mask exact."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from helmsight.runtime.mapping.geometry import FloorView, Pose
from helmsight.runtime.mapping.mapper import Mapper
from helmsight.runtime.results import Drive, Frame
from helmsight.runtime.sources import CameraGeometry

GEOMETRY = CameraGeometry(fov_y_deg=75.0, height_m=0.4, pitch_deg=10.0)
FRAME_HW = (240, 320)
MASK_HW = (36, 48)
TEXEL_M = 0.01


@dataclass
class World:
    """Walls at x0, y0, x1, y1 and pillars (x, y, radius) as high as the camera, all in metres."""

    walls: tuple[float, float, float, float]
    pillars: tuple[tuple[float, float, float], ...] = ()
    seed: int = 7
    geometry = GEOMETRY

    def __post_init__(self):
        import cv2

        random = np.random.default_rng(self.seed)
        width, height = (round((b - a) / TEXEL_M) for a, b in (self.walls[::2], self.walls[1::2]))
        floor = np.full((height, width), 120.0, np.float32)
        for cell in (3, 8, 25):
            noise = random.normal(0, 22, (height // cell + 1, width // cell + 1)).astype(np.float32)
            floor += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        self.texture = cv2.cvtColor(floor.clip(0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)

    def floor_at(self, points):
        """Which of (N, 2) points are inside the walls and outside of the pillars."""
        x0, y0, x1, y1 = self.walls
        x, y = points.T
        free = (x > x0) & (x < x1) & (y > y0) & (y < y1)
        for px, py, radius in self.pillars:
            free &= np.hypot(x - px, y - py) > radius
        return free

    def sees_floor(self, pose, view):
        """(h, w) bool: the pixels of a raster that show floor, nothing standing before it."""
        height, width = view.raster_hw
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        points = pose.to_world(view.to_floor(np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float)))
        free = self.floor_at(points) & np.isfinite(points).all(axis=1)
        way = points - (pose.x_m, pose.y_m)
        for px, py, radius in self.pillars:
            centre = np.array([px - pose.x_m, py - pose.y_m])
            along = np.clip((way @ centre) / (way**2).sum(axis=1), 0, 1)
            free &= np.hypot(*(way * along[:, None] - centre).T) > radius
        return free.reshape(height, width)

    def frame(self, index, pose, hw=FRAME_HW, noise=2.0):
        """The frame at `pose`: floor, grey where something stands, and a sensor's noise."""
        import cv2

        view = FloorView(GEOMETRY, hw)
        x0, y0 = self.walls[:2]
        texels = np.array([[TEXEL_M, 0, x0 + TEXEL_M / 2], [0, TEXEL_M, y0 + TEXEL_M / 2], [0, 0, 1]])
        cos, sin = math.cos(pose.yaw_rad), math.sin(pose.yaw_rad)
        to_robot = np.linalg.inv([[cos, -sin, pose.x_m], [sin, cos, pose.y_m], [0, 0, 1]])
        image = cv2.warpPerspective(self.texture, view.floor_to_image @ to_robot @ texels, hw[::-1])
        image[~self.sees_floor(pose, view)] = 90
        grain = np.random.default_rng((self.seed, index)).normal(0, noise, hw)[:, :, None]
        return Frame((image + grain).clip(0, 255).astype(np.uint8), index, index)

    def drive(self, pose, hw=FRAME_HW):
        """A perfect network's answer: the share of floor in each cell."""
        import cv2

        fine = FloorView(GEOMETRY, hw, (MASK_HW[0] * 4, MASK_HW[1] * 4))
        share = cv2.resize(self.sees_floor(pose, fine).astype(np.float32), MASK_HW[::-1], interpolation=cv2.INTER_AREA)
        return Drive(0.0, 0.0, share)


def loop(width_m, height_m, corner_m, step_m):
    """Poses once around a rectangle with round corners, starting at the origin along x, counter-clockwise."""
    pose, poses = Pose(), [Pose()]
    for length in (width_m, height_m) * 2:
        straight = length - 2 * corner_m
        arc = corner_m * math.pi / 2
        for distance, yaw in ((straight, 0.0), (arc, math.pi / 2)):
            steps = math.ceil(distance / step_m)
            for _ in range(steps):
                turn = yaw / steps
                pose = pose.then(Pose(yaw_rad=turn / 2)).then(Pose(distance / steps)).then(Pose(yaw_rad=turn / 2))
                poses.append(pose)
    return poses


@dataclass
class Lap:
    """A lap driven, and what the mapper made of it."""

    world: World
    poses: list
    mapper: Mapper

    @property
    def way_m(self):
        return sum(math.hypot(b.x_m - a.x_m, b.y_m - a.y_m) for a, b in pairwise(self.poses))


@pytest.fixture(scope="session")
def room():
    return World((-2.0, -1.5, 5.0, 4.0), pillars=((1.6, 1.3, 0.35), (2.6, 3.1, 0.15)))


@pytest.fixture(scope="session")
def lap(room):
    pytest.importorskip("cv2")
    mapper = Mapper(GEOMETRY)
    poses = loop(3.2, 2.6, 0.6, 0.06)
    for index, pose in enumerate(poses):
        mapper.update(room.frame(index, pose), room.drive(pose))
    return Lap(room, poses, mapper)
