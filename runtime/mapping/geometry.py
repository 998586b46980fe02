"""Poses on the floor, and the pinhole camera that looks at it: from a pixel to a floor point and back.

The robot's frame is that of REP 103: x forward, y left, metres; its origin is the point of the floor under the camera.
Pixels are square in the frame, the principal point is its centre and there is no distortion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import UsageError
from ..sources import CameraGeometry

Points = NDArray[np.float64]
"""(N, 2) float64: floor points (x, y) in metres, or pixels (column, row) with whole numbers at pixel centres."""


@dataclass(frozen=True, slots=True)
class Pose:
    """A place and a heading on the floor: metres, radians counter-clockwise. Also a motion, from where it began."""

    x_m: float = 0.0
    y_m: float = 0.0
    yaw_rad: float = 0.0

    def then(self, motion: Pose) -> Pose:
        """The pose after `motion`, which is given in the frame of this pose."""
        cos, sin = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        yaw = self.yaw_rad + motion.yaw_rad
        return Pose(
            self.x_m + cos * motion.x_m - sin * motion.y_m,
            self.y_m + sin * motion.x_m + cos * motion.y_m,
            math.atan2(math.sin(yaw), math.cos(yaw)),
        )

    def inverse(self) -> Pose:
        """The motion that leads back: `pose.then(pose.inverse())` is the origin."""
        cos, sin = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        return Pose(-cos * self.x_m - sin * self.y_m, sin * self.x_m - cos * self.y_m, -self.yaw_rad)

    def to_world(self, points: Points) -> Points:
        """Points (N, 2) of the frame of this pose in the frame in which the pose is given."""
        cos, sin = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        rotation = np.array([[cos, -sin], [sin, cos]])
        moved: Points = points @ rotation.T + (self.x_m, self.y_m)
        return moved


def wrapped(angles_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same angles, of any shape, from -pi on and below pi."""
    return np.asarray(np.remainder(angles_rad + math.pi, math.tau) - math.pi)


def pursuit_curvature(bearing_rad: float, distance_m: float) -> float:
    """Of the circle that leaves ahead and leads through a point, in 1/m, positive to the left; a point nearer than
    0.3 m counts as there. Coulter 1992, Implementation of the pure pursuit path tracking algorithm."""
    return 2 * math.sin(bearing_rad) / max(distance_m, 0.3)


