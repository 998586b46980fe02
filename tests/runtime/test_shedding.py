"""Who makes room for whom, step by step, and when it gets it back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

import numpy as np
import pytest

from helmsight.runtime.backends.fake import FakeSession
from helmsight.runtime.bundle import Bundle
from helmsight.runtime.model import Model
from helmsight.runtime.pipeline import Pipeline, PipelineOptions
from helmsight.runtime.shedding import CALM, LOOKED_AT, MOST_STEPS, LoadShedder, shedder_for
from helmsight.runtime.sources.fake import FakeSource
from helmsight.runtime.tasks import task_for


def shedder() -> LoadShedder:
    return LoadShedder("navigate", 50, ["face"])


def test_one_late_answer_is_chance_and_two_are_a_step(caplog: pytest.LogCaptureFixture) -> None:
    shed = shedder()
    for response_ms in [10.0] * 5 + [70.0] + [10.0] * LOOKED_AT + [70.0]:
        shed.done(response_ms)
    assert shed.step == 0
    shed.done(70)
    assert shed.step == 1
    assert "navigate took 70 ms of 50: face run 1/2 of the time" in caplog.text


def test_steps_halve_the_others_share_down_to_a_limit() -> None:
    shed = shedder()
    assert shed.rest_s(0.1) == 0
    shares = []
    for _ in range(MOST_STEPS + 3):
        shed.done(70)
        shed.done(70)
        shares.append(0.1 / (0.1 + shed.rest_s(0.1)))
    assert shares == pytest.approx([0.5, 0.25, 1 / 8, 1 / 16, 1 / 32, 1 / 32, 1 / 32, 1 / 32])
    assert shed.steps_taken == MOST_STEPS


def test_steps_are_taken_back_one_by_one_and_more_slowly_where_that_was_too_early(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shed = shedder()
    for _ in range(4):
        shed.done(70)
    assert shed.step == 2
    with caplog.at_level(logging.INFO):
        for step in (1, 0):
            for _ in range(CALM):
                assert shed.step == step + 1
                shed.done(30)
            assert shed.step == step
    assert "navigate is in time: face run 1/2 of the time" in caplog.text
    assert "navigate is in time: face run as they can" in caplog.text
    shed.done(70)
    shed.done(70)
    for _ in range(2 * CALM):
        assert shed.step == 1
        shed.done(30)
    assert shed.step == 0


def test_an_answer_with_little_to_spare_gives_nothing_back() -> None:
    shed = shedder()
    shed.done(70)
    shed.done(70)
    for _ in range(3 * CALM):
        shed.done(45)
    assert shed.step == 1


@pytest.mark.parametrize(
    ("face", "navigate", "first"),
    [((0, 0), (50, 1), "navigate"), ((33, 2), (50, 1), "face"), ((0, 2), (50, 1), None), ((0, 1), (50, 1), None)],
)
def test_the_highest_priority_with_a_period_is_made_room_for(
    face_bundle: Bundle, navigate_bundle: Bundle, face: tuple[float, float], navigate: tuple[float, float],
    first: str | None,
) -> None:  # fmt: skip
    models = [
        Model(FakeSession(bundle), task_for(bundle.manifest), *pace)
        for bundle, pace in ((face_bundle, face), (navigate_bundle, navigate))
    ]
    found = shedder_for(models)
    assert (found.task if found else None) == first


class Machine:
    """One core: who has it, has it."""

    def __init__(self) -> None:
        self.core = threading.Lock()
        self.runs: dict[str, int] = {}


class OnOneCore(FakeSession):
    """Holds the core while it runs."""

    def __init__(self, bundle: Bundle, latency_ms: float, machine: Machine) -> None:
        super().__init__(bundle, latency_ms)
        self._machine, self._name = machine, bundle.manifest.task
        machine.runs[self._name] = 0

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._machine.core:
            self._machine.runs[self._name] += 1
            return super().run(feeds)


def test_faces_slow_down_for_navigation_and_get_their_time_back(face_bundle: Bundle, navigate_bundle: Bundle) -> None:
    """Faces hold the only core for 4 periods of navigation, then for next to nothing."""
    machine = Machine()
    slow = OnOneCore(face_bundle, 400, machine)
    navigate = Model(OnOneCore(navigate_bundle, 1, machine), task_for(navigate_bundle.manifest), 100, 1)
    pipeline = Pipeline(
        FakeSource(10**6, live=True), [navigate, Model(slow, task_for(face_bundle.manifest))],
        PipelineOptions(max_age_ms=5000),
    )  # fmt: skip
    shed = pipeline._shedder
    assert shed
    most, until = 0, time.monotonic() + 60
    for _ in pipeline.results():
        assert time.monotonic() < until
        most = max(most, shed.step)
        if shed.step >= 2:
            slow.latency_ms = 1
        if most >= 2 and shed.step < most:
            pipeline.stop()
    summary = pipeline.summary()
    assert summary.late["navigate"] >= 2
    assert summary.shed_steps >= 2


def test_a_period_keeps_a_model_from_looking_more_often(face_bundle: Bundle, navigate_bundle: Bundle) -> None:
    machine = Machine()
    face = Model(OnOneCore(face_bundle, 0, machine), task_for(face_bundle.manifest), period_ms=100)
    navigate = Model(OnOneCore(navigate_bundle, 0, machine), task_for(navigate_bundle.manifest))
    pipeline = Pipeline(FakeSource(60, live=True), [navigate, face])
    began = time.monotonic()
    for result in pipeline.results():
        if result.frame.index >= 40:
            pipeline.stop()
    assert 1 <= machine.runs["face"] <= 2 + (time.monotonic() - began) / 0.1
    assert machine.runs["navigate"] > machine.runs["face"]
