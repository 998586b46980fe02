"""Floor plans: a closed way through square cells, the rectangles it is built of, and the line along its middle.

Plane coordinates follow REP 103: x forward, y to the left, metres, headings counter-clockwise in radians.
Nothing here knows furniture, looks or drawing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Cell = tuple[int, int]
Side = Literal["east", "north", "west", "south"]
Points = NDArray[np.float64]
"""(N, 2) metres in the plane."""

FILLET_M = 1.2
LINE_STEP_M = 0.05
OPPOSITE: dict[Side, Side] = {"east": "west", "west": "east", "north": "south", "south": "north"}
STEPS: dict[Side, Cell] = {"east": (1, 0), "north": (0, 1), "west": (-1, 0), "south": (0, -1)}


@dataclass(frozen=True, slots=True)
class Opening:
    """A gap in one side of a rectangle, from `low` to `high` along that side's axis and `top_m` high."""

    side: Side
    low: float
    high: float
    top_m: float


@dataclass(slots=True)
class Rect:
    """One rectangle of floor. `kind` is `room` or `corridor`; what is no opening is wall."""

    x0: float
    y0: float
    x1: float
    y1: float
    kind: str
    openings: list[Opening] = field(default_factory=list)

    def edge(self, side: Side) -> tuple[float, float, float]:
        """(level, low, high): where the side lies across its axis, and its extent along it."""
        if side in ("east", "west"):
            return (self.x1 if side == "east" else self.x0), self.y0, self.y1
        return (self.y1 if side == "north" else self.y0), self.x0, self.x1

    def holds(self, x: float, y: float) -> bool:
        """True when the point lies on this rectangle's floor."""
        return self.x0 < x < self.x1 and self.y0 < y < self.y1

    def walls(self, side: Side) -> list[tuple[float, float]]:
        """The stretches of the side that are wall down to the floor."""
        _, at, end = self.edge(side)
        stretches = []
        for gap in sorted((o for o in self.openings if o.side == side), key=lambda o: o.low):
            if gap.low > at + 1e-6:
                stretches.append((at, gap.low))
            at = gap.high
        if end > at + 1e-6:
            stretches.append((at, end))
        return stretches


@dataclass(frozen=True, slots=True)
class PlanSizes:
    """Metres: the pitch of the cells, the width of corridors and of doors, the height of a door and of the ceiling."""

    pitch: float
    corridor: float
    door: float
    door_top: float = 2.05
    ceiling: float = 2.6


def random_loop(rng: np.random.Generator, blocks: int) -> list[Cell]:
    """A closed way through `4 * blocks` cells without branches: the way around a random tree of 2 x 2 blocks.

    Walking around a spanning tree gives a Hamiltonian cycle of the doubled grid; here the tree grows freely.
    """
    tree: list[Cell] = [(0, 0)]
    edges: set[frozenset[Cell]] = set(_ring((0, 0)))
    while len(tree) < blocks:
        x, y = tree[rng.integers(len(tree))]
        dx, dy = list(STEPS.values())[rng.integers(4)]
        new = (x + dx, y + dy)
        if new in tree:
            continue
        tree.append(new)
        edges ^= set(_ring((2 * new[0], 2 * new[1])))
        # The ring that straddles both blocks: taking it out of phase opens each and joins them.
        edges ^= set(_ring((2 * x + dx, 2 * y + dy)))
    cells = _walk(edges)
    return cells[::-1] if rng.random() < 0.5 else cells


def plan(cells: list[Cell], rooms: list[bool], sizes: PlanSizes) -> list[Rect]:
    """The rectangles of a loop: a whole cell where `rooms` says so, else a strip of corridor along the way."""
    rects: list[Rect] = []
    doors: list[dict[Side, Rect]] = []
    for i, cell in enumerate(cells):
        back = side_towards(cell, cells[i - 1])
        ahead = side_towards(cell, cells[(i + 1) % len(cells)])
        made = _room(cell, back, ahead, sizes) if rooms[i] else _corridor(cell, back, ahead, sizes)
        doors.append(made[1])
        rects += made[0]
    for i, cell in enumerate(cells):
        j = (i + 1) % len(cells)
        ahead = side_towards(cell, cells[j])
        wide = not rooms[i] and not rooms[j]
        _join(doors[i][ahead], doors[j][OPPOSITE[ahead]], ahead, sizes.corridor if wide else sizes.door, sizes)
    return rects


