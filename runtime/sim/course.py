"""Courses: what stands and moves where, from a name and a seed. Pure geometry; `scene.py` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...devices.errors import UsageError
from .furnish import SIDES, furnish, narrow, scatter, wall_spots, without_crossings
from .layout import LINE_STEP_M, Cell, PlanSizes, Points, Rect, middle_line, plan, random_loop, resample
from .looks import Look, Split, make_look, split_of
from .movers import Mover, place_movers
from .rugs import Rug, lay
from .side_ways import add_side_ways
from .things import STOCK, Obstacle, Stock
from .world import Segments, clearance_m, polygon_segments, relax

WANTED_CLEARANCE_M = 0.6
"""How far the line keeps from solids where there is room: a robot's radius and a margin for its errors."""
LEAST_CLEARANCE_M = 0.4
"""How far it keeps everywhere: what would leave less is not placed."""

SIZES = {
    "corridor": PlanSizes(pitch=2.4, corridor=2.4, door=2.4),
    "office": PlanSizes(pitch=4.0, corridor=2.2, door=1.6),
}
BLOCKS = {"corridor": (3, 6), "office": (2, 4)}
"""Blocks of four cells in a short course, from (inclusive) to (exclusive)."""
LONG_BLOCKS = {"corridor": (9, 12), "office": (5, 7)}
LONG_LAP_M = (79.0, 98.0)
MOST_BLOCKS = 30
GAP_M = {"corridor": 4.5, "office": 7.0}
"""One small thing in the way about every so many metres."""

RUG_SHARE = 0.35
"""Of the rectangles, where a course has rugs."""

PAINTINGS = ("hans_holbein1", "giovanni_bellini1", "parmigianino1", "velazquez_diego1", "francisco_goya_lucientes1")
"""Portraits in MiniWorld's textures by painters dead for more than 150 years."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What courses of a split have beside rooms, corridors and things in the way.

    `side_ways` is the share of cells passed straight through that get one, where there is room for it;
    `moving` the share of courses in which up to `movers` things move; `narrow` the most narrow places in a course.
    Small things in the way stand `crowd` times as often as usual.
    """

    long: bool = False
    side_ways: float = 0.0
    moving: float = 0.0
    movers: int = 0
    narrow: int = 0
    crowd: float = 1.0


