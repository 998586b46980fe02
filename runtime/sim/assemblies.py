"""Things put together from blocks by a seed: of the few that were made by hand nobody learns what things are.

Domain randomisation (Tobin et al. 2017): what a network has seen a thousand shapes of, it takes for an obstacle in any.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from .looks import TEXTURES
from .patterns import PREFIX as PATTERN

PREFIX, SOLID, FITTED = "assembly:", "solid:", "fitted:"
FLOOR = "floor"
"""The texture of a part that looks like the floor on which the thing stands."""
SLOPED, EVEN = 0.5, 0.5
"""Shares of the solid things whose sides slope (of those that are not round), and that are as bright on all sides."""
Share = tuple[float, float, float]
"""Along a thing's length, its width and its height, in 0..1; of a tint: red, green, blue."""


@dataclass(frozen=True, slots=True)
class Part:
    """A block of a built thing: from and to as shares of its length, width and height; texture "" is the look's box,
    `FLOOR` the floor's.

    Its top is narrower by `slope` of the block at each side, along and across; an `even` one is as bright on all sides.
    """

    low: Share
    high: Share
    texture: str
    tint: Share
    slope: tuple[float, float] = (0.0, 0.0)
    even: bool = False


@lru_cache(maxsize=256)
def assembly(kind: str) -> tuple[Part, ...]:
    """The parts of `assembly:SEED`: stacked, round, on legs, of boards, or high at one end, in one to three colours.

    `solid:SEED` is closed down to the floor, or nearly, and half of its paints are a floor's; many have sides that
    slope, or are as bright as the top: of edges no more is seen than where a texture ends. `fitted:SEED` stands at a
    wall and looks like a doorway at first sight: a bookcase, or a closed door in its frame.
    """
    if kind.startswith(FITTED):
        return tuple(_fitted(np.random.default_rng((int(kind.removeprefix(FITTED)), 73))))
    solid = kind.startswith(SOLID)
    rng = np.random.default_rng((int(kind.partition(":")[2]), 67 if solid else 59))
    makers = (_stack, _stack, _stepped) if solid else (_stack, _stack, _on_legs, _on_legs, _boards, _stepped)
    make = makers[rng.integers(len(makers))]
    shapes = list(make(rng))
    rounded = make is _stack and rng.random() < (0.3 if solid else 0.5)
    paint_one = _paint_as_floor if solid else _paint
    paints = [paint_one(rng) for _ in range(rng.integers(1, 4))]
    sloped, even = solid and not rounded and rng.random() < SLOPED, solid and rng.random() < EVEN
    parts = []
    for shape in shapes:
        paint = paints[rng.integers(len(paints))]
        slope = _slope(rng, shape, shapes) if sloped else (0.0, 0.0)
        parts += [Part(low, high, *paint, slope, even) for low, high in (_rounded(shape) if rounded else (shape,))]
    return tuple(parts)


Shape = tuple[Share, Share]
Paint = tuple[str, Share]
"""A texture and a tint, as of a `Part`."""


def _slope(rng: np.random.Generator, shape: Shape, shapes: list[Shape]) -> tuple[float, float]:
    """Of one of the shapes, so that what stands on it still does."""
    low, high = shape
    slope = []
    for side, most in enumerate((0.2, 0.42)):
        ends = [(a[side], b[side]) for a, b in shapes if abs(a[2] - high[2]) < 1e-9]
        room = min((min(a - low[side], high[side] - b) for a, b in ends), default=1.0) / (high[side] - low[side])
        slope.append(float(rng.uniform(0, min(most, max(0.0, room)))))
    return slope[0], slope[1]


def _paint(rng: np.random.Generator) -> Paint:
    tint = rng.uniform(0.15, 1, 3) if rng.random() < 0.5 else np.repeat(rng.uniform(0.1, 1), 3)
    kind = rng.random()
    texture = "white_1" if kind < 0.4 else f"{PATTERN}{rng.integers(2**31)}" if kind < 0.7 else ""
    return texture, (float(tint[0]), float(tint[1]), float(tint[2]))


def _paint_as_floor(rng: np.random.Generator) -> Paint:
    """Half of the time that of the floor it stands on, or of any of training's floors."""
    kind = rng.random()
    if kind > 0.5:
        return _paint(rng)
    red, green, blue = rng.uniform(0.75, 1) * rng.uniform(0.9, 1, 3)
    floors = TEXTURES["train"].floors
    return FLOOR if kind < 0.25 else floors[rng.integers(len(floors))], (float(red), float(green), float(blue))


def _inset(rng: np.random.Generator, most: float) -> tuple[float, float, float, float]:
    """From and to, along and across."""
    a, b, c, d = rng.uniform(0, most, 4)
    return float(a), float(1 - b), float(c), float(1 - d)


def _stack(rng: np.random.Generator) -> Iterator[Shape]:
    """One to four blocks on each other; the lowest as wide as the thing."""
    levels = [0.0, *np.sort(rng.uniform(0.1, 0.95, rng.integers(0, 4))).tolist(), 1.0]
    for i, (base, top) in enumerate(pairwise(levels)):
        x0, x1, y0, y1 = _inset(rng, 0.3) if i else _inset(rng, 0.03)
        yield (x0, y0, base), (x1, y1, top)


