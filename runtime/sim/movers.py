"""Things that go to and fro, across the way or along it, as a function of simulated time alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .layout import LINE_STEP_M, Points
from .things import Obstacle, Stock
from .world import Segments, clearance_m, free_ahead_m, polygon_segments

WAY_M = 0.42
"""What a moving thing leaves free beside the line: all the time when it goes along it, at its turning points when it
crosses."""
ACROSS_MPS, ALONG_MPS, WAIT_S = (0.2, 0.4), (0.1, 0.4), (3.0, 5.0)
"""What crosses is not slow, and rests at its turning points, so that a robot never waits for long."""
APART_M = 2.5


@dataclass(frozen=True, slots=True)
class Mover:
    """`thing` at its first turning point; it goes from there by `way` (dx, dy) metres at `speed_mps` and back, waits
    `wait_s` at either end, and began `phase_s` before time 0."""

    thing: Obstacle
    way: tuple[float, float]
    speed_mps: float
    wait_s: float
    phase_s: float

    def shares(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much of its way it has gone, 0 to 1, at each time (T,)."""
        there_s = math.hypot(*self.way) / self.speed_mps
        since = (time_s + self.phase_s) % (2 * (self.wait_s + there_s))
        out = (since - self.wait_s) / there_s
        back = (2 * (self.wait_s + there_s) - since) / there_s
        return np.asarray(np.clip(np.minimum(out, back), 0, 1))

    def at(self, time_s: float) -> Obstacle:
        """Where it is at a time."""
        share = float(self.shares(np.array([time_s]))[0])
        return replace(self.thing, x=self.thing.x + share * self.way[0], y=self.thing.y + share * self.way[1])

    def distance_m(self, points: Points, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """From each point (T, 2) to its footprint at the same place of `time_s` (T,); 0 inside."""
        centre = self.shares(time_s)[:, None] * np.array(self.way) + (self.thing.x, self.thing.y)
        cos, sin = math.cos(self.thing.heading_rad), math.sin(self.thing.heading_rad)
        local = (points - centre) @ np.array([[cos, -sin], [sin, cos]])
        outside = np.maximum(np.abs(local) - (self.thing.length_m / 2, self.thing.width_m / 2), 0)
        return np.asarray(np.linalg.norm(outside, axis=1))


def place_movers(
    rng: np.random.Generator, line: Points, solids: Segments, stock: Stock, count: int
) -> tuple[Mover, ...]:
    """Up to `count` moving things on straight stretches of the line, clear of `solids` and of each other."""
    placed: list[Mover] = []
    for i in rng.permutation(len(line))[:300]:
        if len(placed) >= count:
            break
        around = line[(i + np.arange(-20, 21)) % len(line)]
        ahead = around[-1] - around[0]
        straight = np.linalg.norm(ahead) > 0.99 * 40 * LINE_STEP_M
        if not straight or any(np.hypot(m.thing.x - line[i, 0], m.thing.y - line[i, 1]) < APART_M for m in placed):
            continue
        sized = stock.moving[rng.integers(len(stock.moving))]
        heading = math.atan2(ahead[1], ahead[0])
        thing = Obstacle(sized.draw_kind(rng), float(line[i, 0]), float(line[i, 1]), heading, *sized.draw(rng))
        crossing = rng.random() < 0.6
        mover = _across(rng, thing, solids) if crossing else _along(rng, thing, solids)
        shares = (0.0, 1.0) if crossing else np.linspace(0, 1, 9)
        if mover is not None and all(_clear(mover, float(share), line) for share in shares):
            placed.append(mover)
    return tuple(placed)


def _across(rng: np.random.Generator, thing: Obstacle, solids: Segments) -> Mover | None:
    """From one side of the way to the other, `thing` standing on the line and heading along it."""
    here, reach = np.array([thing.x, thing.y]), math.hypot(thing.length_m, thing.width_m) / 2
    left = thing.heading_rad + math.pi / 2
    ends = [free_ahead_m(here, left + turn, reach + 0.03, solids, 1.5) for turn in (0.0, math.pi)]
    if min(ends) < WAY_M + thing.length_m / 2:
        return None
    x, y = thing.x + ends[0] * math.cos(left), thing.y + ends[0] * math.sin(left)
    way = -sum(ends) * math.cos(left), -sum(ends) * math.sin(left)
    # Turned, so that it goes where it looks.
    return _mover(rng, replace(thing, x=x, y=y, heading_rad=left + math.pi), way, ACROSS_MPS)


def _along(rng: np.random.Generator, thing: Obstacle, solids: Segments) -> Mover | None:
    """Beside the line, `thing` standing on it and heading along it."""
    reach = math.hypot(thing.length_m, thing.width_m) / 2
    side = thing.heading_rad + rng.choice([-1, 1]) * math.pi / 2
    out = WAY_M + thing.width_m / 2 + rng.uniform(0.02, 0.3)
    here = np.array([thing.x + out * math.cos(side), thing.y + out * math.sin(side)])
    if clearance_m(here[None], solids)[0] < reach + 0.03:
        return None
    ends = [free_ahead_m(here, thing.heading_rad + turn, reach + 0.03, solids, 2.0) for turn in (math.pi, 0.0)]
    if sum(ends) < 1.0:
        return None
    cos, sin = math.cos(thing.heading_rad), math.sin(thing.heading_rad)
    start = here - ends[0] * np.array([cos, sin])
    return _mover(
        rng, replace(thing, x=float(start[0]), y=float(start[1])), (sum(ends) * cos, sum(ends) * sin), ALONG_MPS
    )


def _mover(rng: np.random.Generator, thing: Obstacle, way: tuple[float, float], speeds: tuple[float, float]) -> Mover:
    return Mover(
        thing, way, float(rng.uniform(*speeds)), float(rng.uniform(*WAIT_S)), phase_s=float(rng.uniform(0, 30))
    )


def _clear(mover: Mover, share: float, line: Points) -> bool:
    """True when it leaves the line free where it has gone `share` of its way."""
    moved = replace(mover.thing, x=mover.thing.x + share * mover.way[0], y=mover.thing.y + share * mover.way[1])
    return bool(clearance_m(line, polygon_segments(moved.corners)).min() > WAY_M - 0.02)
