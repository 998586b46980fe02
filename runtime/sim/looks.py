"""What a course looks like: textures, tints, light and camera, drawn from a seed within fixed limits.

Training, validation and test have seeds and textures of their own that never overlap; any other seed is free to use
all textures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..sources import CameraGeometry
from .patterns import PREFIX

Split = Literal["train", "validation", "test", "free"]
Colour = tuple[float, float, float]
"""Red, green, blue in 0..1."""

SEEDS: dict[Split, Sequence[int]] = {
    "train": (*range(1000, 2000), *range(10_000, 20_000)),
    "validation": range(2000, 2100),
    "test": range(4000, 4100),
}


@dataclass(frozen=True, slots=True)
class Textures:
    """Names of MiniWorld's textures (without `.png`) that a split may use."""

    floors: tuple[str, ...]
    walls: tuple[str, ...]
    ceilings: tuple[str, ...]
    boxes: tuple[str, ...]

    @property
    def all(self) -> frozenset[str]:
        return frozenset(self.floors + self.walls + self.ceilings + self.boxes)


TEXTURES: dict[Split, Textures] = {
    "train": Textures(
        floors=("wood_1", "floor_tiles_white", "concrete_1", "concrete_4", "asphalt_1", "marble_2", "cardboard_3"),
        walls=("drywall_1", "brick_wall_1", "concrete_2", "white_1"),
        ceilings=("ceiling_tiles_1", "concrete_2"),
        boxes=("cardboard_1", "metal_grill_1"),
    ),
    "validation": Textures(
        floors=("wood_planks_1", "concrete_tiles_1"),
        walls=("cardboard_4", "concrete_3"),
        ceilings=("concrete_3",),
        boxes=("door_garage_white",),
    ),
    "test": Textures(
        floors=("wood_2", "floor_tiles_bw_1", "rock_1"),
        walls=("stucco_1", "cinder_blocks_1", "marble_1"),
        ceilings=("ceiling_tile_noborder_1",),
        boxes=("cardboard_2", "metal_grill_2"),
    ),
}
OFFICE = Textures(
    floors=("wood_1", "wood_2", "wood_planks_1", "floor_tiles_white", "cardboard_3"),
    walls=("drywall_1", "stucco_1"),
    ceilings=("ceiling_tiles_1", "ceiling_tile_noborder_1"),
    boxes=("cardboard_1", "cardboard_2"),
)
"""What a free seed uses: what a tidy office has."""

TRIMS: tuple[Colour, ...] = ((0.93, 0.93, 0.9), (0.3, 0.32, 0.35), (0.55, 0.4, 0.27), (0.27, 0.36, 0.5))
"""Skirting and door frames of a free seed: white, anthracite, oak, blue."""

PATTERNED = 0.6
"""Share of a training course's floors, walls and boxes that have a pattern of their own, see patterns.py."""

PATCHWORK, RUGS = 0.4, 0.5
"""Shares of training courses whose rectangles have floors of their own, and whose floors have rugs."""
HIDDEN = {"box": 0.35, "wall": 0.12, "trim": 0.25}
"""Shares of training courses in which boxes, walls or skirting look nearly like the floor before them."""

Limits = tuple[float, float]
"""Lowest and highest."""


@dataclass(frozen=True, slots=True)
class CameraLimits:
    """Between what a course's camera is drawn."""

    fov_y_deg: Limits = (70.0, 90.0)
    height_m: Limits = (0.22, 0.40)
    pitch_deg: Limits = (0.0, 10.0)


CAMERAS: dict[Split, CameraLimits] = {"train": CameraLimits((64.0, 96.0), (0.18, 0.45), (-4.0, 14.0))}
"""Wider in training, so that a camera of the other splits, mounted a little askew, is still nothing new."""
AMBIENT, LAMP = (0.35, 0.65), (0.35, 0.8)
DARK_SHARE, DARKEST = 0.25, 0.5
"""Share of training courses that are dark, and down to how much of the lowest usual light."""


