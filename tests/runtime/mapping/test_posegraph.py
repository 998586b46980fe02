import math

import numpy as np
import pytest

from helmsight.runtime.mapping.geometry import Pose
from helmsight.runtime.mapping.posegraph import Chain, Closure, PoseGraph, compose

SIDE = 8


def square(yaw_error_rad=0.0):
    """Once around a square of steps of 1 m, each turned too far by the error; pose 4 * SIDE is truly pose 0."""
    graph = PoseGraph()
    for index in range(4 * SIDE):
        turn = math.pi / 2 if index % SIDE == SIDE - 1 else 0.0
        graph.add(Pose(1.0, 0.0, turn + yaw_error_rad), 0.01**2, 0.01**2)
    return graph


def off(graph):
    return math.hypot(*graph.poses[-1, :2])


def test_compose_is_one_pose_after_the_other():
    steps = np.random.default_rng(0).normal(0, 1, (7, 3))
    pose = Pose()
    for step in steps:
        pose = pose.then(Pose(*step))
    assert compose(steps)[-1, :2] == pytest.approx([pose.x_m, pose.y_m])
    assert math.remainder(compose(steps)[-1, 2] - pose.yaw_rad, math.tau) == pytest.approx(0)


def test_what_depends_on_the_steps_is_as_their_derivative_says():
    random = np.random.default_rng(3)
    steps = random.normal(0, 0.4, (9, 3))
    variance = random.uniform(0.01, 0.1, (9, 2))
    ends = np.array([(0, 9), (2, 6), (5, 8), (1, 3)])
    chain = Chain(steps, variance)

    def far_ends(steps):
        """The last pose of each stretch from its first, along axes that do not move."""
        found = []
        for first, second in ends:
            x, y, yaw = compose(steps[first:second])[-1]
            cos, sin = np.cos(chain.poses[first, 2]), np.sin(chain.poses[first, 2])
            found += [cos * x - sin * y, sin * x + cos * y, yaw]
        return np.array(found)

    tiny = np.eye(27).reshape(27, 9, 3) * 1e-6
    jacobian = np.stack([(far_ends(steps + d) - far_ends(steps - d)) / 2e-6 for d in tiny], axis=1)
    spread = np.diag(variance[:, [0, 0, 1]].ravel())
    np.testing.assert_allclose(chain.covariance(ends, ends[:3]), jacobian @ spread @ jacobian[:9].T, atol=1e-8)
    change, pull = random.normal(0, 1, (9, 3)), random.normal(0, 1, (4, 3))
    np.testing.assert_allclose(chain.moved(ends, change).ravel(), jacobian @ change.ravel(), atol=1e-7)
    np.testing.assert_allclose(chain.shares(ends, pull).ravel(), spread @ jacobian.T @ pull.ravel(), atol=1e-8)


def test_a_closure_takes_the_drift_out_of_the_whole_path():
    graph, true = square(0.004), square()
    drift = off(graph)
    assert drift > 0.3
    assert graph.close(Closure(0, 4 * SIDE, Pose(), 0.02, 0.01))
    assert off(graph) < 0.05
    assert np.abs(graph.poses[:, :2] - true.poses[:, :2]).max() < 0.2
    left = graph.unclosed(4 * SIDE)
    assert math.hypot(left.x_m, left.y_m) == pytest.approx(drift)  # odometry alone is kept


def test_the_solution_is_a_minimum_of_the_cost():
    graph = square(0.004)
    closure = Closure(2, 4 * SIDE, Pose(-2.0, 0.0, 0.0), 0.02, 0.01)
    assert graph.close(closure)

    def cost(steps):
        relative = compose(steps[closure.first :])[-1] - closure.measured
        relative[2] = math.remainder(relative[2], math.tau)
        drawn = steps - [(1.0, 0.0, (math.pi / 2 if i % SIDE == SIDE - 1 else 0.0) + 0.004) for i in range(len(steps))]
        return ((drawn / 0.01) ** 2).sum() + (relative**2 / closure.variance).sum()

    steps = np.array([_step(graph, index) for index in range(4 * SIDE)])
    least = cost(steps)
    for seed in range(20):
        assert cost(steps + np.random.default_rng(seed).normal(0, 1e-4, steps.shape)) > least


def _step(graph, index):
    step = graph.pose(index).inverse().then(graph.pose(index + 1))
    return step.x_m, step.y_m, step.yaw_rad


def test_covariance_is_that_of_many_noisy_paths():
    random = np.random.default_rng(1)
    graph = square()
    steps = np.array([_step(graph, index) for index in range(4 * SIDE)])
    ends = np.array([compose((steps + random.normal(0, 0.01, steps.shape))[3:20])[-1] for _ in range(4000)])
    assert np.cov(ends.T) == pytest.approx(graph.covariance(3, 20), rel=0.12, abs=2e-4)


def test_a_closure_makes_the_path_surer():
    graph = square()
    before = graph.covariance(0, 4 * SIDE)
    assert graph.close(Closure(0, 4 * SIDE, Pose(), 0.02, 0.01))
    after = graph.covariance(0, 4 * SIDE)
    assert (np.diag(after) < np.diag(before)).all()
    assert after[0, 0] < 0.02**2


@pytest.mark.parametrize("pose", [Pose(9.0, 0.0, 0.0), Pose(0.0, 0.0, 0.9), Pose(-6.0, -6.0, 0.5)])
def test_a_closure_that_contradicts_the_path_is_refused_and_moves_nothing(pose):
    graph = square(0.005)
    before = graph.poses.copy()
    assert not graph.close(Closure(0, 4 * SIDE, pose, 0.02, 0.01))
    assert (graph.poses == before).all()
    assert graph.closures == []


def test_closures_must_agree_with_each_other():
    graph = square(0.005)
    assert graph.close(Closure(0, 4 * SIDE, Pose(), 0.02, 0.01))
    assert not graph.close(Closure(1, 4 * SIDE, Pose(0.0, 0.0, 0.0), 0.02, 0.01))  # a metre off
    assert len(graph.closures) == 1
