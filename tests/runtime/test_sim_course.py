"""Courses, the robot and the expert: geometry only, no OpenGL."""

from __future__ import annotations

import importlib.util
import math
from collections import Counter
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmsight.devices.errors import UsageError
from helmsight.runtime.sim import expert
from helmsight.runtime.sim.assemblies import FLOOR, Part, assembly
from helmsight.runtime.sim.course import make_course
from helmsight.runtime.sim.layout import random_loop
from helmsight.runtime.sim.looks import SEEDS, TEXTURES, Surface, make_look, split_of
from helmsight.runtime.sim.patches import thing_patches
from helmsight.runtime.sim.patterns import PREFIX, pattern
from helmsight.runtime.sim.robot import MAX_SPEED_MPS, MAX_YAW_RATE_RPS, RADIUS_M, Pose, advance
from helmsight.runtime.sim.things import (
    AS_DOOR,
    ASSEMBLY,
    BUILT,
    CLOSED,
    MADE,
    MESHES,
    POTTED,
    STOCK,
    TURNED_DEG,
    Obstacle,
)
from helmsight.runtime.sim.topview import FREE, OCCUPIED, occupancy, top_view
from helmsight.runtime.sim.world import clearance_m, crosses, free_ahead_m

from .courses import course_of

ROOM = np.array([[0, 0, 4, 0], [4, 0, 4, 4], [4, 4, 0, 4], [0, 4, 0, 0]], float)


BLANK = "white_1"
"""Plain white: skirting, frames and painted blocks of all splits, and walls of training."""


def textures(split):
    """All textures of a split, those that its built things bring included."""
    built = {part.texture for kind in STOCK[split].kinds & set(BUILT) for part in BUILT[kind]}
    return (TEXTURES[split].all | built) - {"", BLANK}


def test_splits_share_no_seed_no_texture_and_nothing_that_stands_about_but_the_plain_box():
    for a, b in combinations(SEEDS, 2):
        assert not set(SEEDS[a]) & set(SEEDS[b])
        assert not textures(a) & textures(b)
        assert STOCK[a].kinds & STOCK[b].kinds == {"box"}


@pytest.mark.parametrize("split", SEEDS)
def test_what_stands_in_a_course_is_of_its_split_and_each_kind_is_met(split):
    courses = [course_of(name, seed) for seed in SEEDS[split][:14] for name in ("office", "corridor")]
    things = {o.kind.partition(":")[0] for c in courses for o in (*c.obstacles, *(m.thing for m in c.movers))}
    assert things == STOCK[split].kinds
    assert things <= set(BUILT) | set(MESHES) | set(POTTED) | set(MADE)


def test_an_assembly_stands_on_the_floor_within_its_sizes_and_hardly_two_are_alike():
    made = [assembly(f"{ASSEMBLY}:{seed}") for seed in range(200)]
    for parts in made:
        low, high = np.array([p.low for p in parts]), np.array([p.high for p in parts])
        assert low[:, 2].min() < 0.101
        assert (low >= 0).all()
        assert (high <= 1 + 1e-9).all()
        assert (high > low).all()
        assert {p.texture.partition(":")[0] for p in parts} <= {"", BLANK, "pattern"}
    assert len(set(made)) > 195
    assert assembly(f"{ASSEMBLY}:7") == made[7]
    assert {k for k in SEEDS if STOCK[k].kinds & set(MADE)} == {"train"}


def test_a_closed_thing_reaches_the_floor_over_nearly_all_of_its_footprint_and_many_look_like_a_floor():
    made = [assembly(f"{CLOSED}:{seed}") for seed in range(200)]
    for parts in made:
        under = [p for p in parts if p.low[2] < 0.081]
        widths = np.array([np.subtract(p.high, p.low)[:2] for p in under])
        assert widths.max(axis=0).min() > 0.93
        assert {p.texture.partition(":")[0] for p in parts} <= {"", BLANK, FLOOR, "pattern", *TEXTURES["train"].floors}
        for lower, upper in permutations(parts, 2):
            if upper.low[2] == lower.high[2]:
                for side, slope in ((s, slope) for s, slope in enumerate(lower.slope) if slope):
                    in_by = slope * (lower.high[side] - lower.low[side]) - 1e-9
                    assert lower.low[side] + in_by <= upper.low[side]
                    assert upper.high[side] <= lower.high[side] - in_by
    like_floor = {FLOOR, *TEXTURES["train"].floors}
    assert 0.4 < np.mean([parts[0].even for parts in made]) < 0.6
    assert 0.25 < np.mean([any(max(p.slope) > 0.05 for p in parts) for parts in made]) < 0.45
    assert 0.5 < np.mean([any(p.texture in like_floor for p in parts) for parts in made]) < 0.75
    assert made[7] != assembly(f"{ASSEMBLY}:7")


