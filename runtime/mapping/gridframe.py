"""A grid that is in use while the graph of the path goes on to change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .geometry import Pose, wrapped
from .grid import OccupancyGrid
from .loops import Scan
from .posegraph import PoseGraph


class GridFrame:
    """A grid, and how the poses of a graph lie on it.

    `poses` (n, 3) are those of the graph's nodes when they came onto the grid. A loop that the graph closes later does
    not move them. So the graph's frame is somewhere else on the grid than at its origin, around the robot at `held`.
    """

    def __init__(self, grid: OccupancyGrid, graph: PoseGraph) -> None:
        self.grid = grid
        self.poses: NDArray[np.float64] = graph.poses
        self.held = Pose()
        self._graph = graph

    def grow(self) -> bool:
        """Take the graph's newest node in; False where it is on the grid already."""
        if len(self._graph) == len(self.poses):
            return False
        node = self.held.then(self._graph.pose(-1))
        self.poses = np.vstack([self.poses, (node.x_m, node.y_m, node.yaw_rad)])
        return True

    def localise(self, node: int) -> None:
        """Say that the robot is where it was at a node: what is around it on the grid is what was seen from there."""
        self.held = Pose(*self.poses[node].tolist()).then(self._graph.pose(node).inverse())

    def insert(self, scan: Scan) -> None:
        """Add what was seen from a node of the grid."""
        node = Pose(*self.poses[scan.node].tolist())
        self.grid.insert(node.then(scan.offset), scan.edge, scan.view)

    def off_m(self) -> float:
        """How far, at most, what was seen a metre from a node is on the grid from where the graph has it."""
        off = self._graph.poses - self.poses
        return float((np.hypot(off[:, 0], off[:, 1]) + np.abs(wrapped(off[:, 2]))).max())
