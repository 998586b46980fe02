"""A chain of poses with loop closures, made to agree in the least squares.

The unknowns are the steps from pose to pose, not the poses, so that a closure is a small linear system whatever the
length of the chain: Estrada, Neira and Tardos, Hierarchical SLAM, IEEE T-RO 2005, section III (loop closing as a
constraint on relative transformations, solved by iteration); the update is that of an iterated Kalman filter (Bell and
Cathey 1993), which is Gauss-Newton on the same cost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import Pose

Array = NDArray[np.float64]

CHI2_3 = 16.27
"""A thousandth of true closures lies beyond: the chi-squared distribution of three degrees of freedom at 0.999."""


@dataclass(frozen=True, slots=True)
class Closure:
    """Pose `second` was seen to lie at `pose` in the frame of pose `first`, with these standard deviations."""

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
        self._measured: list[tuple[float, float, float]] = []
        self._variance: list[tuple[float, float, float]] = []
        self._steps: Array = np.zeros((0, 3))
        self.poses: Array = np.zeros((1, 3))

    def __len__(self) -> int:
        return len(self.poses)

    def pose(self, index: int) -> Pose:
        """A pose as it is believed now."""
        return Pose(*self.poses[index].tolist())

    def unclosed(self, index: int) -> Pose:
        """A pose as the measured steps alone have it."""
        return Pose(*compose(np.array(self._measured[:index]))[-1].tolist()) if index else Pose()

    def add(self, step: Pose, variance_m2: float, variance_rad2: float) -> None:
        """A pose after the last one, with the variances of the step that leads to it."""
        row = (step.x_m, step.y_m, step.yaw_rad)
        self._measured.append(row)
        self._variance.append((variance_m2, variance_m2, variance_rad2))
        self._steps = np.vstack([self._steps, row])
        last = self.pose(-1).then(step)
        self.poses = np.vstack([self.poses, (last.x_m, last.y_m, last.yaw_rad)])

    def covariance(self, first: int, second: int) -> Array:
        """Covariance (3, 3) of pose `second` in the frame of pose `first`, with what the closures so far tell."""
        variance = np.array(self._variance).ravel()
        new = self._jacobian(first, second, self._steps)
        spread = new * variance
        prior = spread @ new.T
        if not self.closures:
            return np.asarray(prior)
        jacobian = np.vstack([self._jacobian(c.first, c.second, self._steps) for c in self.closures])
        system = (jacobian * variance) @ jacobian.T + np.diag(np.concatenate([c.variance for c in self.closures]))
        cross = spread @ jacobian.T
        return np.asarray(prior - cross @ np.linalg.solve(system, cross.T))

    def close(self, closure: Closure) -> bool:
        """Take a closure in and move the poses; False, and nothing is moved, when it contradicts what is known."""
        error = self._error(closure, self._steps)
        expected = self.covariance(closure.first, closure.second) + np.diag(closure.variance)
        if float(error @ np.linalg.solve(expected, error)) > CHI2_3:
            return False
        steps = self._solve([*self.closures, closure])
        if any(float((self._error(c, steps) ** 2 / c.variance).sum()) > CHI2_3 for c in [*self.closures, closure]):
            return False
        self.closures.append(closure)
        self._steps = steps
        self.poses = np.vstack([np.zeros(3), compose(steps)])
        return True

    def _solve(self, closures: Sequence[Closure], iterations: int = 6) -> Array:
        """The most probable steps (n, 3) under the measured ones and the closures."""
        measured, variance = np.array(self._measured), np.array(self._variance).ravel()
        noise = np.diag(np.concatenate([c.variance for c in closures]))
        steps = self._steps
        for _ in range(iterations):
            jacobian = np.vstack([self._jacobian(c.first, c.second, steps) for c in closures])
            error = np.concatenate([self._error(c, steps) for c in closures])
            back = (measured - steps).ravel()
            spread = variance[:, None] * jacobian.T
            gain = np.linalg.solve(jacobian @ spread + noise, error - jacobian @ back)
            steps = steps + (back + spread @ gain).reshape(-1, 3)
        return steps

    def _error(self, closure: Closure, steps: Array) -> Array:
        error: Array = closure.measured - compose(steps[closure.first : closure.second])[-1]
        error[2] = math.remainder(error[2], 2 * math.pi)
        return error

    def _jacobian(self, first: int, second: int, steps: Array) -> Array:
        """d(pose `second` in the frame of `first`) / d(all steps), (3, 3 n)."""
        between = compose(steps[first:second])
        heading = np.concatenate([[0.0], between[:-1, 2]])
        cos, sin = np.cos(heading), np.sin(heading)
        lever = between[-1, :2] - between[:, :2]
        jacobian = np.zeros((3, len(steps), 3))
        here = jacobian[:, first:second]
        here[0] = np.stack([cos, -sin, -lever[:, 1]], axis=1)
        here[1] = np.stack([sin, cos, lever[:, 0]], axis=1)
        here[2, :, 2] = 1.0
        return jacobian.reshape(3, -1)


def compose(steps: Array) -> Array:
    """The poses (n, 3) after each of `steps` (n, 3), from the origin; headings are not wrapped."""
    yaw = np.cumsum(steps[:, 2])
    before = np.concatenate([[0.0], yaw[:-1]])
    cos, sin = np.cos(before), np.sin(before)
    x = np.cumsum(cos * steps[:, 0] - sin * steps[:, 1])
    y = np.cumsum(sin * steps[:, 0] + cos * steps[:, 1])
    return np.stack([x, y, yaw], axis=1)
