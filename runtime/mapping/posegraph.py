"""A chain of poses with loop closures, made to agree in the least squares.

The unknowns are the steps from pose to pose, not the poses, so that a closure is a small linear system whatever the
length of the chain: Estrada, Neira and Tardos, Hierarchical SLAM, IEEE T-RO 2005, section III (loop closing as a
constraint on relative transformations, solved by iteration); the update is that of an iterated Kalman filter (Bell and
Cathey 1993), which is Gauss-Newton on the same cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import Pose, wrapped

Array = NDArray[np.float64]
Ends = NDArray[np.intp]

CHI2_3 = 16.27
"""A thousandth of true closures lies beyond: the chi-squared distribution of three degrees of freedom at 0.999."""

SETTLED = 1e-6
"""The least squares are solved where no step changes by more, in metres and radians."""


@dataclass(frozen=True, slots=True)
class Closure:
    """Pose `second` was seen to lie at `pose` in the frame of pose `first`, with these standard deviations.

    That along x and y is one, so that the variance is the same along any axes.
    """

    first: int
    second: int
    pose: Pose
    sigma_m: float = 0.06
    sigma_rad: float = 0.02

    @property
    def measured(self) -> Array:
        return np.array([self.pose.x_m, self.pose.y_m, self.pose.yaw_rad])

    @property
    def variance(self) -> Array:
        return np.array([self.sigma_m, self.sigma_m, self.sigma_rad]) ** 2


class PoseGraph:
    """Poses 0, 1, 2, ... of which 0 is the origin, and the closures that were accepted."""

    def __init__(self) -> None:
        self.closures: list[Closure] = []
        self._measured: Array = np.zeros((0, 3))
        self._variance: Array = np.zeros((0, 2))
        self._steps: Array = np.zeros((0, 3))
        self.poses: Array = np.zeros((1, 3))

    def __len__(self) -> int:
        return len(self.poses)

    def pose(self, index: int) -> Pose:
        """A pose as it is believed now."""
        return Pose(*self.poses[index].tolist())

    def unclosed(self, index: int) -> Pose:
        """A pose as the measured steps alone have it."""
        return Pose(*compose(self._measured[:index])[-1].tolist()) if index else Pose()

    def add(self, step: Pose, variance_m2: float, variance_rad2: float) -> None:
        """A pose after the last one, with the variances of the step that leads to it."""
        row = (step.x_m, step.y_m, step.yaw_rad)
        self._measured = np.vstack([self._measured, row])
        self._variance = np.vstack([self._variance, (variance_m2, variance_rad2)])
        self._steps = np.vstack([self._steps, row])
        last = self.pose(-1).then(step)
        self.poses = np.vstack([self.poses, (last.x_m, last.y_m, last.yaw_rad)])

    def covariance(self, first: int, second: int) -> Array:
        """Covariance (3, 3) of pose `second` seen from pose `first`, along the axes of pose 0, with all closures."""
        chain = Chain(self._steps, self._variance)
        new = np.array([[first, second]])
        prior = chain.covariance(new, new)
        if not self.closures:
            return prior
        ends = _ends(self.closures)
        system = chain.covariance(ends, ends) + _noise(self.closures)
        cross = chain.covariance(new, ends)
        return np.asarray(prior - cross @ np.linalg.solve(system, cross.T))

    def close(self, closure: Closure) -> bool:
        """Take a closure in and move the poses; False, and nothing is moved, when it contradicts what is known."""
        error = _errors([closure], Chain(self._steps, self._variance))[0]
        expected = self.covariance(closure.first, closure.second) + np.diag(closure.variance)
        if float(error @ np.linalg.solve(expected, error)) > CHI2_3:
            return False
        closures = [*self.closures, closure]
        steps = self._solve(closures)
        chain = Chain(steps, self._variance)
        variance = np.array([c.variance for c in closures])
        if float((_errors(closures, chain) ** 2 / variance).sum(1).max()) > CHI2_3:
            return False
        self.closures, self._steps, self.poses = closures, steps, chain.poses
        return True

    def _solve(self, closures: Sequence[Closure], iterations: int = 6) -> Array:
        """The most probable steps (n, 3) under the measured ones and the closures."""
        ends, noise, steps = _ends(closures), _noise(closures), self._steps
        for _ in range(iterations):
            chain = Chain(steps, self._variance)
            back = self._measured - steps
            off = _errors(closures, chain) - chain.moved(ends, back)
            pull: Array = np.asarray(np.linalg.solve(chain.covariance(ends, ends) + noise, off.ravel()))
            change: Array = back + chain.shares(ends, pull.reshape(-1, 3))
            steps = steps + change
            if np.abs(change).max() < SETTLED:
                break
        return steps


class Chain:
    """Steps, and how the pose at one end of a stretch of them, in the frame of the other, depends on each.

    With J, the derivative (3 m, 3 n) of m such poses by n steps, and V, the steps' variances, this gives J V Jᵀ, J x
    and V Jᵀ y in O(n + m²), where J itself has 9 n m numbers: a step has one variance along x and y, so that with all
    of it turned into the axes of pose 0 each entry is a sum over the steps of a stretch, with no factor that depends
    on both. (To solve for y is O(m³) still.) Stretches (m, 2) are the poses at which they begin and end, the earlier
    one first; what is theirs is along the axes of pose 0.
    """

    def __init__(self, steps: Array, variance: Array) -> None:
        """`steps` (n, 3), and their `variance` (n, 2): in square metres along x and y, in square radians."""
        self.poses = np.vstack([np.zeros(3), compose(steps)])
        self._variance = variance
        self._after = self.poses[1:, :2]
        metres, turn = variance.T
        x, y = self._after.T
        self._sums = _sums(np.stack([metres, turn, turn * x, turn * y, turn * x * x, turn * x * y, turn * y * y], 1))

    def covariance(self, ends: Ends, others: Ends) -> Array:
        """J V J'ᵀ (3 m, 3 k) of stretches (m, 2) and others (k, 2)."""
        low = np.maximum(ends[:, None, 0], others[None, :, 0])
        high = np.maximum(low, np.minimum(ends[:, None, 1], others[None, :, 1]))
        metres, turn, x, y, xx, xy, yy = np.moveaxis(self._sums[high] - self._sums[low], -1, 0)
        (ax, ay), (bx, by) = self.poses[ends[:, 1], :2].T[:, :, None], self.poses[others[:, 1], :2].T[:, None]
        both = np.zeros((len(ends), len(others), 3, 3))
        # A turn moves the far end at right angles to the way there: by (-dy, dx).
        both[..., 0, 0] = metres + turn * ay * by - ay * y - by * y + yy
        both[..., 0, 1] = -(turn * ay * bx - ay * x - bx * y + xy)
        both[..., 1, 0] = -(turn * ax * by - ax * y - by * x + xy)
        both[..., 1, 1] = metres + turn * ax * bx - ax * x - bx * x + xx
        both[..., 0, 2], both[..., 1, 2] = -(turn * ay - y), turn * ax - x
        both[..., 2, 0], both[..., 2, 1] = -(turn * by - y), turn * bx - x
        both[..., 2, 2] = turn
        return both.transpose(0, 2, 1, 3).reshape(3 * len(ends), 3 * len(others))

    def moved(self, ends: Ends, change: Array) -> Array:
        """J x (m, 3): how far a `change` (n, 3) of the steps moves the end of each stretch."""
        turn = change[:, 2:]
        sums = _sums(np.hstack([_turned(change[:, :2], self.poses[:-1, 2]), turn, turn * self._after]))
        part = sums[ends[:, 1]] - sums[ends[:, 0]]
        lever = part[:, 2:3] * self.poses[ends[:, 1], :2] - part[:, 3:]
        return np.column_stack([part[:, 0] - lever[:, 1], part[:, 1] + lever[:, 0], part[:, 2]])

    def shares(self, ends: Ends, pull: Array) -> Array:
        """V Jᵀ y (n, 3): how each step gives way to a `pull` (m, 3) at the end of each stretch."""
        x, y = self.poses[ends[:, 1], :2].T
        parts = np.column_stack([pull[:, :2], x * pull[:, 1] - y * pull[:, 0] + pull[:, 2]])
        at = np.zeros((len(self.poses), 3))
        np.add.at(at, ends[:, 0], parts)
        np.add.at(at, ends[:, 1], -parts)
        force = at.cumsum(0)[:-1]
        turn = force[:, 2] - (self._after[:, 0] * force[:, 1] - self._after[:, 1] * force[:, 0])
        along = _turned(force[:, :2], -self.poses[:-1, 2])
        return np.column_stack([self._variance[:, :1] * along, self._variance[:, 1] * turn])


