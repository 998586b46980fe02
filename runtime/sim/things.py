"""Things that stand and move about: the kinds, their proportions, what they are built of, and which split has which.

Training, validation and test share none but the plain box, whose texture is of the split.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .assemblies import FITTED, PREFIX, SOLID, Part, assembly
from .layout import Points
from .looks import Split

POT_M = 0.3
"""Height of the pot of a tree. Its footprint is the tree's: the rest is above a robot."""

MESHES: dict[str, tuple[float, float]] = {
    "ball": (1.0, 1.0),
    "ball_blue": (1.0, 1.0),
    "ball_red": (1.0, 1.0),
    "barrel": (0.692, 0.692),
    "barrier": (3.557, 0.711),
    "cone": (0.634, 0.634),
    "duckie": (1.09, 0.758),
    "medkit": (1.102, 0.612),
    "office_chair": (0.58, 0.61),
    "office_desk": (0.517, 1.052),
    "potion": (0.509, 0.509),
}
"""MiniWorld's meshes that are used: length (along the heading) and width as shares of the height."""
TURNED_DEG = {"office_desk": 90, "office_chair": -90}
"""Turns, counter-clockwise from above, that make a mesh's front look along the heading; else its x axis does."""
MADE = ASSEMBLY, CLOSED, AS_DOOR = tuple(prefix.removesuffix(":") for prefix in (PREFIX, SOLID, FITTED))
"""Kinds of `assemblies.py`, another thing each time; the last is one at a wall that looks like a doorway."""
POTTED = ("tree", "tree_pine")
"""Meshes of plants; they are drawn in a pot, with their own proportions."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A thing on the floor, of a kind in `BUILT`, `MESHES` or `POTTED`, or one of `MADE` with its seed.

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

    def holds(self, x: float, y: float) -> bool:
        """True when the point lies on its footprint."""
        cos, sin, dx, dy = np.cos(self.heading_rad), np.sin(self.heading_rad), x - self.x, y - self.y
        along, across = dx * cos + dy * sin, dy * cos - dx * sin
        return bool(abs(along) < self.length_m / 2 and abs(across) < self.width_m / 2)


_WOOD, _STEEL, _CLOTH, _WHITE = (0.8, 0.72, 0.65), (0.42, 0.44, 0.47), (0.45, 0.3, 0.32), (0.92, 0.92, 0.9)


def _legs(thick: float, top: float, texture: str, tint: tuple[float, float, float]) -> tuple[Part, ...]:
    ends = ((0.0, thick), (1 - thick, 1.0))
    return tuple(Part((x0, y0, 0.0), (x1, y1, top), texture, tint) for x0, x1 in ends for y0, y1 in ends)


def _boards(levels: tuple[float, ...]) -> tuple[Part, ...]:
    return tuple(Part((0.0, 0.03, z), (1.0, 0.97, z + 0.03), "white_1", _WHITE) for z in levels)


BUILT: dict[str, tuple[Part, ...]] = {
    "box": (Part((0, 0, 0), (1, 1, 1), "", (1, 1, 1)),),
    "cabinet": (Part((0, 0, 0), (1, 1, 1), "wood_1", _WOOD),),
    # validation
    "table": (Part((0, 0, 0.93), (1, 1, 1), "wood_planks_1", _WOOD), *_legs(0.08, 0.93, "white_1", _STEEL)),
    "stool": (Part((0, 0, 0.85), (1, 1, 1), "wood_planks_1", _WOOD), *_legs(0.14, 0.85, "white_1", _STEEL)),
    "bin": (
        Part((0.04, 0.04, 0), (0.96, 0.96, 0.88), "white_1", (0.3, 0.45, 0.38)),
        Part((0, 0, 0.88), (1, 1, 1), "white_1", (0.2, 0.2, 0.22)),
    ),
    # test
    "shelf": (
        *_boards((0.0, 0.24, 0.48, 0.72, 0.97)),
        Part((0, 0, 0), (1, 0.03, 1), "white_1", _WHITE),
        Part((0, 0.97, 0), (1, 1, 1), "white_1", _WHITE),
        Part((0, 0.03, 0), (0.05, 0.97, 1), "white_1", (0.8, 0.8, 0.78)),
    ),
    "sofa": (
        Part((0, 0, 0.06), (1, 1, 0.5), "white_1", _CLOTH),
        Part((0, 0, 0.5), (0.25, 1, 1), "white_1", _CLOTH),
        Part((0.25, 0, 0.5), (1, 0.12, 0.72), "white_1", _CLOTH),
        Part((0.25, 0.88, 0.5), (1, 1, 0.72), "white_1", _CLOTH),
    ),
    "hedge": (
        Part((0, 0, 0), (1, 1, 0.35), "white_1", (0.35, 0.33, 0.3)),
        Part((0.08, 0.08, 0.35), (0.92, 0.92, 1), "grass_2", (0.75, 0.9, 0.7)),
    ),
    "trolley": (
        Part((0, 0, 0.06), (1, 1, 0.22), "white_1", _STEEL),
        Part((0.05, 0.08, 0.22), (0.7, 0.92, 0.75), "metal_grill_2", (1, 1, 1)),
        Part((0.92, 0.0, 0.22), (1, 1, 1), "white_1", (0.75, 0.25, 0.2)),
    ),
}
"""Things of blocks; their front is at the high end of the length, as the heading points."""


def blocks(kind: str) -> tuple[Part, ...]:
    """What a kind is built of; nothing for a mesh."""
    return assembly(kind) if kind.partition(":")[0] in MADE else BUILT.get(kind, ())


@dataclass(frozen=True, slots=True)
class Sized:
    """A kind with the range of its height and, unless it is a mesh, of its length and width (0: as the length).

    Those in `MADE` are another thing each time.
    """

    kind: str
    height_m: tuple[float, float]
    length_m: tuple[float, float] = (0.0, 0.0)
    width_m: tuple[float, float] = (0.0, 0.0)

    def draw_kind(self, rng: np.random.Generator) -> str:
        """The kind of one of them."""
        return f"{self.kind}:{rng.integers(2**31)}" if self.kind in MADE else self.kind

    def draw(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """Length, width and height in metres of one of them."""
        if self.kind in MESHES:
            height_m = _between(rng, self.height_m)
            length, width = MESHES[self.kind]
            return height_m * length, height_m * width, height_m
        length_m = _between(rng, self.length_m)
        return length_m, (_between(rng, self.width_m) if self.width_m[1] else length_m), _between(rng, self.height_m)


def one_of(rng: np.random.Generator, choices: tuple[Sized, ...]) -> Sized:
    """Any of them; where there is but one, nothing is drawn."""
    return choices[rng.integers(len(choices))] if len(choices) > 1 else choices[0]


def _between(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(rng.uniform(*limits)) if limits[0] < limits[1] else limits[0]


@dataclass(frozen=True)
class Stock:
    """What a split has: a desk with a seat before it, storage along walls, plants in corners, small things in the
    way, and what moves; each one of several, or none."""

    desk: tuple[Sized, ...]
    seat: tuple[Sized, ...]
    storage: tuple[Sized, ...]
    plant: tuple[Sized, ...]
    small: tuple[Sized, ...]
    moving: tuple[Sized, ...]

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The names of all of them."""
        furniture = (*self.desk, *self.seat, *self.storage, *self.plant)
        return frozenset(sized.kind for sized in (*furniture, *self.small, *self.moving))


