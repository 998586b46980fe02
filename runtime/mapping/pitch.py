"""How far down the camera really looks: its pitch, estimated from how the floor goes by.

A mount that is off by a few degrees puts everything at a wrong distance, far things most. On a camera that moves, the
floor far away then seems to go by at another speed than the floor close by. Each pair of looks tells that; a Kalman
filter with one state gathers it (Thrun, Burgard and Fox, Probabilistic Robotics, section 3.2.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .geometry import FloorView, Points, Pose

Array = NDArray[np.float64]
DERIVED_RAD = 1e-3
"""Over which the derivative is taken."""
STEEPEST_DEG, LEAST_FLOOR_DEG = 89.0, 1.0
"""A camera is never believed to look farther down than this, nor so far up that less than this of floor is in view."""


@dataclass(frozen=True, slots=True)
class PitchOptions:
    """Standard deviations in radians: `mount_rad` of how the camera is mounted (0: the pitch is taken as told),
    `look_rad` of what one pair of looks tells at the best, `drift_rad` of how far the mount may turn between two pairs.

    A step is taken to be at most `most_step_rad`, and all of them come to at most `most_rad`. A large one says that the
    pitch is less sure than was believed, and this pair as well, both by the share `surprise` of it. The pitch is
    sought, by short pairs, until it is known to `settled_rad`, or `most_pairs` have not told it.
    """

    mount_rad: float = math.radians(2.0)
    look_rad: float = math.radians(0.2)
    drift_rad: float = math.radians(0.03)
    most_step_rad: float = math.radians(2.0)
    most_rad: float = math.radians(6.0)
    surprise: float = 0.5
    settled_rad: float = math.radians(0.5)
    most_pairs: int = 30


class PitchFilter:
    """The pitch beyond what was told, `offset_rad`, and its standard deviation `sigma_rad`."""

    def __init__(self, options: PitchOptions = PitchOptions()) -> None:
        self.options = options
        self.offset_rad, self.sigma_rad = 0.0, options.mount_rad
        self._pairs = 0

    @property
    def seeking(self) -> bool:
        """True while it is not known well."""
        return self.sigma_rad > self.options.settled_rad and self._pairs < self.options.most_pairs

    def add(self, step_rad: float, information: float) -> None:
        """Add what a pair of looks tells: `step_rad` more, with the information (1/rad^2) that its noise leaves."""
        options = self.options
        self._pairs += 1
        if not options.mount_rad or not information > 0:
            return
        step = min(options.most_step_rad, max(-options.most_step_rad, step_rad))
        surprise = (options.surprise * step) ** 2
        before = max(self.sigma_rad**2 + options.drift_rad**2, surprise)
        share = before / (before + options.look_rad**2 + 1 / information + surprise)
        self.offset_rad = min(options.most_rad, max(-options.most_rad, self.offset_rad + share * step))
        self.sigma_rad = math.sqrt((1 - share) * before)

    def view(self, told: FloorView) -> FloorView:
        """How the camera sees the floor, as it is believed now, where `told` is how it should."""
        return tilted(told, self.offset_rad)


def tilted(view: FloorView, by_rad: float) -> FloorView:
    """The view of a camera that looks `by_rad` farther down, as far as it sees floor."""
    geometry = view.geometry
    highest = LEAST_FLOOR_DEG - geometry.fov_y_deg / 2
    pitch_deg = min(STEEPEST_DEG, max(highest, geometry.pitch_deg + math.degrees(by_rad)))
    return FloorView(replace(geometry, pitch_deg=pitch_deg), view.frame_hw, view.raster_hw) if by_rad else view


def pixel_by_pitch(view: FloorView, points: Points, pose: Pose) -> Array:
    """d(pixel) / d(pitch) (N, 2) of the pixels in which a look shows what another, from which the floor lies moved by
    `pose`, showed in the pixels of the floor `points` (N, 2)."""
    other = tilted(view, DERIVED_RAD)
    moved = other.to_pixels(pose.to_world(other.to_floor(view.to_pixels(points))))
    return (moved - view.to_pixels(pose.to_world(points))) / DERIVED_RAD


def pitch_step(by_pitch: Array, jacobian: Array, error: Array, weight: Array) -> tuple[float, float]:
    """The step of the pitch in radians that lessens the `error` (N,) most, where what changes it by the `jacobian`
    (N, k) may follow, and its information (1/rad^2) for errors of variance 1. `by_pitch` and `weight` are (N,)."""
    weighted = jacobian.T * weight
    inverse = np.linalg.pinv(weighted @ jacobian)
    across = weighted @ by_pitch
    whole = float((weight * by_pitch) @ by_pitch)
    information = whole - float(across @ inverse @ across)
    gradient = float((weight * by_pitch) @ error - across @ inverse @ (weighted @ error))
    return (-gradient / information, information) if information > 1e-9 * whole else (0.0, 0.0)
