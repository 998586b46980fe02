"""Courses: what stands where, from a name and a seed. Pure geometry; `scene.py` draws it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...devices.errors import UsageError
from .layout import LINE_STEP_M, PlanSizes, Points, Rect, Side, middle_line, plan, random_loop, resample
from .looks import Look, make_look
from .world import Segments, clearance_m, polygon_segments, relax

WANTED_CLEARANCE_M = 0.6
"""How far the line keeps from solids where there is room: a robot's radius and a margin for its errors."""

SIZES = {
    "corridor": PlanSizes(pitch=2.4, corridor=2.4, door=2.4),
    "office": PlanSizes(pitch=4.0, corridor=2.2, door=1.6),
}
BLOCKS = {"corridor": (3, 6), "office": (2, 4)}
"""Blocks of four cells in a course, from (inclusive) to (exclusive)."""

PAINTINGS = ("hans_holbein1", "giovanni_bellini1", "parmigianino1", "velazquez_diego1", "francisco_goya_lucientes1")
"""Portraits in MiniWorld's textures by painters dead for more than 150 years."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A thing on the floor: a `box`, a `cabinet`, or one of MiniWorld's meshes by its name.

    Its footprint is the rectangle `length_m` (along `heading_rad`) x `width_m` around (`x`, `y`).
    """

    kind: str
    x: float
    y: float
    heading_rad: float
    length_m: float
    width_m: float
    height_m: float

    @property
    def corners(self) -> Points:
        """The footprint's corners (4, 2), counter-clockwise."""
        cos, sin = np.cos(self.heading_rad), np.sin(self.heading_rad)
        half = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (self.length_m / 2, self.width_m / 2)
        return np.asarray(half @ np.array([[cos, sin], [-sin, cos]]) + (self.x, self.y))


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture on a wall: the middle of its back, the heading it faces, its width, and a file or texture name."""

    x: float
    y: float
    z: float
    heading_rad: float
    width_m: float
    image: str | Path


@dataclass(frozen=True, slots=True)
class Course:
    """A closed way. `line` (N, 2) is the closed line that a good driver follows, a point every 5 cm; `solids` (S, 4)
    are the walls, the first `wall_count` of them, and the outlines of the obstacles."""

    name: str
    seed: int
    sizes: PlanSizes
    rects: tuple[Rect, ...]
    obstacles: tuple[Obstacle, ...]
    pictures: tuple[Picture, ...]
    solids: Segments
    wall_count: int
    line: Points
    look: Look

    @property
    def length_m(self) -> float:
        """Metres once around."""
        return float(np.linalg.norm(self.line - np.roll(self.line, 1, axis=0), axis=1).sum())


def make_course(name: str, seed: int) -> Course:
    """The course `name` (`office` or `corridor`) of a seed; raises UsageError for another name."""
    if name not in SIZES:
        raise UsageError(f"sim://{name}: no course of that name; expected one of {', '.join(sorted(SIZES))}")
    rng = np.random.default_rng((seed, sorted(SIZES).index(name)))
    sizes = SIZES[name]
    cells = random_loop(rng, int(rng.integers(*BLOCKS[name])))
    rooms = [name == "office" and bool(rng.random() < 0.5) for _ in cells]
    rects = plan(cells, rooms, sizes)
    middle = middle_line(cells, sizes.pitch)
    walls = wall_segments(rects)
    obstacles = _furnish(rng, rects, middle, walls) + _scatter(rng, middle, walls, name)
    solids = np.concatenate([walls, *(polygon_segments(o.corners) for o in obstacles)])
    return Course(
        name=name,
        seed=seed,
        sizes=sizes,
        rects=tuple(rects),
        obstacles=tuple(obstacles),
        pictures=tuple(_hang(rng, rects) if name == "office" else ()),
        solids=solids,
        wall_count=len(walls),
        line=resample(relax(resample(middle, 0.15), solids, WANTED_CLEARANCE_M), LINE_STEP_M),
        look=make_look(seed),
    )


def wall_segments(rects: list[Rect]) -> Segments:
    """All walls as (S, 4) segments."""
    segments = []
    for rect in rects:
        for side in SIDES:
            level = rect.edge(side)[0]
            for low, high in rect.walls(side):
                upright = side in ("east", "west")
                segments.append((level, low, level, high) if upright else (low, level, high, level))
    return np.array(segments, float)


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


def _furnish(rng: np.random.Generator, rects: list[Rect], line: Points, walls: Segments) -> list[Obstacle]:
    """Desks with chairs and cabinets along the walls of rooms, plants in their corners, all clear of the way."""
    placed: list[Obstacle] = []
    for rect in (r for r in rects if r.kind == "room"):
        for x, y, facing in wall_spots([rect], 2.0):
            inward = np.array([np.cos(facing), np.sin(facing)])
            if rng.random() < 0.6:
                desk = np.array([x, y]) + inward * 0.5
                placed.append(Obstacle("office_desk", float(desk[0]), float(desk[1]), facing + np.pi, 0.75, 1.5, 0.74))
                chair = desk + inward * 0.65
                placed.append(
                    Obstacle(
                        "office_chair",
                        float(chair[0]),
                        float(chair[1]),
                        facing + rng.uniform(-0.6, 0.6),
                        0.5,
                        0.5,
                        0.95,
                    )
                )
            else:
                at = np.array([x, y]) + inward * 0.26
                placed.append(
                    Obstacle(
                        "cabinet",
                        float(at[0]),
                        float(at[1]),
                        facing,
                        0.42,
                        rng.uniform(0.8, 1.4),
                        rng.uniform(0.8, 1.7),
                    )
                )
        for cx, cy in ((rect.x0, rect.y0), (rect.x1, rect.y0), (rect.x1, rect.y1), (rect.x0, rect.y1)):
            if rng.random() < 0.4:
                x, y = cx + np.sign(rect.x0 + rect.x1 - 2 * cx) * 0.55, cy + np.sign(rect.y0 + rect.y1 - 2 * cy) * 0.55
                placed.append(Obstacle("tree", x, y, rng.uniform(0, 6.28), 0.4, 0.4, rng.uniform(1.0, 1.5)))
    return _without_overlaps(placed, line, walls, 0.75)


def _scatter(rng: np.random.Generator, line: Points, walls: Segments, name: str) -> list[Obstacle]:
    """Boxes and cones that stand into the way from one side and leave at least 0.8 m on the other."""
    placed = []
    normals = np.roll(line, -1, axis=0) - line
    normals = np.stack([-normals[:, 1], normals[:, 0]], axis=1) / np.linalg.norm(normals, axis=1, keepdims=True)
    gap = 4.5 if name == "corridor" else 7.0
    for at in np.arange(rng.uniform(2, 4), len(line) * 0.05 - 1.5, gap):
        i = int((at + rng.uniform(-1, 1)) / 0.05) % len(line)
        kind = ("box", "box", "cone", "barrel")[rng.integers(4)]
        wide = float(rng.uniform(0.25, 0.5)) if kind == "box" else (0.3 if kind == "cone" else 0.45)
        high = float(rng.uniform(0.2, 0.7)) if kind == "box" else (0.5 if kind == "cone" else 0.65)
        offset = rng.choice([-1, 1]) * rng.uniform(0.42, 0.8)
        x, y = line[i] + normals[i] * offset
        placed.append(Obstacle(kind, float(x), float(y), float(rng.uniform(0, 6.28)), wide, wide, high))
    return _without_overlaps(placed, line, walls, 0.15)


def _without_overlaps(placed: list[Obstacle], line: Points, walls: Segments, way_m: float) -> list[Obstacle]:
    """Those that stand free of the walls and leave `way_m` to the middle line, the first of those that overlap."""
    kept: list[Obstacle] = []
    for thing in placed:
        corners = thing.corners
        centre = np.array([[thing.x, thing.y]])
        reach = max(thing.length_m, thing.width_m) / 2
        in_way = clearance_m(line[::4], polygon_segments(corners)).min() < way_m
        in_wall = clearance_m(corners, walls).min() < 0.02 or clearance_m(centre, walls)[0] < 0.15
        others = [np.hypot(thing.x - o.x, thing.y - o.y) - max(o.length_m, o.width_m) / 2 for o in kept]
        close = thing.kind != "office_chair" and bool(others) and min(others) < reach
        if not (in_way or in_wall or close):
            kept.append(thing)
    return kept


def _hang(rng: np.random.Generator, rects: list[Rect]) -> list[Picture]:
    """Paintings on about half of the free stretches of wall."""
    return [
        Picture(
            x, y, 1.25, facing, float(rng.uniform(0.5, 0.8)), f"portraits/{PAINTINGS[rng.integers(len(PAINTINGS))]}"
        )
        for x, y, facing in wall_spots(rects, 1.8)
        if rng.random() < 0.5
    ]
