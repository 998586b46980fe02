"""Where things stand in a plan: furniture in rooms, small things in the way, and what narrows it."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from .layout import LINE_STEP_M, Points, Rect, Side
from .things import Obstacle, Sized, Stock, one_of
from .world import Segments, clearance_m, crosses, free_ahead_m, polygon_segments

SIDES: tuple[Side, ...] = ("east", "north", "west", "south")
FACING: dict[Side, float] = {"east": np.pi, "north": -np.pi / 2, "west": 0.0, "south": np.pi / 2}
"""The heading that something on the inner face of a side looks to."""


def wall_spots(rects: list[Rect], wanted_m: float) -> list[tuple[float, float, float]]:
    """(x, y, facing heading) in the middle of every stretch of wall at least `wanted_m` long."""
    spots = []
    for rect in rects:
        for side in SIDES:
            level = rect.edge(side)[0]
            for low, high in rect.walls(side):
                if high - low >= wanted_m:
                    middle = (low + high) / 2
                    x, y = (level, middle) if side in ("east", "west") else (middle, level)
                    spots.append((x, y, FACING[side]))
    return spots


def furnish(rng: np.random.Generator, rects: list[Rect], line: Points, walls: Segments, stock: Stock) -> list[Obstacle]:
    """Desks with seats and storage along the walls of rooms, plants in their corners, all clear of the way."""
    placed: list[Obstacle] = []
    seats = set()
    for rect in (r for r in rects if r.kind == "room"):
        for x, y, facing in wall_spots([rect], 2.0):
            if rng.random() < 0.6:
                desk = _against(rng, one_of(rng, stock.desk), x, y, facing, 0.05)
                placed.append(desk)
                if stock.seat:
                    before, turn = desk.length_m + 0.05 + 0.35, np.pi + rng.uniform(-0.6, 0.6)
                    placed.append(_against(rng, one_of(rng, stock.seat), x, y, facing, before, turn))
                    seats.add(placed[-1])
            else:
                placed.append(_against(rng, one_of(rng, stock.storage), x, y, facing, 0.05))
        for cx, cy in ((rect.x0, rect.y0), (rect.x1, rect.y0), (rect.x1, rect.y1), (rect.x0, rect.y1)):
            if rng.random() < 0.4:
                x, y = cx + np.sign(rect.x0 + rect.x1 - 2 * cx) * 0.55, cy + np.sign(rect.y0 + rect.y1 - 2 * cy) * 0.55
                heading = rng.uniform(0, 6.28)
                plant = one_of(rng, stock.plant)
                placed.append(Obstacle(plant.draw_kind(rng), float(x), float(y), heading, *plant.draw(rng)))
    return _without_overlaps(placed, line, walls, 0.75, seats)


def _against(
    rng: np.random.Generator, sized: Sized, x: float, y: float, facing: float, off_m: float, turn: float = 0.0
) -> Obstacle:
    """One of its kind with its back `off_m` from the wall at (`x`, `y`), turned by `turn` from looking away from it."""
    length, width, height = sized.draw(rng)
    out = off_m + length / 2
    return Obstacle(
        sized.draw_kind(rng),
        x + out * float(np.cos(facing)),
        y + out * float(np.sin(facing)),
        facing + turn,
        length,
        width,
        height,
    )


def scatter(rng: np.random.Generator, line: Points, walls: Segments, gap_m: float, stock: Stock) -> list[Obstacle]:
    """Small things that stand into the way from one side, one about every `gap_m`."""
    placed, normals = [], _normals(line)
    for at in np.arange(rng.uniform(2, 4), len(line) * LINE_STEP_M - 1.5, gap_m):
        i = int((at + rng.uniform(-1, 1)) / LINE_STEP_M) % len(line)
        sized = stock.small[rng.integers(len(stock.small))]
        size = sized.draw(rng)
        offset = rng.choice([-1, 1]) * rng.uniform(0.42, 0.8)
        x, y = line[i] + normals[i] * offset
        placed.append(Obstacle(sized.draw_kind(rng), float(x), float(y), float(rng.uniform(0, 6.28)), *size))
    return _without_overlaps(placed, line, walls, 0.15)


def narrow(rng: np.random.Generator, line: Points, walls: Segments, places: int) -> list[Obstacle]:
    """Up to `places` places where boxes stand out from the walls, on one side or both, and leave 0.95 to 1.2 m."""
    placed, normals = [], _normals(line)
    for i in rng.permutation(len(line))[:places]:
        along = float(np.arctan2(-normals[i][0], normals[i][1]))
        half, both, long = rng.uniform(0.475, 0.6), rng.random() < 0.6, rng.uniform(0.25, 0.6)
        for sign in (1, -1) if both else (1,):
            wall_m = free_ahead_m(line[i], along + sign * np.pi / 2, 0.02, walls, 2.0)
            if 0.15 < wall_m - half < 1.0:
                x, y = line[i] + normals[i] * sign * (half + wall_m) / 2
                size = (float(long), float(wall_m - half), float(rng.uniform(0.3, 1.2)))
                placed.append(Obstacle("box", float(x), float(y), along, *size))
    return _without_overlaps(placed, line, walls, 0.44)


def _normals(line: Points) -> Points:
    """Unit vectors (N, 2) to the left of the closed line."""
    ahead = np.roll(line, -1, axis=0) - line
    return np.asarray(np.stack([-ahead[:, 1], ahead[:, 0]], axis=1) / np.linalg.norm(ahead, axis=1, keepdims=True))


def without_crossings(first: list[Obstacle], second: list[Obstacle]) -> list[Obstacle]:
    """All of `first`, and those of `second` that keep 5 cm from them."""
    if not first:
        return second
    outlines = np.concatenate([polygon_segments(o.corners) for o in first])
    kept = []
    for thing in second:
        points = np.concatenate([thing.corners, [[thing.x, thing.y]]])
        reach = np.hypot(thing.length_m, thing.width_m) / 2
        if clearance_m(points[-1:], outlines)[0] > reach + 0.05:
            kept.append(thing)
    return first + kept


def _without_overlaps(
    placed: list[Obstacle], line: Points, walls: Segments, way_m: float, seats: Container[Obstacle] = ()
) -> list[Obstacle]:
    """Those that stand free of the walls and leave `way_m` to the middle line, the first of those that overlap.

    One of the `seats` may stand close to its desk.
    """
    kept: list[Obstacle] = []
    for thing in placed:
        corners = thing.corners
        centre = np.array([[thing.x, thing.y]])
        reach = max(thing.length_m, thing.width_m) / 2
        in_way = clearance_m(line[::4], polygon_segments(corners)).min() < way_m
        in_wall = clearance_m(corners, walls).min() < 0.02 or clearance_m(centre, walls)[0] < 0.15
        in_wall = in_wall or any(crosses(a, b, walls) for a, b in zip(corners, np.roll(corners, 1, 0), strict=True))
        others = [np.hypot(thing.x - o.x, thing.y - o.y) - max(o.length_m, o.width_m) / 2 for o in kept]
        close = thing not in seats and bool(others) and min(others) < reach
        if not (in_way or in_wall or close):
            kept.append(thing)
    return kept
