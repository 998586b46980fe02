"""The mapper: from frames and the floor that a network sees in them to a path and an occupancy grid.

The first frame's pose is the origin. There is no loop closure: the error of the path grows with its length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...devices.errors import need
from ..results import Drive, Floats, Frame, Image
from ..sources import CameraGeometry
from .geometry import FloorView, Pose
from .grid import GridOptions, OccupancyGrid
from .mapfile import save_map
from .odometry import Motion, Odometry, OdometryOptions
from .picture import draw_map


@dataclass(frozen=True, slots=True)
class MapperOptions:
    """`flow_width_px`: frames that are wider are halved until they are not, before corners are followed."""

    flow_width_px: int = 320
    odometry: OdometryOptions = field(default_factory=OdometryOptions)
    grid: GridOptions = field(default_factory=GridOptions)


class Mapper:
    """Builds `grid` and `trajectory` (a pose a frame). Frames of any one size; another size starts odometry anew.

    `motion` is the last frame's; `lost` counts the frames whose motion is unknown. Such a frame adds nothing to the
    grid, and the path goes on from where it was.
    """

    def __init__(self, geometry: CameraGeometry, options: MapperOptions = MapperOptions()) -> None:
        self._cv2: Any = need("cv2", "cpu")
        self.geometry = geometry
        self.options = options
        self.grid = OccupancyGrid(options.grid)
        self.trajectory: list[Pose] = []
        self.motion = Motion()
        self.lost = 0
        self._odometry: Odometry | None = None
        self._frame_hw = (0, 0)

    @property
    def pose(self) -> Pose:
        """Where the robot is now."""
        return self.trajectory[-1] if self.trajectory else Pose()

    def update(self, frame: Frame, drive: Drive) -> Pose:
        """Add a frame and what the network said about this same frame; the robot's pose at its capture."""
        frame_hw = (frame.image.shape[0], frame.image.shape[1])
        view = FloorView(self.geometry, frame_hw, (drive.free_space.shape[0], drive.free_space.shape[1]))
        self.motion = self._move(frame.image, drive.free_space)
        pose = self.pose.then(self.motion.pose)
        self.trajectory.append(pose)
        if self.motion.lost:
            self.lost += 1
        else:
            self.grid.update(pose, drive.free_space, view)
        return pose

    def image(self, size: int) -> Image:
        """The map with the path and the robot, `size` x `size` x 3 uint8 BGR; see `draw_map`."""
        return draw_map(self.grid, self.trajectory, size)

    def save(self, path: Path) -> tuple[Path, Path]:
        """Write the map as `save_map` does; the two files."""
        return save_map(self.grid, path)

    def _move(self, image: Image, free_space: Floats) -> Motion:
        cv2 = self._cv2
        height, width = image.shape[:2]
        halvings = max(0, math.ceil(math.log2(width / self.options.flow_width_px)))
        flow_hw = (height >> halvings, width >> halvings)
        changed = self._odometry is not None and self._frame_hw != (height, width)
        if self._odometry is None or changed:
            self._frame_hw = (height, width)
            self._odometry = Odometry(FloorView(self.geometry, (height, width), flow_hw), self.options.odometry)
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if halvings:
            grey = cv2.resize(grey, flow_hw[::-1], interpolation=cv2.INTER_AREA)
        # Corners at the floor's edge belong to what stands there; one cell of the network is kept away from it.
        floor = cv2.erode((free_space > 0.5).astype(np.uint8), np.ones((3, 3), np.uint8))
        floor = cv2.resize(floor, flow_hw[::-1], interpolation=cv2.INTER_NEAREST)
        motion = self._odometry.step(grey, floor)
        return Motion(lost=True) if changed else motion
