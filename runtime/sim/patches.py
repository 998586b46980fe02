"""A course as textured quads with baked light: numpy only, ready for any renderer. `scene.py` hands them to OpenGL.

Vertices are in OpenGL's axes: x as in the plane, y up, z = -y of the plane.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .assemblies import FLOOR, Part
from .course import Course, Picture
from .furnish import FACING, SIDES
from .layout import Rect, Side
from .looks import AMBIENT, LAMP, Surface
from .rugs import Rug
from .things import POT_M, POTTED, Obstacle, blocks
from .world import Segments, clearance_m, close_to

TILE_M = 0.5
LAMP_M = 6.0
"""So far a lamp shines."""
RUG_M = 0.004
"""Height of a rug: enough for the depth buffer to tell it from the floor."""
TEXELS_PER_M = 512
DIMMEST = AMBIENT[0] + LAMP[0]
"""Below this sum of ambient light and lamp a course is dark, and its pictures with it."""
POT = Surface("white_1", (0.62, 0.4, 0.3))
Array = NDArray[np.float32]
Vector = NDArray[np.float64]
"""(3,) or (..., 3) metres: x, y of the plane and z up."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Quads of one texture ("" for none): `xyz` (4 Q, 3) metres in OpenGL's axes, `uv` (4 Q, 2) in texels,
    `rgb` (4 Q, 3) in 0..1."""

    texture: str
    xyz: Array
    uv: Array
    rgb: Array


def patches(course: Course) -> list[Patch]:
    """Everything in the course that is not a mesh."""
    light = _Light(course)
    made: list[Patch] = []
    for number, rect in enumerate(course.rects):
        made += _shell(course, rect, course.look.floor(rect.kind, number), light)
    for rug in course.rugs:
        made.append(_rug(rug, light))
    for thing in course.obstacles:
        made += _thing(thing, light)
    for picture in course.pictures:
        made += _picture(picture, light)
    return made


def thing_patches(course: Course, thing: Obstacle) -> list[Patch]:
    """What is not a mesh of one thing more, in the light of the course."""
    return list(_thing(thing, _Light(course)))


def _thing(thing: Obstacle, light: _Light) -> Iterator[Patch]:
    """A built thing's blocks, or the pot of a plant."""
    if thing.kind in POTTED:
        yield from _block(replace(thing, height_m=POT_M), POT, light)
    cos, sin = np.cos(thing.heading_rad), np.sin(thing.heading_rad)
    size = np.array([thing.length_m, thing.width_m, thing.height_m])
    parts = blocks(thing.kind)
    falls = _Even(light, thing) if any(part.even for part in parts) else light
    for part in parts:
        low, high = np.array(part.low) * size, np.array(part.high) * size
        forward, left = (low + high)[:2] / 2 - size[:2] / 2
        x, y = thing.x + forward * cos - left * sin, thing.y + forward * sin + left * cos
        block = Obstacle(thing.kind, x, y, thing.heading_rad, *(high - low))
        yield from _block(block, _surface(part, thing, light), falls, float(low[2]), part.slope)


def _surface(part: Part, thing: Obstacle, light: _Light) -> Surface:
    if part.texture == FLOOR:
        floor = light.floor(thing.x, thing.y)
        red, green, blue = np.multiply(floor.tint, part.tint).tolist()
        return Surface(floor.texture, (red, green, blue))
    return Surface(part.texture, part.tint) if part.texture else light.look.box


class _Light:
    """A lamp in the middle of every rectangle's ceiling, shadowed by walls, and darker edges where surfaces meet."""

    def __init__(self, course: Course) -> None:
        self.lamps = np.array(
            [((r.x0 + r.x1) / 2, (r.y0 + r.y1) / 2, course.sizes.ceiling - 0.1) for r in course.rects]
        )
        self.walls = course.solids[: course.wall_count]
        self.solids = course.solids
        self.look = course.look
        self.ceiling = course.sizes.ceiling
        self.rects = course.rects

    def floor(self, x: float, y: float) -> Surface:
        """The floor there, or, where there is none, that of corridors."""
        return next(
            (self.look.floor(r.kind, n) for n, r in enumerate(self.rects) if r.holds(x, y)),
            self.look.floor("corridor", 0),
        )

    def shade(self, points: Vector, normal: Vector) -> NDArray[np.float64]:
        """Brightness (N,) of points (N, 3) of a surface with `normal` (3,)."""
        return np.clip(self.lamps_on(points, normal) * self._creases(points, normal), 0.05, 1.15)

    def lamps_on(self, points: Vector, normal: Vector) -> NDArray[np.float64]:
        """The same where no other surface is near."""
        level = np.full(len(points), self.look.ambient)
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        aside = np.maximum(np.maximum(low - self.lamps[:, :2], self.lamps[:, :2] - high), 0)
        for lamp in self.lamps[np.hypot(*aside.T) < LAMP_M]:
            way = lamp - points
            distance = np.linalg.norm(way, axis=1)
            near = np.flatnonzero(distance < LAMP_M)
            if not len(near):
                continue
            facing = np.clip((way[near] @ normal) / distance[near], 0.12, 1)
            falloff = 1 / (1 + (distance[near] / 2.2) ** 2)
            seen = ~_hidden(lamp[:2], points[near, :2] + 0.03 * way[near, :2], self.walls)
            level[near] += self.look.lamp * facing * falloff * seen
        return level

    def _creases(self, points: Vector, normal: Vector) -> NDArray[np.float64]:
        """Ambient occlusion in closed form: less light within half a metre of where surfaces meet."""
        if abs(normal[2]) > 0.5:
            solids = self.solids if normal[2] > 0 else self.walls
            near = close_to(points[:, :2], solids, 0.5)
            distance = clearance_m(points[:, :2], near) if len(near) else np.full(len(points), np.inf)
        else:
            distance = np.minimum(points[:, 2], self.ceiling - points[:, 2])
        return np.asarray(0.68 + 0.32 * np.minimum(distance / 0.5, 1))


