"""The expert: drives with the map in hand. What the network learns to do from pictures alone."""

from __future__ import annotations

import math

import numpy as np

from .course import Course
from .robot import MAX_SPEED_MPS, MAX_YAW_RATE_RPS, RADIUS_M, Pose, wrap
from .world import free_ahead_m

LOOKAHEAD_M = 0.7
COLLISION_M = 0.55
"""Something within this distance of the robot's front, straight ahead, is a collision to come: about a second."""


def steer(course: Course, pose: Pose, nearest: int | None = None) -> float:
    """Pure pursuit (Coulter, 1992) of the course's line at top speed; -1..1, positive to the left.

    `nearest` is the index of the line's point to go on from, where the caller knows it.
    """
    at = nearest_index(course, pose) if nearest is None else nearest
    ahead = course.line[(at + round(LOOKAHEAD_M / 0.05)) % len(course.line)]
    dx, dy = ahead - (pose.x, pose.y)
    bearing = wrap(math.atan2(dy, dx) - pose.heading_rad)
    if abs(bearing) > math.pi / 2:
        return math.copysign(1.0, bearing)
    curvature = 2 * math.sin(bearing) / max(math.hypot(dx, dy), 0.3)
    return float(np.clip(curvature * MAX_SPEED_MPS / MAX_YAW_RATE_RPS, -1, 1))


def speed(course: Course, pose: Pose) -> float:
    """0..1 of the top speed: full with a free way, less with something within a metre, nothing when it touches."""
    free = free_ahead_m(np.array([pose.x, pose.y]), pose.heading_rad, RADIUS_M, course.solids, 0.8)
    return min(1.0, free / 0.4)


def collision_ahead(course: Course, pose: Pose) -> bool:
    """True when going straight on would touch something within `COLLISION_M`."""
    position = np.array([pose.x, pose.y])
    # Rounded up to the march's step, so that the limit itself counts as free.
    return free_ahead_m(position, pose.heading_rad, RADIUS_M, course.solids, 1.0) < COLLISION_M


def nearest_index(course: Course, pose: Pose) -> int:
    """Index of the line's point that is nearest to the robot."""
    return int(((course.line - (pose.x, pose.y)) ** 2).sum(1).argmin())