def middle_line(cells: list[Cell], pitch: float) -> Points:
    """The closed line through the middle of the cells, its corners rounded; (N, 2), a point about every 5 cm."""
    radius = min(FILLET_M, pitch / 2)
    points: list[Points] = []
    for i, cell in enumerate(cells):
        centre = np.array(cell, float) * pitch
        start = (np.array(cells[i - 1], float) * pitch + centre) / 2
        end = (np.array(cells[(i + 1) % len(cells)], float) * pitch + centre) / 2
        into, out = (centre - start) / (pitch / 2), (end - centre) / (pitch / 2)
        if np.allclose(into, out):
            points.append(np.stack([start, end]))
            continue
        angle = np.linspace(0, np.pi / 2, 25)[:, None]
        pivot = centre - into * radius + out * radius
        arc = pivot + radius * (into * np.sin(angle) - out * np.cos(angle))
        points.append(np.concatenate([start[None], arc, end[None]]))
    return resample(np.concatenate(points), LINE_STEP_M)


def resample(line: Points, step_m: float) -> Points:
    """A closed line with its points at equal distances of about `step_m`."""
    closed = np.concatenate([line, line[:1]])
    lengths = np.linalg.norm(np.diff(closed, axis=0), axis=1)
    keep = np.concatenate([[True], lengths > 1e-9])
    closed, lengths = closed[keep], lengths[lengths > 1e-9]
    at = np.concatenate([[0], np.cumsum(lengths)])
    wanted = np.linspace(0, at[-1], max(8, round(at[-1] / step_m)), endpoint=False)
    return np.stack([np.interp(wanted, at, closed[:, k]) for k in (0, 1)], axis=1)


def _ring(corner: Cell) -> list[frozenset[Cell]]:
    x, y = corner
    around = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)]
    return [frozenset((around[k], around[(k + 1) % 4])) for k in range(4)]


def _walk(edges: set[frozenset[Cell]]) -> list[Cell]:
    near: dict[Cell, list[Cell]] = {}
    for a, b in (sorted(edge) for edge in edges):
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    start = min(near)
    cells = [start, min(near[start])]
    while True:
        ahead = next(c for c in near[cells[-1]] if c != cells[-2])
        if ahead == start:
            return cells
        cells.append(ahead)


def side_towards(cell: Cell, other: Cell) -> Side:
    """The side of `cell` on which its neighbour `other` lies."""
    step = (other[0] - cell[0], other[1] - cell[1])
    return next(side for side, delta in STEPS.items() if delta == step)


def _room(cell: Cell, back: Side, ahead: Side, sizes: PlanSizes) -> tuple[list[Rect], dict[Side, Rect]]:
    x, y, half = cell[0] * sizes.pitch, cell[1] * sizes.pitch, sizes.pitch / 2
    room = Rect(x - half, y - half, x + half, y + half, "room")
    return [room], {back: room, ahead: room}


def _corridor(cell: Cell, back: Side, ahead: Side, sizes: PlanSizes) -> tuple[list[Rect], dict[Side, Rect]]:
    x, y, half, wide = cell[0] * sizes.pitch, cell[1] * sizes.pitch, sizes.pitch / 2, sizes.corridor / 2
    if ahead == OPPOSITE[back]:
        along, across = (half, wide) if ahead in ("east", "west") else (wide, half)
        strip = Rect(x - along, y - across, x + along, y + across, "corridor")
        return [strip], {back: strip, ahead: strip}
    corner = Rect(x - wide, y - wide, x + wide, y + wide, "corridor")
    if half - wide < 1e-6:
        return [corner], {back: corner, ahead: corner}
    rects, doors = [corner], {}
    for side in (back, ahead):
        dx, dy = STEPS[side]
        far, near = half, wide
        xs = sorted((x + dx * near, x + dx * far)) if dx else [x - wide, x + wide]
        ys = sorted((y + dy * near, y + dy * far)) if dy else [y - wide, y + wide]
        arm = Rect(xs[0], ys[0], xs[1], ys[1], "corridor")
        _join(corner, arm, side, sizes.corridor, sizes)
        rects.append(arm)
        doors[side] = arm
    return rects, doors


def _join(a: Rect, b: Rect, side: Side, width: float, sizes: PlanSizes) -> None:
    open_between(a, b, side, width, sizes.ceiling if width >= sizes.corridor else sizes.door_top)


def open_between(a: Rect, b: Rect, side: Side, width: float, top: float) -> None:
    """Open the middle of a `side` of `a`, and of the side of `b` that lies on it, `width` wide and `top` high."""
    _, low, high = a.edge(side)
    middle = (low + high) / 2
    for rect, at in ((a, side), (b, OPPOSITE[side])):
        rect.openings.append(Opening(at, middle - width / 2, middle + width / 2, top))