def test_what_looks_like_a_doorway_has_posts_and_a_lintel_and_is_shut_behind_them():
    made = [assembly(f"{AS_DOOR}:{seed}") for seed in range(200)]
    for parts in made:
        left, right, lintel, back, *inside = parts
        assert left.low[1] == 0
        assert right.high[1] == 1
        assert all((post.low[2], post.high[2]) == (0, 1) for post in (left, right))
        assert (lintel.low[1], lintel.high[1], lintel.high[2]) == (left.high[1], right.low[1], 1)
        assert back.low == (0, left.high[1], 0)
        assert back.high[1:] == (right.low[1], lintel.low[2])
        assert all(p.high[2] <= lintel.low[2] for p in inside)
        low, high = np.array([p.low for p in parts]), np.array([p.high for p in parts])
        assert (low >= 0).all()
        assert (high <= 1 + 1e-9).all()
        assert (high > low).all()
    assert len(set(made)) == 200
    assert 0.5 < np.mean([back.high[0] == 0.06 for _, _, _, back, *_ in made]) < 0.7


def test_the_faces_of_a_sloping_block_meet_and_look_outwards():
    block = Part((0, 0, 0), (1, 1, 1), BLANK, (1, 1, 1), slope=(0.1, 0.3))
    course = course_of("office", 1000)
    middle, height = np.array([course.line[0][0], 0.1, -course.line[0][1]]), 0.2
    thing = Obstacle("box", course.line[0][0], course.line[0][1], 0.7, 0.4, 0.3, height)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("helmsight.runtime.sim.patches.blocks", lambda _: (block,))
        faces = [face.xyz.reshape(-1, 4, 3).astype(float) for face in thing_patches(course, thing)]
    corners = np.unique(np.concatenate(faces).reshape(-1, 3).round(4), axis=0)
    assert len(corners) == 8
    top = corners[corners[:, 1] > height / 2]
    between = sorted(np.linalg.norm(top - top[0], axis=1))
    assert between == pytest.approx([0, 0.12, 0.32, np.hypot(0.12, 0.32)], abs=1e-3)
    edges = Counter(
        frozenset((tuple(a.round(4)), tuple(b.round(4))))
        for quads in faces
        for quad in quads
        for a, b in zip(quad, np.roll(quad, 1, axis=0), strict=True)
    )
    assert sorted(edges.values()) == [1] * 4 + [2] * 8, "of the bottom, which nobody sees, there is none"
    for quads in faces:
        for quad in quads:
            normal = np.cross(quad[1] - quad[0], quad[2] - quad[1])
            assert normal @ (quad.mean(0) - middle) > 0


