"""The mapper: from frames and the floor that a network sees in them to a path and an occupancy grid.

The first frame's pose is the origin. The path's error grows with its length until the robot comes back to a place that
it knows; then path and grid are made to agree with it.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import need
from ..results import Drive, Floats, Frame, Image
from ..sources import CameraGeometry
from .geometry import FloorView, Points, Pose
from .grid import FloorEdge, GridOptions, OccupancyGrid, floor_edge
from .loops import LoopOptions, Loops, Scan
from .mapfile import save_map
from .motion import Motion, fuse, path_variance
from .odometry import Odometry, OdometryOptions
from .picture import draw_map
from .pitch import PitchFilter, PitchOptions


@dataclass(frozen=True, slots=True)
class MapperOptions:
    """`flow_width_px`: frames that are wider are halved until they are not, before the floor is laid over.

    A scan is added to the grid after `scan_m`, `scan_rad` or `scan_frames`, whichever comes first, for looks from one
    and the same place tell the same (as Cartographer's motion filter). `bridge_frames`: a lost motion goes on as the
    last one for so long. What stands is told up to `stands_m`. `loops` None looks for none.
    """

    flow_width_px: int = 320
    scan_m: float = 0.08
    scan_rad: float = 0.06
    scan_frames: int = 10
    bridge_frames: int = 10
    rebuild_scans: int = 2
    stands_m: float = 1.2
    odometry: OdometryOptions = field(default_factory=OdometryOptions)
    pitch: PitchOptions = field(default_factory=PitchOptions)
    grid: GridOptions = field(default_factory=GridOptions)
    loops: LoopOptions | None = field(default_factory=LoopOptions)


AGREES_M = 1e-6
"""Rounding puts a node off by less."""


class Mapper:
    """Builds `grid` and `trajectory` (a pose a frame). Frames of any one size; another size starts odometry anew.

    `motion` is the last frame's, and so are `drive`, what the network said, `view`, how its raster sees the floor,
    `edge`, where that ends, and `stands` (n, 2), what stands near, in the robot's frame. `lost` counts the frames whose
    visual motion is unknown, `bridged` those of them for which wheels told it. For the others the last motion is taken
    to go on, and after `bridge_frames` of them the robot to stand; they add nothing to the grid.

    A closed loop moves what was seen. Until the grid is built anew from it, `grid`, `pose` and `path` stay those of the
    map before, which goes on to grow; then all three change at once, by one more of `corrections`: what is near the
    robot, and was at a place of the map before, is at `correction.to_world(place)` from then on.
    """

    def __init__(self, geometry: CameraGeometry, options: MapperOptions = MapperOptions()) -> None:
        self._cv2: Any = need("cv2", "cpu")
        self.geometry = geometry
        self.options = options
        self.grid = OccupancyGrid(options.grid)
        self.motion = Motion()
        self.pitch = PitchFilter(options.pitch)
        self.stands: Points = np.empty((0, 2))
        self.edge: FloorEdge | None = None
        self.drive: Drive | None = None
        self.view: FloorView | None = None
        self.lost = 0
        self.bridged = 0
        self.loops = Loops(options.loops)
        self._frames: list[tuple[int, Pose]] = []  # a node and the pose in its frame
        self._blind = 0
        self._since_scan = (math.inf, math.inf, 0)
        self.corrections: list[Pose] = []
        self._rebuilding: Generator[None, None, None] | None = None
        self._outdated = False
        self._placed: NDArray[np.float64] = self.loops.graph.poses  # of each node, as its scans are on the grid
        self._held = Pose()  # the graph's frame in the grid's, around the robot
        self._odometry: Odometry | None = None
        self._frame_hw = (0, 0)

    @property
    def trajectory(self) -> list[Pose]:
        """The pose at each frame so far, as it is believed now."""
        nodes = [self.loops.graph.pose(index) for index in range(len(self.loops.graph))]
        return [nodes[node].then(offset) for node, offset in self._frames]

    @property
    def frames(self) -> int:
        """How many there were so far."""
        return len(self._frames)

    @property
    def node_frames(self) -> list[int]:
        """The frame, counted from 0, at which each node of the pose graph was made."""
        nodes = [node for node, _ in self._frames]
        return [at for at, node in enumerate(nodes) if at == 0 or node != nodes[at - 1]]

    def unclosed(self, frame: int) -> Pose:
        """The pose at a frame, counted from 0, as odometry alone has it."""
        node, offset = self._frames[frame]
        return self.loops.graph.unclosed(node).then(offset)

    @property
    def pose(self) -> Pose:
        """Where the robot is now."""
        return self._held.then(self._believed)

    @property
    def _believed(self) -> Pose:
        """Where it is by the graph."""
        if not self._frames:
            return Pose()
        node, offset = self._frames[-1]
        return self.loops.graph.pose(node).then(offset)

    @property
    def path(self) -> Points:
        """Where it has been, (n, 2): the nodes of the graph, as they are on the grid, and where it is."""
        pose = self.pose
        return np.vstack([self._placed[:, :2], (pose.x_m, pose.y_m)])

    def update(self, frame: Frame, drive: Drive, wheels: Motion | None = None) -> Pose:
        """Add a frame and what the network said about this same frame; the robot's pose at its capture.

        `wheels` is the motion since the frame before as wheel odometry has it.
        """
        frame_hw = (frame.image.shape[0], frame.image.shape[1])
        told = FloorView(self.geometry, frame_hw, (drive.free_space.shape[0], drive.free_space.shape[1]))
        view = self.pitch.view(told)
        edge = floor_edge(drive.free_space, view, self.options.grid.edge_rows)
        seen = self._move(frame.image, drive.free_space, edge, wheels)
        self.motion, variance = self._settle(seen, wheels)
        self._frames.append(self.loops.advance(self.motion.pose, *variance))
        self._place()
        self.stands = edge.stands(view, self.options.stands_m)
        self.edge, self.view, self.drive = edge, view, drive
        if not self.motion.lost:
            self._scan(edge, view)
        here = self.pose
        if self.loops.step():
            self._held = here.then(self._believed.inverse())
            self._outdated = True
        self._keep_up()
        return self.pose

    def finish(self) -> None:
        """End what is under way, so that `grid` agrees with `trajectory`."""
        while self._rebuilding is not None or self._off_m() > AGREES_M:
            self._rebuilding = self._rebuilding or self._rebuild()
            self._keep_up()

    def image(self, size: int) -> Image:
        """The map with the path and the robot, `size` x `size` x 3 uint8 BGR; see `draw_map`."""
        self.finish()
        return draw_map(self.grid, self.trajectory, size)

    def save(self, path: Path) -> tuple[Path, Path]:
        """Write the map as `save_map` does; the two files."""
        self.finish()
        return save_map(self.grid, path, self.geometry)

    def _settle(self, seen: Motion, wheels: Motion | None) -> tuple[Motion, tuple[float, float]]:
        """The motion to go by, and its variances in square metres and square radians."""
        self.lost += seen.lost
        known = fuse(seen, wheels)
        if not known.lost:
            self.bridged += seen.lost
            self._blind = 0
            return known, path_variance(known, seen.lost)
        self._blind += 1
        last = self.motion if self._blind <= self.options.bridge_frames else Motion()
        return replace(last, lost=True), (0.05**2, 0.05**2)

    def _scan(self, edge: FloorEdge, view: FloorView) -> None:
        """Add what is seen to the grid, when it is something new."""
        way, turn, frames = self._since_scan
        way += math.hypot(self.motion.dx_m, self.motion.dy_m)
        turn += abs(self.motion.dyaw_rad)
        self._since_scan = (way, turn, frames + 1)
        options = self.options
        if way < options.scan_m and turn < options.scan_rad and frames + 1 < options.scan_frames:
            return
        self._since_scan = (0.0, 0.0, 0)
        self.loops.scans.append(Scan(*self._frames[-1], edge, view))
        self.grid.insert(self.pose, edge, view)

    def _place(self) -> None:
        """Put the newest node on the grid."""
        if len(self.loops.graph) > len(self._placed):
            node = self._held.then(self.loops.graph.pose(-1))
            self._placed = np.vstack([self._placed, (node.x_m, node.y_m, node.yaw_rad)])

    def _off_m(self) -> float:
        """How far, at most, what was seen a metre from a node is on the grid from where the graph has it."""
        off = self.loops.graph.poses - self._placed
        turned = np.remainder(off[:, 2] + math.pi, math.tau) - math.pi
        return float((np.hypot(off[:, 0], off[:, 1]) + np.abs(turned)).max())

    def _keep_up(self) -> None:
        """Go on with building the grid anew; begin, where loops were closed that move something on it."""
        if self._rebuilding is None and self._outdated:
            self._outdated = False
            if self._off_m() > self.options.grid.resolution_m:
                self._rebuilding = self._rebuild()
        if self._rebuilding is not None and next(self._rebuilding, True):
            self._rebuilding = None

    def _rebuild(self) -> Generator[None, None, None]:
        """The grid anew from all scans, a few a frame; those that come meanwhile included."""
        graph, grid = self.loops.graph, OccupancyGrid(self.options.grid)
        placed: list[NDArray[np.float64]] = []
        for number, scan in enumerate(self.loops.scans, 1):
            placed.extend(graph.poses[len(placed) : scan.node + 1])
            grid.insert(graph.pose(scan.node).then(scan.offset), scan.edge, scan.view)
            if number % self.options.rebuild_scans == 0:
                yield
        placed.extend(graph.poses[len(placed) :])
        self.grid, self._placed = grid, np.array(placed)
        self.corrections.append(self._held.inverse())
        self._held = Pose()

    def _move(self, image: Image, free_space: Floats, edge: FloorEdge, wheels: Motion | None) -> Motion:
        cv2 = self._cv2
        height, width = image.shape[:2]
        halvings = max(0, math.ceil(math.log2(width / self.options.flow_width_px)))
        flow_hw = (height >> halvings, width >> halvings)
        changed = self._odometry is not None and self._frame_hw != (height, width)
        if self._odometry is None or changed:
            self._frame_hw = (height, width)
            view = FloorView(self.geometry, (height, width), flow_hw)
            self._odometry = Odometry(view, self.options.odometry, self.pitch)
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if halvings:
            grey = cv2.resize(grey, flow_hw[::-1], interpolation=cv2.INTER_AREA)
        # The edge belongs to what stands there; one cell of the network is kept away from it.
        floor = cv2.erode((free_space > 0.5).astype(np.uint8), np.ones((3, 3), np.uint8))
        expected = None if wheels is None or wheels.lost else wheels.pose
        feet = np.where(edge.hit, (edge.row + 0.5) / len(free_space), np.nan)
        motion = self._odometry.step(grey, floor, feet, expected)
        return Motion(lost=True) if changed else motion
