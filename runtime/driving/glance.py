"""Where no way is known and the floor ends ahead: a look to both sides, turning on the spot, before it drives on.

A door beside the robot is out of the picture. A robot that drives on until a wall stands before it is in the corner by
then, and farther from the door.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..mapping.geometry import Pose
from ..results import Drive


@dataclass(frozen=True, slots=True)
class GlanceOptions:
    """It begins where no way has been known for `after_s`, and none been seen for `glimpse_s` more, and the map is open
    for less than `open_m` ahead. The robot turns to `sweep_rad` of how it went, to one side, to the other, and back,
    until two looks in turn show way in the share `seen` of the floor; what is within `ahead_rad` was seen before. After
    a find it is `found_s` to the next glance, after none `rest_s`.
    """

    after_s: float = 0.5
    glimpse_s: float = 2.0
    open_m: float = 2.9
    sweep_rad: float = math.radians(105)
    ahead_rad: float = 0.3
    seen: float = 0.08
    found_s: float = 2.0
    rest_s: float = 6.0


class Glance:
    """Looks to both sides, or does not. Give it each frame's drive once."""

    def __init__(self, options: GlanceOptions = GlanceOptions()) -> None:
        self.options = options
        self._looks = 0
        self._known_s = self._not_before = self._failed_until = -math.inf
        self._from_rad = 0.0
        self._sides: list[float] = []

    @property
    def looking(self) -> bool:
        """True while it looks."""
        return bool(self._sides)

    @property
    def sees(self) -> bool:
        """True where the last look shows a way."""
        return self._looks > 0

    def failed(self, time_s: float) -> bool:
        """True for a while after both sides showed none."""
        return time_s < self._failed_until

    def add(self, drive: Drive) -> None:
        """Add a look; a network that tells no way shows none."""
        floor = drive.free_space > 0.5
        share = 0.0 if drive.way is None or not floor.any() else float((drive.way > 0.5)[floor].mean())
        self._looks = self._looks + 1 if share > self.options.seen else 0

    def leave(self, time_s: float) -> None:
        """Say that a way is known, or that the robot does something else now."""
        self._known_s, self._sides = time_s, []

    def correct(self, by: Pose) -> None:
        """What was at a place of the map is at `by.to_world(place)` now."""
        self._from_rad += by.yaw_rad

    def side(
        self, yaw_rad: float, went_rad: float, open_m: float, first: Callable[[], float], time_s: float
    ) -> float | None:
        """The side to turn to on the spot, 1 left and -1 right; None to drive on.

        `yaw_rad` is the heading, `went_rad` the one in which the robot went, `open_m` what is free ahead; `first` tells
        the side to begin with.
        """
        options = self.options
        if not self._sides:
            since_s = options.after_s + options.glimpse_s * self.sees
            if open_m > options.open_m or time_s < max(self._known_s + since_s, self._not_before):
                return None
            side = first()
            self._from_rad, self._sides = went_rad, [side, -side, 0.0]
        off = math.remainder(yaw_rad - self._from_rad, math.tau)
        if self._looks > 1 and options.ahead_rad < abs(off):
            self._not_before = time_s + options.found_s
            self.leave(time_s)
            return None
        while self._sides and self._done(self._sides[0], off):
            self._sides.pop(0)
        if not self._sides:
            self._not_before = self._failed_until = time_s + options.rest_s
            return None
        return self._sides[0] or math.copysign(1.0, -off)

    def _done(self, side: float, off_rad: float) -> bool:
        """True where it has turned to that side, or, of 0, back."""
        return off_rad * side > self.options.sweep_rad if side else abs(off_rad) < self.options.ahead_rad
