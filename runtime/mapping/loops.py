"""Loop closure: the poses of the path as a graph, the scans taken from them, and the search for known places."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from ..results import Floats
from .geometry import FloorView, Pose, wrapped
from .grid import FloorEdge
from .places import Fit, PlaceOptions, patch, search
from .posegraph import Closure, PoseGraph

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """A node of the graph comes after `node_m` or `node_rad`; a search after `search_m`, for a place that was left at
    least `away_m` of way ago: the oldest within `near_m` and `near_rad`, else the nearest. A patch is what was seen
    from the last `lately_m` of way, and that which it is laid over from `lately_m` before and after the old node.
    `agreeing` searches in a row must tell the same shift within `agree_m` and `agree_rad` before it is believed. A
    search is off by `sigma_m` and `sigma_rad` (standard deviations); within `apart_m` of way of the last closure
    another is accepted only if it moves the robot by more than twice that, since each makes the next one dearer.
    """

    node_m: float = 0.25
    node_rad: float = 0.3
    search_m: float = 0.5
    away_m: float = 10.0
    near_m: float = 0.5
    near_rad: float = 0.5
    lately_m: float = 4.0
    agreeing: int = 2
    agree_m: float = 0.25
    agree_rad: float = 0.06
    apart_m: float = 10.0
    sigma_m: float = 0.06
    sigma_rad: float = 0.02
    places: PlaceOptions = field(default_factory=PlaceOptions)


@dataclass(frozen=True, slots=True)
class Scan:
    """The floor's edge as it was seen from `offset` in the frame of `node`."""

    node: int
    offset: Pose
    edge: FloorEdge
    view: FloorView


class Loops:
    """The graph and what is known of loops. `refused` counts places that looked known and contradicted the path, and
    `last` is what the last search found, sure or not."""

    def __init__(self, options: LoopOptions | None) -> None:
        self.options = options
        self.graph = PoseGraph()
        self.scans: list[Scan] = []
        self.refused = 0
        self.last: Fit | None = None
        self._offset = Pose()
        self._variance = (0.0, 0.0)
        self._way: list[float] = [0.0]
        self._here_m = 0.0
        self._searched_m = 0.0
        self._search: Generator[None, None, Closure | None] | None = None
        self._found: list[Closure] = []

    @property
    def way_m(self) -> float:
        """Metres that the robot has driven, by odometry."""
        return self._here_m

    def advance(self, motion: Pose, variance_m2: float, variance_rad2: float) -> tuple[int, Pose]:
        """Go on by `motion`; the node that the robot is at now and its pose in that node's frame."""
        options = self.options or LoopOptions()
        self._offset = self._offset.then(motion)
        self._here_m += math.hypot(motion.x_m, motion.y_m)
        self._variance = (self._variance[0] + variance_m2, self._variance[1] + variance_rad2)
        if (
            math.hypot(self._offset.x_m, self._offset.y_m) > options.node_m
            or abs(self._offset.yaw_rad) > options.node_rad
        ):
            self.graph.add(self._offset, *self._variance)
            self._way.append(self._here_m)
            self._offset, self._variance = Pose(), (0.0, 0.0)
        return len(self.graph) - 1, self._offset

    def step(self) -> bool:
        """Do a little of the search, if there is one; True when a loop was closed and the poses were moved."""
        if self.options is None:
            return False
        if self._search is None:
            if self._here_m - self._searched_m < self.options.search_m:
                return False
            self._searched_m = self._here_m
            self._search = self._look(self.options)
        try:
            next(self._search)
        except StopIteration as ended:
            self._search = None
            return ended.value is not None and self._take(ended.value, self.options)
        return False

    def _look(self, options: LoopOptions) -> Generator[None, None, Closure | None]:
        """Search the place of the newest node among those left long ago."""
        newest = len(self.graph) - 1
        old = int(np.searchsorted(self._way, self._way[newest] - options.away_m))
        if old == 0:
            return None
        places, here = options.places, self.graph.poses[newest]
        distance = np.hypot(*(self.graph.poses[:old, :2] - here[:2]).T)
        # The oldest of the near ones: else each round would be laid over the one before, whose errors add up.
        turned = wrapped(self.graph.poses[:old, 2] - here[2])
        near = (distance < options.near_m) & (np.abs(turned) < options.near_rad)
        first = int(near.argmax()) if near.any() else int(distance.argmin())
        if distance[first] > places.reach_m:
            return None
        yield
        lately = self._patch(newest, (self._way[newest] - options.lately_m, math.inf), places.half_m, places)
        yield
        around = (self._way[first] - options.lately_m, self._way[first] + options.lately_m)
        known = self._patch(first, around, places.half_m + 2 * places.reach_m, places)
        guess = self.graph.pose(first).inverse().then(self.graph.pose(newest))
        fit = yield from search(known, lately, guess, places)
        self.last = fit
        if fit is None or not fit.sure(places):
            return None
        return Closure(first, newest, fit.pose, options.sigma_m, options.sigma_rad)

    def _patch(self, centre: int, way: tuple[float, float], half_m: float, places: PlaceOptions) -> Floats:
        """What was seen from a stretch of the path, in the frame of node `centre`."""
        back = self.graph.pose(centre).inverse()
        taken = [scan for scan in self.scans if way[0] <= self._way[scan.node] <= way[1]]
        seen = [(back.then(self.graph.pose(scan.node)).then(scan.offset), scan.edge, scan.view) for scan in taken]
        return patch(seen, half_m, places)

    def _take(self, closure: Closure, options: LoopOptions) -> bool:
        """Close the loop once enough searches in a row agree on how far the path is off."""
        shift = self._shift(closure)
        if self._found:
            before = self._shift(self._found[-1])
            apart = before.inverse().then(shift)
            if math.hypot(apart.x_m, apart.y_m) > options.agree_m or abs(apart.yaw_rad) > options.agree_rad:
                self._found = []
        self._found.append(closure)
        if len(self._found) < options.agreeing:
            return False
        self._found = []
        small = math.hypot(shift.x_m, shift.y_m) < 2 * options.sigma_m and abs(shift.yaw_rad) < 2 * options.sigma_rad
        closed = self.graph.closures
        if small and closed and self._way[closure.second] - self._way[closed[-1].second] < options.apart_m:
            return False
        if self.graph.close(closure):
            log.info("loop closed: pose %d is seen from pose %d", closure.first, closure.second)
            return True
        self.refused += 1
        return False

    def _shift(self, closure: Closure) -> Pose:
        """Where the closure has its second pose, in the frame of where the path has it."""
        believed = self.graph.pose(closure.second)
        return believed.inverse().then(self.graph.pose(closure.first).then(closure.pose))
