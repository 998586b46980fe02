"""The map while loops are closed: in use all the time, and right in the end."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from helmsight.runtime.mapping.geometry import Pose
from helmsight.runtime.mapping.loops import LoopOptions
from helmsight.runtime.mapping.mapper import Mapper, MapperOptions
from helmsight.runtime.mapping.motion import Motion
from helmsight.runtime.results import Frame

from .conftest import FRAME_HW, GEOMETRY, World, loop

pytest.importorskip("cv2")
STEP_M = 0.1
GREY = np.full((*FRAME_HW, 3), 128, np.uint8)
"""A floor without a texture: the wheels tell the motion."""
AHEAD = np.array([[0.9, 0.0]])
AROUND = np.stack(np.meshgrid(np.arange(0.3, 2.0, 0.05), np.arange(-0.8, 0.8, 0.05)), -1).reshape(-1, 2)
DISC = np.stack(np.meshgrid(np.arange(-0.2, 0.21, 0.05), np.arange(-0.2, 0.21, 0.05)), -1).reshape(-1, 2)


@pytest.fixture(scope="module")
def hall():
    return World((-1.8, -1.4, 5.4, 5.6), pillars=((1.6, 1.3, 0.7), (2.6, 3.1, 0.4), (0.2, 4.9, 0.3), (4.6, 0.4, 0.25)))


SLIP = range(240, 250)
"""Frames in which the wheels slip, between the first closed loop and the second."""
NEW = (2.2, 4.9, 0.12)
"""A pillar that stands there from the first closed loop on, beside the way that is driven next."""


@dataclass
class Said:
    """Of a frame: the pose on the map, and so far the corrections, the closures and the grids; the log-odds 0.9 m
    ahead, and the most where the new pillar is."""

    pose: Pose
    corrections: int
    closures: int
    grids: int
    ahead: float
    pillar: float
    off: float | None = None
    """Of a frame with a closure or a new grid: how wrong the robot is, seen from the place that it has come back to."""
    alike: float | None = None
    """Of a frame with a new grid: the share of cells around the robot that are the same before and after it."""


@dataclass
class Drive:
    mapper: Mapper
    said: list[Said]
    wheels: list[Motion]


@pytest.fixture(scope="module")
def driven(hall):
    """Two rounds and a half on wheels that turn a little less than the robot."""
    once = loop(5.0, 4.2, 0.9, STEP_M)
    poses = [*once, *once[1:], *once[1 : len(once) // 2]]
    motions = [Pose(), *(before.inverse().then(after) for before, after in pairwise(poses))]
    slips = [0.0005 * (m.x_m > 0) + 0.006 * (index in SLIP) for index, m in enumerate(motions)]
    wheels = [Motion(m.x_m, m.y_m, m.yaw_rad + slip, 0.002, 0.003) for m, slip in zip(motions, slips, strict=True)]
    mapper = Mapper(GEOMETRY, MapperOptions(rebuild_scans=4, loops=LoopOptions(apart_m=3.0)))
    closures = mapper.loops.graph.closures
    later = World(hall.walls, (*hall.pillars, NEW))
    said: list[Said] = []
    grids = 1
    for index, (true, motion) in enumerate(zip(poses, wheels, strict=True)):
        grid, had = mapper.grid, len(mapper.loops.graph.closures)
        pose = mapper.update(Frame(GREY, index, index), (later if had else hall).drive(true), motion)
        closures = mapper.loops.graph.closures
        anew = mapper.grid is not grid
        grids += anew
        pillar = pose.to_world(true.inverse().to_world(NEW[:2] + DISC))
        ahead = odds(mapper.grid, pose.to_world(AHEAD))[0]
        told = Said(pose, len(mapper.corrections), len(closures), grids, ahead, odds(mapper.grid, pillar).max())
        if anew:
            before = mapper.corrections[-1].inverse().then(pose)
            one, other = odds(grid, before.to_world(AROUND)), odds(mapper.grid, pose.to_world(AROUND))
            told.alike = float(((one > 0.3) == (other > 0.3))[(np.abs(one) > 0.3) & (np.abs(other) > 0.3)].mean())
        if anew or len(closures) > had:
            first = closures[-1].first
            place = Pose(*mapper._drawn.poses[first].tolist())
            told.off = off(place.inverse().then(pose), poses[mapper.node_frames[first]].inverse().then(true))
        said.append(told)
    return Drive(mapper, said, wheels)


def odds(grid, points):
    rows, columns = np.clip(grid.cell(points), 0, np.array(grid.log_odds.shape) - 1).T
    return grid.log_odds[rows, columns]


def off(a: Pose, b: Pose) -> float:
    return math.hypot(a.x_m - b.x_m, a.y_m - b.y_m) + abs(math.remainder(a.yaw_rad - b.yaw_rad, math.tau))


def test_the_robot_goes_on_from_where_it_was_but_for_corrections(driven):
    for (before, after), wheels in zip(pairwise(driven.said), driven.wheels[1:], strict=True):
        going_on = before.pose.then(wheels.pose)
        for by in driven.mapper.corrections[before.corrections : after.corrections]:
            going_on = by.then(going_on)
        assert off(after.pose, going_on) < 1e-6
    assert max(off(Pose(), by) for by in driven.mapper.corrections) > 0.1


def test_back_at_a_known_place_it_is_there_at_once(driven):
    """Whatever the way there has on the map, and though the grid is not built anew yet."""
    offs = [told.off for told in driven.said if told.off is not None and told.alike is None]
    assert len(offs) > 3
    assert max(offs) < 0.15


def test_what_is_around_the_robot_is_where_it_was_when_a_new_grid_is_taken(driven):
    """Also where another loop was closed while that was built."""
    assert driven.said[-1].grids > 1
    for told in driven.said:
        if told.alike is not None:
            assert told.alike > 0.9
            assert told.off is not None
            assert told.off < 0.1


def test_what_is_seen_gets_on_the_grid_at_once_also_while_it_is_built_anew(driven):
    assert all(told.ahead != 0 for told in driven.said)
    first = next(i for i, told in enumerate(driven.said) if told.closures)
    assert driven.said[first].pillar < 0
    built = next(i for i, told in enumerate(driven.said) if told.grids > 1)
    assert max(told.pillar for told in driven.said[first:built]) > 0.5


def test_closures_that_come_while_it_is_built_anew_do_not_begin_it_again(driven):
    closed = [i for i, (before, after) in enumerate(pairwise(driven.said), 1) if after.closures > before.closures]
    built = next(i for i, told in enumerate(driven.said) if told.grids > 1)
    assert closed[0] < closed[1] < built
    scans_a_frame = driven.mapper.options.rebuild_scans - 1  # a new one comes with each frame
    assert built - closed[0] <= closed[0] / scans_a_frame + 3


def test_in_the_end_grid_and_path_agree_with_the_floor(hall, driven):
    mapper = driven.mapper
    mapper.finish()
    np.testing.assert_allclose(mapper.path[:-1], mapper.loops.graph.poses[:, :2], atol=1e-6)
    assert off(mapper.pose, mapper.trajectory[-1]) < 1e-9
    rows, columns = np.indices(mapper.grid.log_odds.shape)
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], 1) * mapper.grid.options.resolution_m
    free = hall.floor_at(centres + mapper.grid.origin).reshape(rows.shape)
    seen = mapper.grid.log_odds < 0
    assert (seen & free).sum() / (seen | (free & (mapper.grid.log_odds != 0))).sum() > 0.9