def test_an_even_thing_is_as_bright_on_all_sides():
    course = course_of("office", 1000)
    rect = course.rects[1]

    def shades(even: bool) -> set[float]:
        kinds = (f"{CLOSED}:{seed}" for seed in range(999))
        kind = next(
            k for k in kinds if {(p.texture, p.even) for p in assembly(k)} == {(BLANK, even)} and len(assembly(k)) == 1
        )
        thing = Obstacle(kind, (rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2, 0.3, 0.3, 0.3, 0.2)
        return {round(float(v), 4) for face in thing_patches(course, thing) for v in face.rgb[:, 0]}

    assert len(shades(even=True)) == 1
    assert len(shades(even=False)) > 5


def test_what_looks_like_the_floor_has_the_floor_of_its_place():
    course = course_of("office", 1000)
    kind = next(k for k in (f"{CLOSED}:{seed}" for seed in range(99)) if {p.texture for p in assembly(k)} == {FLOOR})
    rect = course.rects[3]
    thing = Obstacle(kind, (rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2, 0.0, 0.3, 0.3, 0.2)
    assert {patch.texture for patch in thing_patches(course, thing)} == {course.look.floor(rect.kind, 3).texture}


@pytest.mark.parametrize("kind", sorted(MESHES))
def test_a_mesh_keeps_its_proportions(kind):
    package = importlib.util.find_spec("miniworld")
    if package is None or package.origin is None:
        pytest.skip("miniworld is not installed (helmsight[sim])")
    lines = (Path(package.origin).parent / "meshes" / f"{kind}.obj").read_text().splitlines()
    x, y, z = np.ptp([[float(v) for v in line.split()[1:4]] for line in lines if line.startswith("v ")], axis=0)
    length, width = MESHES[kind]
    assert (length, width) == pytest.approx((z / y, x / y) if kind in TURNED_DEG else (x / y, z / y), abs=0.005)


@pytest.mark.parametrize("split", SEEDS)
def test_a_look_keeps_to_the_textures_of_its_split(split):
    for seed in list(SEEDS[split])[:20]:
        look = make_look(seed)
        surfaces = [*look.floors.values(), *look.walls.values(), look.ceiling, look.box, look.trim]
        surfaces += [*look.patchwork, *look.rugs]
        assert split_of(seed) == split
        names = {s.texture for s in surfaces}
        patterns = {n for n in names if n.startswith(PREFIX)}
        assert names - patterns <= TEXTURES[split].all | {BLANK}
        assert not patterns or split == "train"


def test_only_training_courses_have_floors_that_change_rugs_and_things_like_the_floor():
    looks = {split: [make_look(seed) for seed in SEEDS[split][:60]] for split in SEEDS}
    alike = {
        split: [look.box.texture in {f.texture for f in (*look.floors.values(), *look.patchwork)} for look in some]
        for split, some in looks.items()
    }
    for split in ("validation", "test"):
        assert not any(look.patchwork or look.rugs for look in looks[split])
        assert not any(alike[split])
    assert 10 < sum(alike["train"]) < 50
    assert 10 < sum(bool(look.patchwork) for look in looks["train"]) < 50
    assert 10 < sum(bool(look.rugs) for look in looks["train"]) < 50


def test_rugs_lie_on_the_floor_of_one_rectangle():
    courses = [course_of(("office", "corridor")[seed % 2], seed) for seed in SEEDS["train"][:8]]
    rugs = [(course, rug) for course in courses for rug in course.rugs]
    assert len(rugs) > 10
    for course, rug in rugs:
        corners = Obstacle("rug", rug.x, rug.y, rug.heading_rad, rug.length_m - 1e-6, rug.width_m - 1e-6, 0).corners
        assert any(all(rect.holds(x, y) for x, y in corners) for rect in course.rects)


def test_a_rectangle_has_the_floor_of_its_kind_unless_there_is_a_patchwork():
    floors = {kind: Surface(kind) for kind in ("room", "corridor")}
    look = replace(make_look(0), floors=floors)
    assert [look.floor("room", n).texture for n in range(3)] == ["room"] * 3
    changing = replace(look, patchwork=(Surface("a"), Surface("b")))
    assert [changing.floor("room", n).texture for n in range(3)] == ["a", "b", "a"]


@given(st.integers(0, 10_000), st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_a_loop_visits_each_cell_once_and_closes(seed, blocks):
    cells = random_loop(np.random.default_rng(seed), blocks)
    assert len(cells) == len(set(cells)) == 4 * blocks
    for (x0, y0), (x1, y1) in zip(cells, cells[1:] + cells[:1], strict=True):
        assert abs(x0 - x1) + abs(y0 - y1) == 1


@pytest.mark.parametrize("name", ["office", "corridor"])
@pytest.mark.parametrize("seed", [0, 3, 1000, 2000, 4000])
def test_a_course_has_a_way_that_a_robot_fits_through(name, seed):
    course = course_of(name, seed)
    assert course.length_m > 15
    assert clearance_m(course.line, course.solids).min() >= 0.75 / 2
    steps = np.linalg.norm(course.line - np.roll(course.line, 1, axis=0), axis=1)
    assert steps.max() < 0.06


def test_a_seed_makes_the_same_course_again():
    a, b = make_course("office", 7), make_course("office", 7)
    assert np.array_equal(a.line, b.line)
    assert a.obstacles == b.obstacles
    assert a.look == b.look


@pytest.mark.parametrize("seed", [2000, 2001, 4000, 4001])
def test_laps_of_validation_and_test_courses_are_long(seed):
    assert 75 <= course_of(("office", "corridor")[seed % 2], seed).length_m <= 100


def test_blocks_make_a_course_longer_and_have_limits():
    assert course_of("office", 3, blocks=1).length_m < 17
    assert course_of("corridor", 3, blocks=9).length_m > 60
    for blocks in (0, 31):
        with pytest.raises(UsageError, match=f"blocks is {blocks}; expected 1 to 30"):
            make_course("office", 3, blocks)


@pytest.mark.parametrize(("name", "seed"), [("office", 4000), ("corridor", 4003), ("office", 1002)])
def test_side_ways_lead_nowhere_and_open_where_the_loop_goes_straight_on(name, seed):
    course = course_of(name, seed)
    assert len(course.side_ways) >= 3
    for way in course.side_ways:
        assert len(way.openings) == 1
        assert not any(way.holds(x, y) for x, y in course.line)
        door = way.openings[0]
        level = way.edge(door.side)[0]
        along = (door.low + door.high) / 2
        here = np.array([level, along] if door.side in ("east", "west") else [along, level])
        at = int(((course.line - here) ** 2).sum(1).argmin())
        ahead = course.line[(at + 15) % len(course.line)] - course.line[at - 15]
        across = 0 if door.side in ("east", "west") else 1
        assert abs(ahead[across]) < 0.5 * abs(ahead[1 - across])
        others = [r for r in course.rects if r is not way]
        centre = (way.x0 + way.x1) / 2, (way.y0 + way.y1) / 2
        assert not any(r.holds(*centre) for r in others)


def test_an_unknown_course_lists_the_known_ones():
    with pytest.raises(UsageError, match="corridor, office"):
        make_course("moon", 0)


def test_distances_to_walls():
    points = np.array([[1.0, 2.0], [3.5, 3.0], [5.0, 5.0]])
    assert clearance_m(points, ROOM) == pytest.approx([1.0, 0.5, math.sqrt(2)])
    assert crosses(np.array([1.0, 1.0]), np.array([5.0, 1.0]), ROOM)
    assert not crosses(np.array([1.0, 1.0]), np.array([3.0, 1.0]), ROOM)


@pytest.mark.parametrize(("heading", "expected"), [(0.0, 1.8), (math.pi, 1.8), (math.pi / 4, 2.64)])
def test_the_free_way_ahead_ends_a_radius_before_the_wall(heading, expected):
    free = free_ahead_m(np.array([2.0, 2.0]), heading, 0.2, ROOM, 5.0)
    assert free == pytest.approx(expected, abs=0.1)


def test_the_robot_turns_left_for_a_positive_steer_and_stays_on_its_circle():
    pose, centre = Pose(0, 0, 0), (0, MAX_SPEED_MPS / MAX_YAW_RATE_RPS)
    for _ in range(7):
        pose = advance(pose, 1.0, 1.0, 0.37)
        assert math.dist((pose.x, pose.y), centre) == pytest.approx(centre[1])
    assert advance(Pose(0, 0, 0), 0, 1, 2).x == pytest.approx(2 * MAX_SPEED_MPS)
    assert advance(Pose(1, 2, 0), 1, 0, 0.5) == Pose(1, 2, 0.5 * MAX_YAW_RATE_RPS)


def test_one_large_step_equals_many_small_ones():
    small = Pose(0, 0, 0.3)
    for _ in range(100):
        small = advance(small, -0.6, 0.8, 0.01)
    large = advance(Pose(0, 0, 0.3), -0.6, 0.8, 1.0)
    assert (small.x, small.y, small.heading_rad) == pytest.approx((large.x, large.y, large.heading_rad))


@pytest.mark.parametrize(("name", "seed"), [("corridor", 1), ("office", 4)])
def test_the_expert_drives_a_lap_without_touching_anything(name, seed):
    course = course_of(name, seed)
    start, ahead = course.line[0], course.line[4]
    pose = Pose(*start, math.atan2(ahead[1] - start[1], ahead[0] - start[0]))
    way = [pose]
    for _ in range(round(1.15 * course.length_m / MAX_SPEED_MPS / 0.1)):
        pose = advance(pose, expert.steer(course, pose), expert.speed(course, pose), 0.1)
        way.append(pose)
    points = np.array([(p.x, p.y) for p in way])
    assert clearance_m(points, course.solids).min() > RADIUS_M + 0.05
    reached = {expert.nearest_index(course, p) * 10 // len(course.line) for p in way}
    assert reached == set(range(10))


def test_a_collision_ahead_is_seen_at_half_a_metre():
    course = course_of("corridor", 1)
    walls = course.solids[: course.wall_count]
    x, low, high = walls[0][0], walls[0][1], walls[0][3]
    middle = (low + high) / 2
    inside = x - 0.01
    facing = 0.0 if clearance_m(np.array([[inside - 1.0, middle]]), walls)[0] > 0.5 else math.pi
    sign = -1 if facing == 0.0 else 1
    near, far = (Pose(x + sign * (RADIUS_M + d), middle, facing) for d in (0.3, 0.9))
    assert expert.collision_ahead(course, near)
    assert not expert.collision_ahead(course, far)


def test_occupancy_is_free_on_the_line_and_solid_on_walls_and_obstacles():
    course = course_of("office", 3)
    grid = occupancy(course, 0.05)
    line = grid.pixels(course.line)
    assert (grid.cells[line[:, 1], line[:, 0]] == FREE).all()
    things = grid.pixels(np.array([(o.x, o.y) for o in course.obstacles]))
    assert (grid.cells[things[:, 1], things[:, 0]] == OCCUPIED).all()
    assert top_view(course, [Pose(*course.line[0], 0.0)]).shape[2] == 3


def test_patterns_differ_and_repeat():
    made = [pattern(f"{PREFIX}{seed}") for seed in range(12)]
    assert all(m.shape == (512, 512, 3) and m.dtype == np.uint8 for m in made)
    assert np.array_equal(made[3], pattern(f"{PREFIX}3"))
    assert len({m.tobytes() for m in made}) == len(made)
