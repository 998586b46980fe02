"""Side ways: what opens off the loop and leads nowhere: niches, dead-end corridors and closed rooms.

They open only where the loop goes straight on, so the way to follow is never in doubt: straight on wherever that is
open; the loop turns only where there is wall ahead.
"""

from __future__ import annotations

import numpy as np

from .layout import OPPOSITE, STEPS, Cell, PlanSizes, Rect, Side, open_between, side_towards

LEAST_DEPTH_M = 0.6
ROOM_DEPTH_M = (2.4, 4.5)
_ACROSS: dict[Side, tuple[Side, Side]] = {
    "east": ("north", "south"),
    "west": ("north", "south"),
    "north": ("east", "west"),
    "south": ("east", "west"),
}


def add_side_ways(
    rng: np.random.Generator, cells: list[Cell], rects: list[Rect], sizes: PlanSizes, share: float
) -> list[Rect]:
    """New rectangles off about `share` of the cells that the loop goes straight through, where there is room.

    Each opens into one of `rects`, which gets the opening too.
    """
    taken, made = set(cells), []
    for i, cell in enumerate(cells):
        ahead = side_towards(cell, cells[(i + 1) % len(cells)])
        if ahead != OPPOSITE[side_towards(cell, cells[i - 1])] or rng.random() >= share:
            continue
        x, y = cell[0] * sizes.pitch, cell[1] * sizes.pitch
        rect = next(r for r in rects if r.holds(x, y))
        side = _ACROSS[ahead][rng.integers(2)]
        beyond = _free_cells(cell, side, taken)
        margin_m = sizes.pitch / 2 - abs(rect.edge(side)[0] - (x if side in ("east", "west") else y))
        depth_m = margin_m + sizes.pitch * len(beyond)
        if depth_m < LEAST_DEPTH_M:
            continue
        side_way = _side_way(rng, rect, side, depth_m, sizes)
        level = side_way.edge(side)[0] - rect.edge(side)[0]
        # Of the cells beyond, those that it reaches into.
        taken.update(beyond[: int(np.ceil((abs(level) - margin_m) / sizes.pitch - 1e-9))])
        made.append(side_way)
    return made


def _free_cells(cell: Cell, side: Side, taken: set[Cell]) -> list[Cell]:
    """Up to two cells in a row, beyond `side`, that nothing uses."""
    free: list[Cell] = []
    for k in (1, 2):
        beyond = (cell[0] + k * STEPS[side][0], cell[1] + k * STEPS[side][1])
        if beyond in taken:
            break
        free.append(beyond)
    return free


def _side_way(rng: np.random.Generator, rect: Rect, side: Side, depth_m: float, sizes: PlanSizes) -> Rect:
    """A niche, or where there is depth a dead-end corridor or a room with a door, at most `depth_m` deep."""
    _, low, high = rect.edge(side)
    widest = min(high - low, sizes.pitch)
    kinds = ("niche", "corridor", "corridor", "room", "room") if depth_m >= ROOM_DEPTH_M[0] else ("niche",)
    kind = kinds[rng.integers(len(kinds))]
    if kind == "room":
        depth, width = rng.uniform(ROOM_DEPTH_M[0], min(depth_m, ROOM_DEPTH_M[1])), rng.uniform(0.85, 1) * widest
        opening, top = rng.uniform(0.9, 1.4), sizes.door_top
    elif kind == "corridor":
        depth, width = rng.uniform(2.0, depth_m), min(widest, rng.uniform(1.2, sizes.corridor))
        opening, top = width, sizes.ceiling
    else:
        depth, width = rng.uniform(LEAST_DEPTH_M, min(depth_m, 1.2)), rng.uniform(0.45, 0.85) * widest
        opening, top = width, sizes.ceiling
    made = _outside(rect, side, float(depth), float(width))
    made.kind = "room" if kind == "room" else "corridor"
    open_between(rect, made, side, float(opening), top)
    return made


def _outside(rect: Rect, side: Side, depth: float, width: float) -> Rect:
    """The rectangle of that depth and width on the middle of a side of `rect`."""
    level, low, high = rect.edge(side)
    a, b = (low + high - width) / 2, (low + high + width) / 2
    near, far = sorted((level, level + depth * sum(STEPS[side])))
    if side in ("east", "west"):
        return Rect(near, a, far, b, "corridor")
    return Rect(a, near, b, far, "corridor")
