"""The robot: a disc the size of a vacuum cleaner that turns and rolls (a unicycle)."""

from __future__ import annotations

import math
from dataclasses import dataclass

RADIUS_M = 0.17
MAX_SPEED_MPS = 0.6
MAX_YAW_RATE_RPS = 1.6


@dataclass(frozen=True, slots=True)
class Pose:
    """Position in metres and heading in radians, counter-clockwise from x, in -pi..pi."""

    x: float
    y: float
    heading_rad: float


def advance(pose: Pose, steer: float, speed: float, dt_s: float) -> Pose:
    """The pose `dt_s` later: `steer` -1..1 (positive left) of the largest yaw rate, `speed` 0..1 of the top speed.

    Exact for constant commands: the robot goes along an arc.
    """
    turn = max(-1.0, min(1.0, steer)) * MAX_YAW_RATE_RPS * dt_s
    way = max(0.0, min(1.0, speed)) * MAX_SPEED_MPS * dt_s
    # The chord of the arc points half the turn ahead and is shorter than the arc by sin(a)/a.
    half = turn / 2
    chord = way * (math.sin(half) / half if abs(half) > 1e-9 else 1.0)
    x = pose.x + chord * math.cos(pose.heading_rad + half)
    y = pose.y + chord * math.sin(pose.heading_rad + half)
    return Pose(x, y, wrap(pose.heading_rad + turn))


def wrap(angle_rad: float) -> float:
    """The same angle in -pi..pi."""
    return math.remainder(angle_rad, 2 * math.pi)