RECIPES: dict[Split, Recipe] = {
    "train": Recipe(side_ways=0.7, moving=0.5, movers=2, narrow=3, crowd=1.6),
    "validation": Recipe(long=True, side_ways=0.7, moving=0.5, movers=4, narrow=5),
    "test": Recipe(long=True, side_ways=0.7, moving=0.5, movers=4, narrow=5),
    "free": Recipe(),
}


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
    are the walls, the first `wall_count` of them, and the outlines of the obstacles.

    `side_ways` are those of `rects` that lead nowhere. As `make_course` gives it, what moves is in `movers` only;
    `course_at` puts it among the obstacles and solids.
    """

    name: str
    seed: int
    sizes: PlanSizes
    rects: tuple[Rect, ...]
    side_ways: tuple[Rect, ...]
    obstacles: tuple[Obstacle, ...]
    movers: tuple[Mover, ...]
    pictures: tuple[Picture, ...]
    rugs: tuple[Rug, ...]
    solids: Segments
    wall_count: int
    line: Points
    look: Look
    time_s: float = 0.0

    @property
    def length_m(self) -> float:
        """Metres once around."""
        return float(np.linalg.norm(self.line - np.roll(self.line, 1, axis=0), axis=1).sum())


def make_course(name: str, seed: int, blocks: int | None = None) -> Course:
    """The course `name` (`office` or `corridor`) of a seed; raises UsageError for another name.

    `blocks` (1 to `MOST_BLOCKS`) of four cells each, 7 to 9 m in corridors and 14 m in offices, make it so long;
    None leaves that to the seed: 75 to 100 m for validation and tests, 24 to 48 m else.
    """
    if name not in SIZES:
        raise UsageError(f"sim://{name}: no course of that name; expected one of {', '.join(sorted(SIZES))}")
    if blocks is not None and not 1 <= blocks <= MOST_BLOCKS:
        raise UsageError(f"sim://{name}: blocks is {blocks}; expected 1 to {MOST_BLOCKS}")
    rng = np.random.default_rng((seed, sorted(SIZES).index(name)))
    more = np.random.default_rng((seed, sorted(SIZES).index(name), 61))
    sizes, split = SIZES[name], split_of(seed)
    recipe, stock = RECIPES[split], STOCK[split]
    cells = _loop(rng, name, recipe.long, blocks)
    rooms = [name == "office" and bool(rng.random() < 0.5) for _ in cells]
    rects = plan(cells, rooms, sizes)
    side_ways = add_side_ways(more, cells, rects, sizes, recipe.side_ways) if recipe.side_ways else []
    rects += side_ways
    middle, walls = middle_line(cells, sizes.pitch), wall_segments(rects)
    furniture = furnish(rng, rects, middle, walls, stock)
    small = scatter(rng, middle, walls, GAP_M[name] / recipe.crowd, stock)
    if recipe.narrow:
        small = without_crossings(narrow(more, middle, walls, int(more.integers(recipe.narrow + 1))), small)
        furniture = without_crossings(small, furniture)
        small = []
    obstacles, line = _clear_line(furniture + small, middle, walls)
    solids = _solids(walls, obstacles)
    look = make_look(seed)
    return Course(
        name=name,
        seed=seed,
        sizes=sizes,
        rects=tuple(rects),
        side_ways=tuple(side_ways),
        obstacles=tuple(obstacles),
        movers=_movers(more, line, solids, stock, recipe),
        pictures=tuple(_hang(rng, rects) if name == "office" else ()),
        rugs=lay(more, rects, look.rugs, RUG_SHARE) if look.rugs else (),
        solids=solids,
        wall_count=len(walls),
        line=line,
        look=look,
    )


def course_at(course: Course, time_s: float, dropped: Sequence[Obstacle] = ()) -> Course:
    """The course as it stands `time_s` into a drive: what moves, and what was `dropped`, among obstacles and solids.

    `course` is one that `make_course` gave.
    """
    loose = [*(m.at(time_s) for m in course.movers), *dropped]
    if not loose:
        return course
    return replace(course, obstacles=(*course.obstacles, *loose), solids=_solids(course.solids, loose), time_s=time_s)


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


def _solids(walls: Segments, obstacles: Sequence[Obstacle]) -> Segments:
    return np.concatenate([walls, *(polygon_segments(o.corners) for o in obstacles)])


def _loop(rng: np.random.Generator, name: str, long: bool, blocks: int | None) -> list[Cell]:
    """The cells of the way: of so many blocks, or of a lap in the wanted range, or of a few blocks."""
    if blocks is not None or not long:
        return random_loop(rng, int(rng.integers(*BLOCKS[name])) if blocks is None else blocks)
    while True:
        cells = random_loop(rng, int(rng.integers(*LONG_BLOCKS[name])))
        lap_m = len(middle_line(cells, SIZES[name].pitch)) * LINE_STEP_M
        if LONG_LAP_M[0] <= lap_m <= LONG_LAP_M[1]:
            return cells


def _clear_line(obstacles: list[Obstacle], middle: Points, walls: Segments) -> tuple[list[Obstacle], Points]:
    """The line bent around obstacles, and those of them that leave it room: what narrows it too much is taken away."""
    while True:
        line = resample(relax(resample(middle, 0.15), _solids(walls, obstacles), WANTED_CLEARANCE_M), LINE_STEP_M)
        kept = [o for o in obstacles if clearance_m(line, polygon_segments(o.corners)).min() >= LEAST_CLEARANCE_M]
        if len(kept) == len(obstacles):
            return obstacles, line
        obstacles = kept


def _movers(
    rng: np.random.Generator, line: Points, solids: Segments, stock: Stock, recipe: Recipe
) -> tuple[Mover, ...]:
    if rng.random() >= recipe.moving:
        return ()
    return place_movers(rng, line, solids, stock, int(rng.integers(1, recipe.movers + 1)))


def _hang(rng: np.random.Generator, rects: list[Rect]) -> list[Picture]:
    """Paintings on about half of the free stretches of wall."""
    return [
        Picture(
            x, y, 1.25, facing, float(rng.uniform(0.5, 0.8)), f"portraits/{PAINTINGS[rng.integers(len(PAINTINGS))]}"
        )
        for x, y, facing in wall_spots(rects, 1.8)
        if rng.random() < 0.5
    ]