class _Even:
    """What falls on a thing from above, on every side of it."""

    def __init__(self, light: _Light, thing: Obstacle) -> None:
        middle = _v(thing.x, thing.y, thing.height_m)
        self._level = float(np.clip(light.lamps_on(middle[None], _v(0, 0, 1))[0], 0.05, 1.15))

    def shade(self, points: Vector, _: Vector) -> NDArray[np.float64]:
        """Brightness (N,) of points (N, 3)."""
        return np.full(len(points), self._level)


def _hidden(lamp: Vector, points: Vector, walls: Segments) -> NDArray[np.bool_]:
    walls = close_to(np.concatenate([points, lamp[None]]), walls, 0.0)
    a, b = walls[:, :2], walls[:, 2:]
    way = points - lamp  # N 2
    wall = b - a  # S 2

    def cross(p: Vector, q: Vector) -> NDArray[np.float64]:
        return np.asarray(p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0])

    ends = cross(way[:, None], a - lamp) * cross(way[:, None], b - lamp)
    sides = cross(wall, lamp - a) * cross(wall[None], points[:, None] - a)
    return np.asarray(((ends < 0) & (sides < 0)).any(1))


def _quads(
    corner: Vector, along: Vector, up: Vector, surface: Surface, light: _Light | _Even, wider: float = 0.0
) -> Patch:
    """The parallelogram from `corner` along two edge vectors, front where along x up points, tiled for the light.

    Its far edge may be `wider` than `along`, as a share of it: then it is a trapezium.
    """
    lengths = np.linalg.norm(along), np.linalg.norm(up)
    columns, rows = (max(1, round(length / TILE_M)) for length in lengths)
    i, j = np.meshgrid(np.arange(columns), np.arange(rows), indexing="ij")
    corners = np.stack([np.stack([i + di, j + dj], -1) for di, dj in ((0, 0), (1, 0), (1, 1), (0, 1))], axis=2)
    share = corners.reshape(-1, 2) / (columns, rows)  # 4Q 2
    points = corner + share[:, :1] * along * (1 + wider * share[:, 1:]) + share[:, 1:] * up
    normal = np.cross(along, up)
    normal = normal / np.linalg.norm(normal)
    shade = light.shade(points, normal)
    if abs(normal[2]) > 0.5:
        uv = points[:, :2] * TEXELS_PER_M
    else:
        uv = np.stack([points @ (along / lengths[0]), points[:, 2]], axis=1) * TEXELS_PER_M
    return _patch(surface, points, uv, shade)


def _patch(surface: Surface, points: Vector, uv: Vector, shade: NDArray[np.float64]) -> Patch:
    xyz = np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=1)
    rgb = np.clip(shade[:, None] * np.array(surface.tint), 0, 1)
    return Patch(surface.texture, xyz.astype(np.float32), uv.astype(np.float32), rgb.astype(np.float32))


def _rug(rug: Rug, light: _Light) -> Patch:
    along = _heading(rug.heading_rad) * rug.length_m
    across = _heading(rug.heading_rad + np.pi / 2) * rug.width_m
    return _quads(_v(rug.x, rug.y, RUG_M) - (along + across) / 2, along, across, rug.surface, light)


