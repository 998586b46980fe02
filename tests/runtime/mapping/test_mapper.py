"""The map while loops are closed: in use all the time, and right in the end."""

import math
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


@pytest.fixture(scope="module")
def hall():
    return World((-1.8, -1.4, 5.4, 5.6), pillars=((1.6, 1.3, 0.7), (2.6, 3.1, 0.4), (0.2, 4.9, 0.3), (4.6, 0.4, 0.25)))


@pytest.fixture(scope="module")
def frames(hall):
    """Two rounds and a half: what the wheels tell, which turn a little less than the robot, and what is seen."""
    once = loop(5.0, 4.2, 0.9, STEP_M)
    poses = [*once, *once[1:], *once[1 : len(once) // 2]]
    motions = [Pose(), *(before.inverse().then(after) for before, after in pairwise(poses))]
    wheels = [Motion(m.x_m, m.y_m, m.yaw_rad + 0.0005 * (m.x_m > 0), 0.002, 0.003) for m in motions]
    return [
        (Frame(GREY, i, i), hall.drive(pose), wheel) for i, (pose, wheel) in enumerate(zip(poses, wheels, strict=True))
    ]


@pytest.fixture(scope="module")
def driven(frames):
    """The mapper, and at each frame its pose, the number of corrections, the evidence 0.9 m ahead, and the closures."""
    often = MapperOptions(rebuild_scans=4, loops=LoopOptions(apart_m=3.0))
    mapper, said = Mapper(GEOMETRY, often), []
    for frame, drive, wheels in frames:
        pose = mapper.update(frame, drive, wheels)
        ((row, column),) = mapper.grid.cell(pose.to_world(np.array([[0.9, 0.0]])))
        closures = len(mapper.loops.graph.closures)
        said.append((pose, len(mapper.corrections), mapper.grid.log_odds[row, column], closures))
    return mapper, said


def off(a: Pose, b: Pose) -> float:
    return math.hypot(a.x_m - b.x_m, a.y_m - b.y_m) + abs(math.remainder(a.yaw_rad - b.yaw_rad, math.tau))


def test_the_robot_stays_where_it_is_on_the_grid_until_that_is_built_anew(frames, driven):
    mapper, said = driven
    assert mapper.loops.graph.closures
    assert mapper.corrections
    for (before, corrected, *_), (after, now, *_), (_, _, wheels) in zip(said, said[1:], frames[1:], strict=False):
        going_on = before.then(wheels.pose)
        for by in mapper.corrections[corrected:now]:
            going_on = by.then(going_on)
        assert off(after, going_on) < 1e-6
    assert max(off(Pose(), by) for by in mapper.corrections) > 0.05


def test_what_is_seen_gets_on_the_grid_at_once_also_while_it_is_built_anew(driven):
    assert all(evidence != 0 for _, _, evidence, _ in driven[1])


def test_closures_that_come_while_it_is_built_anew_do_not_begin_it_again(driven):
    mapper, said = driven
    closed = [i for i, before in enumerate(said[:-1]) if said[i + 1][3] > before[3]]
    built = next(i for i, (_, corrections, _, _) in enumerate(said) if corrections)
    assert closed[0] < closed[1] < built
    scans_a_frame = mapper.options.rebuild_scans - 1  # a new one comes with each frame
    assert built - closed[0] <= closed[0] / scans_a_frame + 3


def test_in_the_end_grid_and_path_agree_with_the_floor(hall, driven):
    mapper, _ = driven
    mapper.finish()
    nodes = mapper.loops.graph.poses
    np.testing.assert_allclose(mapper.path[:-1], nodes[:, :2], atol=1e-6)
    assert off(mapper.pose, mapper.trajectory[-1]) < 1e-9
    rows, columns = np.indices(mapper.grid.log_odds.shape)
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], 1) * mapper.grid.options.resolution_m
    free = hall.floor_at(centres + mapper.grid.origin).reshape(rows.shape)
    seen = mapper.grid.log_odds < 0
    assert (seen & free).sum() / (seen | (free & (mapper.grid.log_odds != 0))).sum() > 0.9