class FloorView:
    """The floor as a raster of `raster_hw` pixels sees it, which covers a whole frame of `frame_hw`.

    The raster may have another aspect than the frame (a network's grid). `image_to_floor` and `floor_to_image` are
    3 x 3 homographies on (column, row, 1) and (x, y, 1), `projection` (3, 4) takes (x, y, z, 1) to pixels. Hartley and
    Zisserman, Multiple View Geometry, section 8.1.1.
    Raises UsageError for a camera that cannot be.
    """

    def __init__(
        self, geometry: CameraGeometry, frame_hw: tuple[int, int], raster_hw: tuple[int, int] | None = None
    ) -> None:
        check_geometry(geometry)
        self.geometry, self.frame_hw = geometry, frame_hw
        self.raster_hw = height, width = raster_hw or frame_hw
        half_fov = math.tan(math.radians(geometry.fov_y_deg) / 2)
        self.focal_y_px = height / 2 / half_fov
        self.focal_x_px = width / 2 / half_fov * frame_hw[0] / frame_hw[1]
        cos, sin = math.cos(math.radians(geometry.pitch_deg)), math.sin(math.radians(geometry.pitch_deg))
        to_rays = np.array([[0.0, -1.0, 0.0], [-sin, 0.0, -cos], [cos, 0.0, -sin]])
        # A ray through (right, down, 1) of the camera meets the floor at height / (sin + down * cos) times itself.
        rays_to_floor = to_rays.T * np.array([[geometry.height_m], [geometry.height_m], [-1.0]])
        pixels_to_rays = np.array(
            [
                [1 / self.focal_x_px, 0.0, -(width - 1) / 2 / self.focal_x_px],
                [0.0, 1 / self.focal_y_px, -(height - 1) / 2 / self.focal_y_px],
                [0.0, 0.0, 1.0],
            ]
        )
        self.image_to_floor = rays_to_floor @ pixels_to_rays
        self.floor_to_image = np.linalg.inv(self.image_to_floor)
        self._rays = to_rays.T @ pixels_to_rays  # the way from the camera through a pixel, in the robot's frame
        to_camera = np.hstack([to_rays, -to_rays[:, 2:] * geometry.height_m])
        self.projection = np.linalg.inv(pixels_to_rays) @ to_camera
        self.horizon_row = (height - 1) / 2 - math.tan(math.radians(geometry.pitch_deg)) * self.focal_y_px

    def to_floor(self, pixels: Points) -> Points:
        """Floor points (N, 2) of pixels (N, 2); NaN for a pixel at or above the horizon."""
        return _through(self.image_to_floor, pixels)

    def to_pixels(self, points: Points) -> Points:
        """Pixels (N, 2) of floor points (N, 2), outside the raster too; NaN for a point behind the camera."""
        return _through(self.floor_to_image, points)

    def upright(self, pixels: Points, depth_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (N, 3), x, y, z in metres, that pixels (N, 2) show on upright planes `depth_m` (N,) ahead."""
        rays = np.hstack([pixels, np.ones((len(pixels), 1))]) @ self._rays.T
        points: NDArray[np.float64] = rays * (depth_m / rays[:, 0])[:, None] + (0.0, 0.0, self.geometry.height_m)
        return points

    def at_depth(self, depth_m: NDArray[np.float64], columns: NDArray[np.float64]) -> Points:
        """Floor points (N, 2) at the forward distance `depth_m` (N,) in `columns` (N,) of the raster."""
        pitch = math.radians(self.geometry.pitch_deg)
        along_axis = depth_m * math.cos(pitch) + self.geometry.height_m * math.sin(pitch)
        right = (columns - (self.raster_hw[1] - 1) / 2) / self.focal_x_px
        return np.stack([depth_m, -right * along_axis], axis=1)

    def pixel_by_motion(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """d(pixel) / d(dx, dy, dyaw) (N, 2, 3) of points (N, 3) that move as one with the robot's frame fixed."""
        matrix = self.projection
        third = points @ matrix[2, :3] + matrix[2, 3]
        pixels = (points @ matrix[:2, :3].T + matrix[:2, 3]) / third[:, None]
        by_point = (matrix[None, :2, :2] - pixels[:, :, None] * matrix[None, 2:, :2]) / third[:, None, None]
        turned = np.stack([-points[:, 1], points[:, 0]], axis=1)
        return np.concatenate([by_point, by_point @ turned[:, :, None]], axis=2)

    def row_depth_m(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The forward distance x of the floor in each row, inf at and above the horizon; any shape."""
        height, _ = self.raster_hw
        down = (rows - (height - 1) / 2) / self.focal_y_px
        pitch = math.radians(self.geometry.pitch_deg)
        below = math.sin(pitch) + down * math.cos(pitch)
        with np.errstate(divide="ignore"):
            depth = self.geometry.height_m * (math.cos(pitch) - down * math.sin(pitch)) / below
        return np.where(below > 1e-9, depth, np.inf)


def _through(homography: NDArray[np.float64], points: Points) -> Points:
    x, y = points[:, 0], points[:, 1]
    a, b, c = (row[0] * x + row[1] * y + row[2] for row in homography)
    c = np.where(c > 1e-9, c, np.nan)
    return np.stack([a / c, b / c], axis=1)


def check_geometry(geometry: CameraGeometry) -> None:
    """Raises UsageError for a camera that cannot be, or sees no floor."""
    fov, height, pitch = geometry.fov_y_deg, geometry.height_m, geometry.pitch_deg
    if not 0 < fov < 180:
        raise UsageError(f"vertical field of view is {fov} degrees; expected more than 0 and less than 180")
    if not 0 < height < math.inf:
        raise UsageError(f"camera height is {height} m; expected metres over the floor, more than 0")
    if not (-90 < pitch < 90 and pitch + fov / 2 > 0):
        raise UsageError(
            f"pitch of {pitch} degrees with a field of view of {fov} degrees sees no floor; expected degrees downwards"
        )