def _shell(course: Course, rect: Rect, floor: Surface, light: _Light) -> Iterator[Patch]:
    """Floor, ceiling, walls with skirting, the wall over doors, and door frames of one rectangle."""
    look, top = course.look, course.sizes.ceiling
    wide, deep = rect.x1 - rect.x0, rect.y1 - rect.y0
    yield _quads(_v(rect.x0, rect.y0, 0), _v(wide, 0, 0), _v(0, deep, 0), floor, light)
    yield _quads(_v(rect.x0, rect.y1, top), _v(wide, 0, 0), _v(0, -deep, 0), look.ceiling, light)
    for side in SIDES:
        for low, high in rect.walls(side):
            corner, along = _wall(rect, side, low, high)
            yield _quads(corner, along, _v(0, 0, top), look.walls[rect.kind], light)
            inward = _heading(FACING[side])
            yield _quads(corner + inward * 0.012, along, _v(0, 0, 0.09), look.trim, light)
        for gap in (o for o in rect.openings if o.side == side and o.top_m < top):
            corner, along = _wall(rect, side, gap.low, gap.high)
            yield _quads(corner + _v(0, 0, gap.top_m), along, _v(0, 0, top - gap.top_m), look.walls[rect.kind], light)
            yield from _door_frame(corner, along, gap.top_m, look.trim, light)


def _wall(rect: Rect, side: Side, low: float, high: float) -> tuple[Vector, Vector]:
    """The foot of a stretch of wall as corner and edge, so that its front faces into the rectangle."""
    level = rect.edge(side)[0]
    if side in ("east", "west"):
        start, end = _v(level, low, 0), _v(level, high, 0)
    else:
        start, end = _v(low, level, 0), _v(high, level, 0)
    if side in ("east", "north"):
        # along x up must point inwards, which is west or south here
        start, end = (end, start) if side == "east" else (start, end)
    elif side == "south":
        start, end = end, start
    return start, end - start


def _door_frame(corner: Vector, along: Vector, top: float, trim: Surface, light: _Light) -> Iterator[Patch]:
    length = float(np.linalg.norm(along))
    unit = along / length
    angle = float(np.arctan2(unit[1], unit[0]))
    for at in (0.0, length):
        x, y, _ = corner + unit * at
        yield from _block(Obstacle("post", x, y, angle, 0.08, 0.14, top), trim, light)
    x, y, _ = corner + along / 2
    yield from _block(Obstacle("lintel", x, y, angle, length + 0.08, 0.14, 0.08), trim, light, base_m=top)


def _block(
    thing: Obstacle,
    surface: Surface,
    light: _Light | _Even,
    base_m: float = 0.0,
    slope: tuple[float, float] = (0.0, 0.0),
) -> Iterator[Patch]:
    """Four sides, the top and, where it can be seen, the bottom; the top is narrower by `slope` at each side."""
    corners, narrow = thing.corners, 1 - 2 * np.array(slope)
    upper = replace(thing, length_m=thing.length_m * narrow[0], width_m=thing.width_m * narrow[1]).corners
    for k in range(4):
        a, b, above = corners[k], corners[(k + 1) % 4], upper[k]
        edge, up = b - a, above - a
        wider = -2 * slope[0 if k % 2 == 0 else 1]
        yield _quads(
            _v(a[0], a[1], base_m), _v(edge[0], edge[1], 0), _v(up[0], up[1], thing.height_m), surface, light, wider
        )
    for z, outline, order in ((base_m + thing.height_m, upper, (0, 1, 3)), (base_m, corners, (0, 3, 1))):
        a, b, c = (outline[k] for k in order)
        if z > 0:
            along, across = b - a, c - a
            yield _quads(_v(a[0], a[1], z), _v(along[0], along[1], 0), _v(across[0], across[1], 0), surface, light)


def _picture(picture: Picture, light: _Light) -> Iterator[Patch]:
    """A dark frame, and the picture on its front."""
    inward, depth, rim = _heading(picture.heading_rad), 0.04, 0.05
    left_to_right = _heading(picture.heading_rad + np.pi / 2)
    half = picture.width_m / 2
    middle = _v(picture.x, picture.y, picture.z)
    outer = half + rim
    x, y, _ = middle + inward * depth / 2
    frame = Obstacle("frame", x, y, picture.heading_rad, depth, 2 * outer, 2 * outer)
    yield from _block(frame, Surface("white_1", (0.16, 0.12, 0.1)), light, base_m=picture.z - outer)
    corner = middle + inward * (depth + 0.003) + left_to_right * -half + _v(0, 0, -half)
    points = np.array([corner, corner + left_to_right * 2 * half, corner, corner])
    points[2] = points[1] + _v(0, 0, 2 * half)
    points[3] = points[0] + _v(0, 0, 2 * half)
    yield _patch(
        Surface(str(picture.image)),
        points,
        np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float),
        np.clip(light.shade(points, inward), 0.75, 1) * min(1, (light.look.ambient + light.look.lamp) / DIMMEST),
    )


def _heading(angle_rad: float) -> Vector:
    return np.array([np.cos(angle_rad), np.sin(angle_rad), 0.0])


def _v(x: float, y: float, z: float) -> Vector:
    return np.array([x, y, z], float)