def _rounded(shape: Shape) -> Iterator[Shape]:
    """A block without its corners, nearly: three that touch the ellipse in it, as columns, bins and balls do."""
    (x0, y0, z0), (x1, y1, z1) = shape
    for along, across in ((0.0, 0.29), (0.15, 0.15), (0.29, 0.0)):
        cut_x, cut_y = along * (x1 - x0), across * (y1 - y0)
        yield (x0 + cut_x, y0 + cut_y, z0), (x1 - cut_x, y1 - cut_y, z1)


def _on_legs(rng: np.random.Generator) -> Iterator[Shape]:
    """A top, thin or thick, on four legs, two, or a post with a foot."""
    under, thick = float(rng.uniform(0.2, 0.97)), float(rng.uniform(0.03, 0.16))
    yield (0.0, 0.0, under), (1.0, 1.0, 1.0)
    kind = rng.random()
    if kind < 0.6:
        yield from _corners(thick, under)
    elif kind < 0.8:
        for y in (0.0, 1 - thick):
            yield (0.0, y, 0.0), (1.0, y + thick, under)
    else:
        yield (0.1, 0.1, 0.0), (0.9, 0.9, 0.08)
        yield (0.5 - thick, 0.5 - thick, 0.08), (0.5 + thick, 0.5 + thick, under)


def _boards(rng: np.random.Generator) -> Iterator[Shape]:
    """Two to five boards between posts, with a panel or two at times."""
    count, thick = int(rng.integers(2, 6)), float(rng.uniform(0.02, 0.07))
    for base in np.linspace(0 if rng.random() < 0.5 else 0.1, 1 - thick, count).tolist():
        yield (0.0, 0.0, base), (1.0, 1.0, base + thick)
    yield from _corners(float(rng.uniform(0.03, 0.1)), 1.0)
    if rng.random() < 0.5:
        yield (0.0, 0.0, 0.05), (0.05, 1.0, 0.98)
    if rng.random() < 0.3:
        yield (0.0, 0.0, 0.05), (1.0, 0.04, 0.98)


def _stepped(rng: np.random.Generator) -> Iterator[Shape]:
    """Low, and high at one end or two, now and then a little off the floor."""
    base, low = float(rng.choice([0.0, 0.0, 0.08])), float(rng.uniform(0.2, 0.8))
    yield (0.0, 0.0, base), (1.0, 1.0, low)
    ends = {0: ((0.0, 0.0), (0.3, 1.0)), 1: ((0.7, 0.0), (1.0, 1.0)), 2: ((0.0, 0.0), (1.0, 0.25))}
    for end in rng.choice(3, rng.integers(1, 3), replace=False).tolist():
        (x0, y0), (x1, y1) = ends[end]
        yield (x0, y0, low), (x1, y1, float(rng.uniform(low, 1)) if end else 1.0)
    if base:
        yield from _corners(0.12, base)


def _fitted(rng: np.random.Generator) -> Iterator[Part]:
    """Two posts, a lintel and what is shut between them, with boards or slats before it."""
    outer, inner = _paint(rng), _paint(rng)
    if rng.random() < 0.5:
        inner = outer
    if rng.random() < 0.4:  # in the shade
        red, green, blue = (float(tint * rng.uniform(0.3, 0.7)) for tint in inner[1])
        inner = inner[0], (red, green, blue)
    thick = float(rng.uniform(0.02, 0.09))
    top = 1 - thick * float(rng.uniform(0.3, 1))
    yield Part((0.0, 0.0, 0.0), (1.0, thick, 1.0), *outer)
    yield Part((0.0, 1 - thick, 0.0), (1.0, 1.0, 1.0), *outer)
    yield Part((0.0, thick, top), (1.0, 1 - thick, 1.0), *outer)
    bookcase = rng.random() < 0.6
    back = 0.06 if bookcase else float(rng.uniform(0.1, 0.9))
    yield Part((0.0, thick, 0.0), (back, 1 - thick, top), *inner)
    if bookcase:
        count, board = int(rng.integers(2, 7)), float(rng.uniform(0.015, 0.05))
        for base in np.linspace(rng.choice([0, 0, 0.05, 0.1]), 0.9, count, endpoint=False).tolist():
            paint = outer if rng.random() < 0.8 else inner
            yield Part((back, thick, base), (1.0, 1 - thick, base + board), *paint)
        if rng.random() < 0.25:
            yield Part((0.9, thick, 0.0), (1.0, 1 - thick, float(rng.uniform(0.2, 0.45))), *inner)
    elif rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 4))):
            base = float(rng.uniform(0.05, 0.7))
            yield Part((back, 0.2, base), (min(1.0, back + 0.08), 0.8, base + float(rng.uniform(0.1, 0.25))), *outer)


def _corners(thick: float, top: float) -> Iterator[Shape]:
    """A leg in each corner."""
    for x in (0.0, 1 - thick):
        for y in (0.0, 1 - thick):
            yield (x, y, 0.0), (x + thick, y + thick, top)