@dataclass(frozen=True, slots=True)
class Surface:
    """A texture with a tint that multiplies it."""

    texture: str
    tint: Colour = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Look:
    """The surfaces of corridors and rooms, the light, and the camera.

    Where there is a `patchwork`, the course's rectangles have these floors in turn in place of `floors`; `rugs` are
    what may lie on them.
    """

    floors: dict[str, Surface]
    walls: dict[str, Surface]
    ceiling: Surface
    box: Surface
    trim: Surface
    ambient: float
    lamp: float
    camera: CameraGeometry
    patchwork: tuple[Surface, ...] = ()
    rugs: tuple[Surface, ...] = ()

    def floor(self, kind: str, number: int) -> Surface:
        """The floor of the course's rectangle `number`, which is of a `kind`."""
        return self.patchwork[number % len(self.patchwork)] if self.patchwork else self.floors[kind]


def split_of(seed: int) -> Split:
    """The split that a seed belongs to."""
    return next((split for split, seeds in SEEDS.items() if seed in seeds), "free")


def make_look(seed: int) -> Look:
    """The look of a course: the same seed gives the same look."""
    rng = np.random.default_rng((seed, 17))
    split = split_of(seed)
    textures = TEXTURES.get(split, OFFICE)
    wild = split != "free"
    dark = split == "train" and bool(np.random.default_rng((seed, 71)).random() < DARK_SHARE)

    def pick(names: tuple[str, ...], patterned: float = PATTERNED) -> str:
        if split == "train" and rng.random() < patterned:
            return f"{PREFIX}{rng.integers(2**31)}"
        return names[rng.integers(len(names))]

    kinds = ("corridor", "room")
    look = Look(
        floors={kind: Surface(pick(textures.floors), _tint(rng, 0.25 if wild else 0.06)) for kind in kinds},
        walls={kind: Surface(pick(textures.walls), _tint(rng, 0.35 if wild else 0.12)) for kind in kinds},
        ceiling=Surface(pick(textures.ceilings, PATTERNED / 3), _tint(rng, 0.15 if wild else 0.03)),
        box=Surface(pick(textures.boxes), _tint(rng, 0.3 if wild else 0.1)),
        trim=Surface("white_1", _tint(rng, 0.8) if wild else TRIMS[rng.integers(len(TRIMS))]),
        ambient=_light(rng, AMBIENT, dark),
        lamp=_light(rng, LAMP, dark),
        camera=_camera(rng, CAMERAS.get(split, CameraLimits())),
    )
    return _harder(look, lambda: Surface(pick(textures.floors), _tint(rng, 0.35)), rng) if split == "train" else look


def _harder(look: Look, floor: Callable[[], Surface], rng: np.random.Generator) -> Look:
    """The look with floors that change, rugs on them, and things that hardly differ from the floor, in its shares."""
    some = [floor() for _ in range(rng.integers(2, 5))]
    patchwork = tuple(some[rng.integers(len(some))] for _ in range(11)) if rng.random() < PATCHWORK else ()
    plain = Surface("white_1", _tint(rng, 0.9))
    rugs = tuple(plain if rng.random() < 0.3 else floor() for _ in range(3)) if rng.random() < RUGS else ()
    floors = patchwork or tuple(look.floors.values())

    def hidden(what: str, usual: Surface) -> Surface:
        if rng.random() >= HIDDEN[what]:
            return usual
        like = floors[rng.integers(len(floors))]
        red, green, blue = np.clip(like.tint * rng.uniform(0.85, 1.15, 3), 0, 1)
        return Surface(like.texture, (float(red), float(green), float(blue)))

    return replace(
        look,
        patchwork=patchwork,
        rugs=rugs,
        box=hidden("box", look.box),
        walls={kind: hidden("wall", wall) for kind, wall in look.walls.items()},
        trim=hidden("trim", look.trim),
    )


def _light(rng: np.random.Generator, usual: Limits, dark: bool) -> float:
    return float(rng.uniform(DARKEST * usual[0], usual[0]) if dark else rng.uniform(*usual))


def _camera(rng: np.random.Generator, limits: CameraLimits) -> CameraGeometry:
    return CameraGeometry(
        fov_y_deg=float(rng.uniform(*limits.fov_y_deg)),
        height_m=float(rng.uniform(*limits.height_m)),
        pitch_deg=float(rng.uniform(*limits.pitch_deg)),
    )


def _tint(rng: np.random.Generator, strength: float) -> Colour:
    red, green, blue = 1 - strength * rng.random(3)
    return float(red), float(green), float(blue)
