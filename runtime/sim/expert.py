"""The expert: drives with the map in hand. What the network learns to do from pictures alone."""

from __future__ import annotations

import math

import numpy as np

from ..mapping.geometry import pursuit_curvature
from .course import Course
from .layout import LINE_STEP_M
from .robot import MAX_SPEED_MPS, MAX_YAW_RATE_RPS, RADIUS_M, Pose, wrap
from .world import free_ahead_m, polygon_segments

LOOKAHEAD_M = 0.7
COLLISION_M = 0.55
"""Something within this distance of the robot's front, straight ahead, is a collision to come: about a second."""
STOP_M = 0.06
"""It stops so far before what is ahead; a march finds that to 4 cm."""
MOVING_M = 0.15
"""A moving thing counts so much wider: it may be there in half a second."""
FORESEEN_S = 3.0
NOTHING = np.empty((0, 4))


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
    curvature = pursuit_curvature(bearing, math.hypot(dx, dy))
    return float(np.clip(curvature * MAX_SPEED_MPS / MAX_YAW_RATE_RPS, -1, 1))


def speed(course: Course, pose: Pose) -> float:
    """0..1 of the top speed: full with a free way, less with something close ahead, nothing just before it touches.

    Before things that move it waits or passes, see `_yielding`.
    """
    free = free_ahead_m(np.array([pose.x, pose.y]), pose.heading_rad, RADIUS_M, course.solids, 0.8)
    return min(1.0, max(0.0, free - STOP_M) / 0.4, _yielding(course, pose))


def collision_ahead(course: Course, pose: Pose) -> bool:
    """True when going straight on would touch something within `COLLISION_M`; what moves counts `MOVING_M` wider."""
    position = np.array([pose.x, pose.y])
    moving = [polygon_segments(mover.at(course.time_s).corners) for mover in course.movers]
    # Rounded up to the march's step, so that the limit itself counts as free.
    return any(
        len(solids) and free_ahead_m(position, pose.heading_rad, radius, solids, 1.0) < COLLISION_M
        for solids, radius in ((course.solids, RADIUS_M), (np.concatenate([NOTHING, *moving]), RADIUS_M + MOVING_M))
    )


def _yielding(course: Course, pose: Pose) -> float:
    """The largest share of the top speed at which the next `FORESEEN_S` on the line stay clear of all that moves.

    The expert knows where moving things will be. With none that stays clear: the one that keeps the most distance.
    """
    here = np.array([[pose.x, pose.y]])
    now = np.array([course.time_s])
    reach_m = FORESEEN_S * MAX_SPEED_MPS
    near = [m for m in course.movers if m.distance_m(here, now)[0] < 2 * reach_m + math.hypot(*m.way)]
    if not near:
        return 1.0
    later_s = np.arange(0.0, FORESEEN_S, 0.1)
    at, clear_m = nearest_index(course, pose), {}
    for share in (1.0, 0.5, 0.25, 0.0):
        along = np.round(share * MAX_SPEED_MPS * later_s / LINE_STEP_M).astype(int)
        way = course.line[(at + along) % len(course.line)]
        clear_m[share] = min(float(m.distance_m(way, course.time_s + later_s).min()) for m in near)
        if clear_m[share] > RADIUS_M + 0.1:
            return share
    return max(clear_m, key=lambda share: clear_m[share])


def nearest_index(course: Course, pose: Pose) -> int:
    """Index of the line's point that is nearest to the robot."""
    return int(((course.line - (pose.x, pose.y)) ** 2).sum(1).argmin())
