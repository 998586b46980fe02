"""A motion from one frame to the next with what is known of its error, and two of them made into one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .geometry import Pose


@dataclass(frozen=True, slots=True)
class Motion:
    """The motion since the frame before, in the robot's frame then, and the standard deviations of its parts.

    Metres and radians. `lost`: it is unknown, and stands as zero. Wheel odometry is given as one of these too; leave
    its deviations out and `WHEELS` are taken.
    """

    dx_m: float = 0.0
    dy_m: float = 0.0
    dyaw_rad: float = 0.0
    sigma_m: float | None = None
    sigma_rad: float | None = None
    lost: bool = False

    @property
    def pose(self) -> Pose:
        """The motion as a step for `Pose.then`."""
        return Pose(self.dx_m, self.dy_m, self.dyaw_rad)

    @property
    def way_m(self) -> float:
        """How far it is."""
        return math.hypot(self.dx_m, self.dy_m)


WHEELS_WAY, WHEELS_TURN, WHEELS_SWAY = 0.02, 0.05, 0.05
"""Deviations of wheel odometry that does not say its own: shares of the way and of the turn, and radians a metre."""

SEEN_WAY, SEEN_TURN = 0.005, 0.01
"""What vision is off by beyond the noise of its pixels: a floor that is not flat, a camera that is not quite known."""


def fuse(seen: Motion, wheels: Motion | None) -> Motion:
    """The two weighted by their inverse variances, which is the most probable motion when their errors are normal and
    independent (Thrun, Burgard and Fox, Probabilistic Robotics, section 3.2.4). One that is lost has no weight.
    """
    if wheels is None or wheels.lost:
        return seen
    if seen.lost:
        return wheels
    seen_m2, seen_rad2 = _variances(seen, SEEN_WAY, SEEN_TURN, 0.0)
    wheels_m2, wheels_rad2 = _variances(wheels, WHEELS_WAY, WHEELS_TURN, WHEELS_SWAY)
    place, turn = wheels_m2 / (seen_m2 + wheels_m2), wheels_rad2 / (seen_rad2 + wheels_rad2)
    return Motion(
        place * seen.dx_m + (1 - place) * wheels.dx_m,
        place * seen.dy_m + (1 - place) * wheels.dy_m,
        turn * seen.dyaw_rad + (1 - turn) * wheels.dyaw_rad,
        math.sqrt(place * seen_m2),
        math.sqrt(turn * seen_rad2),
    )


def path_variance(motion: Motion, blind: bool) -> tuple[float, float]:
    """Variances in square metres and square radians that a motion adds to the path, as a random walk.

    Errors of frames that follow each other are alike, so these are drawn from what laps in the simulator are off by,
    1 cm and 0.6 degrees after a metre, and not from a frame's own; `blind`: vision was lost.
    """
    share = 4.0 if blind else 1.0
    way = motion.way_m + 0.1 * abs(motion.dyaw_rad)
    return share * 0.01**2 * way + 1e-8, share * 0.01**2 * way + 1e-8


def _variances(motion: Motion, way: float, turn: float, sway: float) -> tuple[float, float]:
    """Of the place and of the turn: what the motion says of itself, or shares of it, and at least 0.2 mm or mrad."""
    own_m = motion.sigma_m if motion.sigma_m is not None else 0.0
    own_rad = motion.sigma_rad if motion.sigma_rad is not None else 0.0
    share_m, share_rad = way * motion.way_m, turn * abs(motion.dyaw_rad) + sway * motion.way_m
    return own_m**2 + share_m**2 + 2e-4**2, own_rad**2 + share_rad**2 + 2e-4**2