_BOX = Sized("box", (0.2, 0.7), (0.25, 0.5))
_DESK = Sized("office_desk", (1.3, 1.3))
_CHAIR = Sized("office_chair", (0.95, 0.95))
_AS_DOOR = Sized(AS_DOOR, (0.9, 2.1), (0.22, 0.5), (0.6, 1.4))
STOCK: dict[Split, Stock] = {
    "train": Stock(
        desk=(
            _DESK,
            *[Sized(ASSEMBLY, (0.5, 1.0), (0.5, 0.9), (0.9, 1.8))] * 2,
            *[Sized(CLOSED, (0.4, 1.0), (0.5, 0.95), (1.1, 2.0))] * 2,
            *[_AS_DOOR] * 2,
        ),
        seat=(_CHAIR, Sized(ASSEMBLY, (0.35, 1.0), (0.3, 0.6))),
        storage=(
            Sized(ASSEMBLY, (0.3, 1.8), (0.3, 0.6), (0.6, 1.6)),
            Sized(CLOSED, (0.3, 1.8), (0.3, 0.6), (0.6, 1.6)),
            *[_AS_DOOR] * 6,
        ),
        plant=(Sized("tree", (1.2, 1.7), (0.36, 0.36)), Sized(ASSEMBLY, (0.4, 1.7), (0.3, 0.45))),
        small=(
            _BOX,
            _BOX,
            *[Sized(ASSEMBLY, (0.12, 1.0), (0.2, 0.6), (0.2, 0.9))] * 8,
            *[Sized(CLOSED, (0.1, 0.32), (0.1, 0.45), (0.3, 1.3))] * 6,
            *[Sized(CLOSED, (0.15, 0.5), (0.15, 0.4))] * 4,
            Sized("cone", (0.35, 0.7)),
            Sized("barrel", (0.45, 0.75)),
            Sized("medkit", (0.2, 0.4)),
            Sized("ball", (0.2, 0.45)),
            Sized("ball_blue", (0.2, 0.45)),
            Sized("ball_red", (0.2, 0.45)),
        ),
        moving=(Sized("barrel", (0.55, 0.75)), *[Sized(ASSEMBLY, (0.4, 1.6), (0.3, 0.6), (0.3, 0.45))] * 2),
    ),
    "validation": Stock(
        desk=(Sized("table", (0.7, 0.78), (0.6, 0.75), (1.1, 1.6)),),
        seat=(Sized("stool", (0.42, 0.5), (0.34, 0.38)),),
        storage=(Sized("table", (0.7, 0.95), (0.4, 0.5), (0.8, 1.2)),),
        plant=(Sized("tree_pine", (1.2, 1.6), (0.36, 0.36)),),
        small=(_BOX, _BOX, Sized("potion", (0.35, 0.6)), Sized("stool", (0.42, 0.5), (0.34, 0.38))),
        moving=(Sized("bin", (0.7, 1.2), (0.35, 0.45)), Sized("box", (0.5, 1.4), (0.3, 0.45))),
    ),
    "test": Stock(
        desk=(Sized("sofa", (0.7, 0.85), (0.75, 0.9), (1.3, 1.8)),),
        seat=(),
        storage=(Sized("shelf", (1.0, 1.8), (0.32, 0.42), (0.8, 1.2)),),
        plant=(Sized("hedge", (0.8, 1.2), (0.36, 0.44)),),
        small=(_BOX, _BOX, Sized("duckie", (0.25, 0.4)), Sized("barrier", (0.2, 0.26))),
        moving=(Sized("trolley", (0.7, 1.0), (0.5, 0.6), (0.35, 0.42)), Sized("box", (0.5, 1.4), (0.3, 0.45))),
    ),
    "free": Stock(
        desk=(_DESK,),
        seat=(_CHAIR,),
        storage=(Sized("cabinet", (0.8, 1.7), (0.42, 0.42), (0.8, 1.4)),),
        plant=(Sized("tree", (1.0, 1.5), (0.36, 0.36)),),
        small=(_BOX, _BOX, Sized("cone", (0.5, 0.5)), Sized("barrel", (0.65, 0.65))),
        moving=(Sized("barrel", (0.6, 0.7)), Sized("box", (0.5, 1.2), (0.3, 0.45))),
    ),
}