def _turned(points: Array, yaw: Array) -> Array:
    """(n, 2) points, each turned by its `yaw` (n,)."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y = points.T
    return np.stack([cos * x - sin * y, sin * x + cos * y], 1)


def _sums(values: Array) -> Array:
    """(n + 1, ...) the sums of the first 0, 1, 2, ... of `values` (n, ...)."""
    return np.vstack([np.zeros((1, values.shape[1])), values.cumsum(0)])


def _ends(closures: Sequence[Closure]) -> Ends:
    return np.array([(c.first, c.second) for c in closures], np.intp)


def _noise(closures: Sequence[Closure]) -> Array:
    return np.diag(np.concatenate([c.variance for c in closures]))


def _errors(closures: Sequence[Closure], chain: Chain) -> Array:
    """(m, 3) what each closure measured, less what the chain has, along the axes of pose 0."""
    first, second = (chain.poses[ends] for ends in _ends(closures).T)
    measured = np.array([c.measured for c in closures])
    off = np.column_stack([_turned(measured[:, :2], first[:, 2]), measured[:, 2]]) - (second - first)
    return np.column_stack([off[:, :2], wrapped(off[:, 2])])


def compose(steps: Array) -> Array:
    """The poses (n, 3) after each of `steps` (n, 3), from the origin; headings are not wrapped."""
    yaw = np.cumsum(steps[:, 2])
    before = np.concatenate([[0.0], yaw[:-1]])
    cos, sin = np.cos(before), np.sin(before)
    x = np.cumsum(cos * steps[:, 0] - sin * steps[:, 1])
    y = np.cumsum(sin * steps[:, 0] + cos * steps[:, 1])
    return np.stack([x, y, yaw], axis=1)
