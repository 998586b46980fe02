"""The mapper: from frames and the floor that a network sees in them to a path and an occupancy grid.

The first frame's pose is the origin. The path's error grows with its length until the robot comes back to a place that
it knows; then path and grid are made to agree with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...devices.errors import need
from ..results import Drive, Floats, Frame, Image
from ..sources import CameraGeometry
from .geometry import FloorView, Points, Pose
from .grid import FloorEdge, GridOptions, OccupancyGrid, floor_edge
from .gridframe import GridFrame
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
    rebuild_m: float = 0.2
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

    A closed loop moves `trajectory` at once, and the robot to where it has come back to on the grid. Where something is
    off there by more than `rebuild_m`, the grid is built anew, `rebuild_scans` looks a frame. Until then the one before
    is in use and goes on to grow; then `grid`, `pose` and `path` change together. `corrections` are all these moves of
    the robot: what was near it at a place of the map before is at `correction.to_world(place)` from then on.
    """

    def __init__(self, geometry: CameraGeometry, options: MapperOptions = MapperOptions()) -> None:
        self._cv2: Any = need("cv2", "cpu")
        self.geometry = geometry
        self.options = options
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
        self._drawn = self._blank()
        self._next: GridFrame | None = None
        self._copied = 0  # of the scans, to the next one
        self._odometry: Odometry | None = None
        self._frame_hw = (0, 0)

    @property
    def grid(self) -> OccupancyGrid:
        """The map in use."""
        return self._drawn.grid

    @property
    def _drawings(self) -> list[GridFrame]:
        """The map in use, and the one that is built anew."""
        return [self._drawn] if self._next is None else [self._drawn, self._next]

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
        return self._drawn.held.then(self._believed)

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
        return np.vstack([self._drawn.poses[:, :2], (pose.x_m, pose.y_m)])

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
        grew = False
        for drawn in self._drawings:
            grew = drawn.grow()
        self.stands = edge.stands(view, self.options.stands_m)
        self.edge, self.view, self.drive = edge, view, drive
        if not self.motion.lost:
            self._scan(edge, view)
        here, closed = self.pose, self.loops.step()
        if closed:
            for drawn in self._drawings:
                drawn.localise(self.loops.graph.closures[-1].first)
            self.corrections.append(self.pose.then(here.inverse()))
        self._keep_up(closed or grew)
        return self.pose

    def finish(self) -> None:
        """Make `grid`, `pose` and `path` agree with `trajectory`, at once."""
        self._next = None
        if self._drawn.off_m() > AGREES_M:
            anew = self._blank()
            for scan in self.loops.scans:
                anew.insert(scan)
            self._take(anew)

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

    def _keep_up(self, changed: bool) -> None:
        """Go on with building the grid anew; begin, where something on it is off by too much."""
        if self._next is None and changed and self._drawn.off_m() > self.options.rebuild_m:
            self._next, self._copied = self._blank(), 0
        if self._next is None:
            return
        scans = self.loops.scans[self._copied : self._copied + self.options.rebuild_scans]
        for scan in scans:
            self._next.insert(scan)
        self._copied += len(scans)
        if self._copied == len(self.loops.scans):
            self._take(self._next)

    def _blank(self) -> GridFrame:
        return GridFrame(OccupancyGrid(self.options.grid), self.loops.graph)

    def _take(self, drawn: GridFrame) -> None:
        """Use this one from now on."""
        self.corrections.append(drawn.held.then(self._drawn.held.inverse()))
        self._drawn, self._next = drawn, None

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
