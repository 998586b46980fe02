import itertools
import math

import pytest

from helmsight.runtime.mapping.geometry import FloorView, Pose
from helmsight.runtime.mapping.grid import floor_edge
from helmsight.runtime.mapping.loops import LoopOptions, Loops, Scan
from helmsight.runtime.mapping.places import PlaceOptions, patch, search

from .conftest import FRAME_HW, GEOMETRY, MASK_HW, World, loop

pytest.importorskip("cv2")
VIEW = FloorView(GEOMETRY, FRAME_HW, MASK_HW)
PLACES = PlaceOptions()
STEP_M = 0.2
USUAL = LoopOptions()


def edge_at(world, pose):
    return floor_edge(world.drive(pose).free_space, VIEW, 0.25)


def seen_from(world, centre, poses):
    """What is seen from `poses`, in the frame of `centre`."""
    return [(centre.inverse().then(pose), edge_at(world, pose), VIEW) for pose in poses]


def fit(world, old, new, guess):
    """Lay what is seen around `new`, in its frame, over that around `old`."""
    known = patch(seen_from(world, old[0], old), PLACES.half_m + 2 * PLACES.reach_m, PLACES)
    lately = patch(seen_from(world, new[0], new), PLACES.half_m, PLACES)
    finding = search(known, lately, guess, PLACES)
    while True:
        try:
            next(finding)
        except StopIteration as ended:
            return ended.value


def line(x0, x1, y=0.0):
    return [Pose(x0 + STEP_M * i, y) for i in range(round((x1 - x0) / STEP_M))]


def drive(world, poses, options=USUAL, yaw_error_rad=0.0):
    """Loops that were fed true poses with an error in each turn, and a scan at each."""
    loops = Loops(options)
    closed = 0
    for before, after in itertools.pairwise(poses):
        motion = before.inverse().then(after)
        motion = Pose(motion.x_m, motion.y_m, motion.yaw_rad + yaw_error_rad)
        way = math.hypot(motion.x_m, motion.y_m)
        node, offset = loops.advance(motion, 1e-4 * way, 1e-4 * way)
        loops.scans.append(Scan(node, offset, edge_at(world, after), VIEW))
        for _ in range(6):
            closed += loops.step()
    assert closed == len(loops.graph.closures)
    return loops


def end_error_m(loops, poses):
    node = loops.scans[-1]
    found = loops.graph.pose(node.node).then(node.offset)
    true = poses[0].inverse().then(poses[-1])
    return math.hypot(found.x_m - true.x_m, found.y_m - true.y_m)


def test_a_known_place_is_found_where_it_is():
    world = World((-2.0, -1.2, 6.0, 1.2), pillars=((2.2, 0.7, 0.2), (3.4, -0.8, 0.3)))
    found = fit(world, line(-1.0, 2.0), line(-0.6, 2.2, 0.1), Pose(0.0, -0.5, 0.05))
    assert found.sure(PLACES)
    assert (found.pose.x_m, found.pose.y_m) == pytest.approx((0.4, 0.1), abs=0.06)
    assert found.pose.yaw_rad == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize(
    "pillars",
    [(), tuple((0.9 * i, 0.9, 0.15) for i in range(-20, 21))],
    ids=["no feature", "the same pillar every 90 cm"],
)
def test_a_corridor_that_looks_alike_along_itself_is_no_place(pillars):
    world = World((-20.0, -1.2, 20.0, 1.2), pillars=pillars)
    found = fit(world, line(-3.0, 1.0), line(-2.3, 0.8), Pose(0.3, 0.1))
    assert not found.sure(PLACES)


def rounds(count):
    once = loop(5.0, 4.2, 0.9, STEP_M)
    return once + [pose for _ in range(count - 1) for pose in once[1:]]


@pytest.fixture(scope="module")
def hall():
    return World((-1.8, -1.4, 5.4, 5.6), pillars=((1.6, 1.3, 0.7), (2.6, 3.1, 0.4), (0.2, 4.9, 0.3), (4.6, 0.4, 0.25)))


def test_a_loop_is_closed_and_the_drift_goes(hall):
    poses = rounds(2)[:130]
    plain = drive(hall, poses, None, yaw_error_rad=0.0012)
    closed = drive(hall, poses, yaw_error_rad=0.0012)
    assert end_error_m(plain, poses) > 0.2
    assert len(closed.graph.closures) >= 1
    assert end_error_m(closed, poses) < 0.5 * end_error_m(plain, poses)


def test_rounds_of_a_known_place_do_not_pile_up_closures(hall):
    """Each makes the next one dearer; where the path is right as it is, one in ten metres keeps it so."""
    poses = rounds(3)
    loops = drive(hall, poses)
    again_m = loops._here_m - USUAL.away_m
    assert 1 <= len(loops.graph.closures) <= 1 + again_m / USUAL.apart_m
    assert end_error_m(loops, poses) < 2 * USUAL.sigma_m


def test_a_path_that_goes_off_is_put_right_within_the_next_ten_metres(hall):
    poses = rounds(3)
    loops = drive(hall, poses, yaw_error_rad=0.0012)
    again_m = loops._here_m - USUAL.away_m
    assert len(loops.graph.closures) > 1 + again_m / USUAL.apart_m
    assert end_error_m(loops, poses) < 0.15


def test_two_halls_that_look_alike_are_not_taken_for_one(hall):
    # The second hall is the first one's double, 20 m away, and the way to it is not seen.
    double = World(
        (18.2, -1.4, 25.4, 5.6), pillars=tuple((x + 20.0, y, radius) for x, y, radius in hall.pillars), seed=hall.seed
    )
    first, loops = rounds(1), Loops(LoopOptions(away_m=5.0))
    path = [(hall, pose) for pose in first] + [(double, Pose(20.0).then(pose)) for pose in first]
    for (_, before), (world, after) in itertools.pairwise(path):
        node, offset = loops.advance(before.inverse().then(after), 1e-5, 1e-5)
        loops.scans.append(Scan(node, offset, edge_at(world, after), VIEW))
        for _ in range(6):
            loops.step()
    assert all(
        (closure.first < len(loops.graph) / 2) == (closure.second < len(loops.graph) / 2)
        for closure in loops.graph.closures
    )
