"""Visual odometry on the floor plane: corners of the floor are followed and moved as one rigid body.

Corners are found on a key frame and followed from frame to frame by pyramidal Lucas-Kanade flow; their motion on the
floor since the key frame is found by RANSAC and refined in pixels, so that it does not add up a frame's noise.
The floor is flat, and everything that is not floor is masked out by the caller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import need
from .geometry import FloorView, Points, Pose

Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class OdometryOptions:
    """How corners are found and followed. Pixels are those of the raster that `FloorView` describes.

    `range_m`: corners farther ahead are left out, because there a pixel is decimetres of floor.
    """

    corners: int = 160
    corner_quality: float = 0.0005
    corner_distance_px: float = 6.0
    window_px: int = 11
    pyramid_levels: int = 3
    range_m: float = 2.0
    ransac_m: float = 0.05
    inlier_px: float = 1.5
    min_inliers: int = 12
    min_inlier_share: float = 0.4
    renew_share: float = 0.6


@dataclass(frozen=True, slots=True)
class Motion:
    """The motion since the frame before, in the robot's frame then. `lost`: it is unknown, and stands as zero."""

    dx_m: float = 0.0
    dy_m: float = 0.0
    dyaw_rad: float = 0.0
    inliers: int = 0
    lost: bool = False

    @property
    def pose(self) -> Pose:
        """The motion as a step for `Pose.then`."""
        return Pose(self.dx_m, self.dy_m, self.dyaw_rad)


class Odometry:
    """Motion from frame to frame, for frames of one size that `view` describes. Keeps the last frame."""

    def __init__(self, view: FloorView, options: OdometryOptions = OdometryOptions()) -> None:
        self._cv2: Any = need("cv2", "cpu")
        self.view = view
        self.options = options
        height, width = view.raster_hw
        depth = view.row_depth_m(np.arange(height, dtype=np.float64))
        near = (depth > 0) & (depth < options.range_m)
        self._near_rows = np.repeat(near[:, None], width, axis=1).astype(np.uint8)
        self._grey: Grey | None = None
        self._forget()

    def step(self, grey: Grey, floor: Grey) -> Motion:
        """The motion since the last call; zero at the first.

        `grey` and `floor` are H x W uint8; `floor` is non-zero where the floor is seen. When too few corners move as
        one rigid body the motion is `lost`, and following starts anew from this frame.
        """
        motion = Motion()
        if self._grey is not None:
            found = self._follow(self._grey, grey)
            motion = self._advance(*found) if found is not None else Motion(lost=True)
        if motion.lost or len(self._pixels) < max(self.options.min_inliers, self._enough):
            self._start(grey, floor)
        self._grey = grey
        return motion

    def _forget(self) -> None:
        self._pixels: Points = np.empty((0, 2))
        self._anchors: Points = np.empty((0, 2))  # the same corners on the floor, in the frame of the key frame
        self._enough = 0.0
        self._since_key = Pose()
        self._last = Pose()

    def _start(self, grey: Grey, floor: Grey) -> None:
        """Make this frame the key frame."""
        options, last = self.options, self._last
        self._forget()
        corners = self._cv2.goodFeaturesToTrack(
            grey, options.corners, options.corner_quality, options.corner_distance_px, mask=floor & self._near_rows
        )
        if corners is None:
            return
        self._pixels = corners.reshape(-1, 2).astype(np.float64)
        self._anchors = self.view.to_floor(self._pixels)
        self._enough = options.renew_share * len(self._pixels)
        self._last = last

    def _follow(self, before: Grey, now: Grey) -> tuple[Pose, NDArray[np.intp], Points] | None:
        """The pose since the key frame, which corners agree with it, and where all of them are now."""
        if len(self._pixels) < self.options.min_inliers:
            return None
        expected = self.view.to_pixels(self._since_key.then(self._last).inverse().to_world(self._anchors))
        expected = np.where(np.isfinite(expected), expected, self._pixels)
        pixels, status, _ = self._cv2.calcOpticalFlowPyrLK(
            before,
            now,
            np.ascontiguousarray(self._pixels, np.float32),
            np.ascontiguousarray(expected, np.float32),
            winSize=(self.options.window_px, self.options.window_px),
            maxLevel=self.options.pyramid_levels,
            flags=self._cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        pixels = pixels.reshape(-1, 2).astype(np.float64)
        limits = np.array(now.shape[::-1]) - 1
        floor_now = self.view.to_floor(pixels)
        good = (status.ravel() == 1) & (pixels >= 0).all(axis=1) & (pixels <= limits).all(axis=1)
        tracked = np.flatnonzero(good & np.isfinite(floor_now).all(axis=1))
        fit = self._fit(tracked, pixels, floor_now)
        return None if fit is None else (*fit, pixels)

    def _fit(
        self, tracked: NDArray[np.intp], pixels: Points, floor_now: Points
    ) -> tuple[Pose, NDArray[np.intp]] | None:
        """The rigid motion of the robot that most of `tracked` agree with, and those that do."""
        options = self.options
        if len(tracked) < options.min_inliers:
            return None
        similarity, _ = self._cv2.estimateAffinePartial2D(
            self._anchors[tracked], floor_now[tracked], ransacReprojThreshold=options.ransac_m
        )
        if similarity is None:
            return None
        angle = math.atan2(similarity[1, 0], similarity[0, 0])
        floor_motion = Pose(similarity[0, 2], similarity[1, 2], angle)
        for threshold_px in (3 * options.inlier_px, options.inlier_px):
            error = self.view.to_pixels(floor_motion.to_world(self._anchors[tracked])) - pixels[tracked]
            inliers = tracked[np.hypot(*error.T) < threshold_px]
            if len(inliers) < max(options.min_inliers, options.min_inlier_share * len(tracked)):
                return None
            floor_motion = refine(self.view, floor_motion, self._anchors[inliers], pixels[inliers])
        return floor_motion.inverse(), inliers

    def _advance(self, since_key: Pose, inliers: NDArray[np.intp], pixels: Points) -> Motion:
        step = self._since_key.inverse().then(since_key)
        self._since_key, self._last = since_key, step
        self._pixels, self._anchors = pixels[inliers], self._anchors[inliers]
        return Motion(step.x_m, step.y_m, step.yaw_rad, len(inliers))


def refine(view: FloorView, motion: Pose, points: Points, pixels: Points) -> Pose:
    """One Gauss-Newton step on the squared distance in pixels between `motion` of floor `points` and `pixels`.

    In pixels, because a corner is as uncertain in every row while its floor point is the less certain the farther it
    is away (Hartley and Zisserman, section 4.2.3). `points` and `pixels` are (N, 2), N >= 2.
    """
    moved = motion.to_world(points)
    homography = view.floor_to_image
    third = moved @ homography[2, :2] + homography[2, 2]
    projected = (moved @ homography[:2, :2].T + homography[:2, 2]) / third[:, None]
    # d(pixel) / d(floor point), (N, 2, 2), then by dx, dy and dyaw, (N, 2, 3).
    by_point = (homography[None, :2, :2] - projected[:, :, None] * homography[None, 2:, :2]) / third[:, None, None]
    turned = np.stack([motion.y_m - moved[:, 1], moved[:, 0] - motion.x_m], axis=1)
    jacobian = np.concatenate([by_point, by_point @ turned[:, :, None]], axis=2)
    step, *_ = np.linalg.lstsq(jacobian.reshape(-1, 3), (pixels - projected).ravel(), rcond=None)
    return Pose(motion.x_m + float(step[0]), motion.y_m + float(step[1]), motion.yaw_rad + float(step[2]))
