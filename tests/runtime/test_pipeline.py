import logging
import threading
import time
from collections.abc import Mapping

import numpy as np
import pytest

from helmsight.devices.errors import CameraUnavailable
from helmsight.runtime.backends.fake import FakeSession
from helmsight.runtime.bundle import Bundle
from helmsight.runtime.model import Model
from helmsight.runtime.pipeline import Pipeline, PipelineOptions
from helmsight.runtime.results import Command, Result, Stop
from helmsight.runtime.sources.fake import FakeSource
from helmsight.runtime.tasks import task_for


class Drive(FakeSource):
    """A live source that is over after its frames."""

    @property
    def ended(self) -> bool:
        return self._index == self._count


def model(bundle: Bundle, latency_ms: float = 0.0) -> Model:
    return Model(FakeSession(bundle, latency_ms), task_for(bundle.manifest))


def collect(pipeline: Pipeline, at_most: int = 10_000) -> list[Result]:
    results = []
    for result in pipeline.results():
        results.append(result)
        if len(results) == at_most:
            pipeline.stop()
    return results


def test_a_file_loses_no_frame_and_keeps_its_order(face_bundle: Bundle, navigate_bundle: Bundle) -> None:
    pipeline = Pipeline(FakeSource(40), [model(face_bundle, 1), model(navigate_bundle)])
    results = collect(pipeline)
    assert [r.frame.index for r in results] == list(range(40))
    for result in results:
        assert {name: r.frame_index for name, r in result.readings.items()} == {
            "face": result.frame.index,
            "navigate": result.frame.index,
        }
        assert isinstance(result.command, Command)
    summary = pipeline.summary()
    assert summary.results == 40
    assert summary.overwritten == {"face": 0, "navigate": 0}
    assert {"age", "capture", "face inference", "navigate wait"} <= set(summary.times)
    assert summary.times["face inference"].p50_ms >= 1


def test_a_live_source_is_never_queued_and_what_is_overwritten_is_counted(face_bundle: Bundle) -> None:
    source = FakeSource(60, live=True, interval_s=0.005)
    pipeline = Pipeline(source, [model(face_bundle, latency_ms=25)])
    results = collect(pipeline, at_most=8)
    indices = [r.frame.index for r in results]
    assert indices == sorted(set(indices))
    assert pipeline.summary().overwritten["face"] >= 8
    # One frame may be in the model and one in the slot: no result is older than that, however long it ran.
    looked_at = len(results) + 2
    assert results[-1].overwritten <= results[-1].frame.index
    assert results[-1].overwritten + looked_at >= results[-1].frame.index


def test_a_result_that_a_slow_sink_never_sees_is_counted_too(face_bundle: Bundle) -> None:
    pipeline = Pipeline(Drive(60, live=True, interval_s=0.005), [model(face_bundle)])
    results = pipeline.run([lambda _: time.sleep(0.03)]).results
    overwritten = pipeline.overwritten["face"]
    assert overwritten >= 10
    assert results + overwritten == 60


def test_the_slower_model_lends_its_newest_reading(face_bundle: Bundle, navigate_bundle: Bundle) -> None:
    source = FakeSource(100, live=True, interval_s=0.005)
    pipeline = Pipeline(source, [model(face_bundle, latency_ms=40), model(navigate_bundle)])
    results = collect(pipeline, at_most=40)
    behind = [r.frame.index - r.readings["face"].frame_index for r in results if "face" in r.readings]
    assert behind
    assert max(behind) >= 3
    assert all(r.readings["navigate"].frame_index == r.frame.index for r in results)


def test_a_lost_camera_is_opened_again(face_bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    source = FakeSource(1000, live=True, interval_s=0.002, lost_at=[5], failures=2)
    pipeline = Pipeline(source, [model(face_bundle)], PipelineOptions(reopen_first_s=0.01, reopen_last_s=0.02))
    with caplog.at_level(logging.INFO):
        results = collect(pipeline, at_most=12)
    assert results[-1].frame.index >= 6
    assert source.opened == 2
    assert pipeline.summary().reopened == 1
    assert "lost fake://" in caplog.text
    assert "fake:// is back" in caplog.text


def test_a_live_source_that_is_over_ends_the_run(face_bundle: Bundle) -> None:
    pipeline = Pipeline(Drive(5, live=True), [model(face_bundle)])
    assert collect(pipeline)[-1].frame.index == 4
    assert pipeline.summary().reopened == 0


def test_silence_stops_the_robot_once_and_fresh_frames_start_it_again(
    navigate_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    source = FakeSource(1000, live=True, interval_s=0.005, silence=(10, 0.5))
    pipeline = Pipeline(source, [model(navigate_bundle)], PipelineOptions(max_age_ms=100))
    commands: list[Command | Stop | None] = []
    for result in pipeline.results():
        commands.append(result.command)
        if isinstance(result.command, Stop) and result.command.reason != "the run ended":
            assert result.frame.index == 9
            assert 100 < (result.made_ns - result.frame.captured_ns) / 1e6 < 400
        if result.frame.index >= 12:
            pipeline.stop()
    stops = [c.reason for c in commands if isinstance(c, Stop)]
    assert len(stops) == 2
    assert "camera is silent" in stops[0]
    assert stops[1] == "the run ended"
    assert isinstance(commands[-2], Command)
    assert "STOP: camera is silent" in caplog.text
    assert pipeline.summary().stops == 1


def test_a_result_that_is_too_old_is_a_stop(navigate_bundle: Bundle) -> None:
    source = FakeSource(1000, live=True, interval_s=0.005)
    pipeline = Pipeline(source, [model(navigate_bundle, latency_ms=60)], PipelineOptions(max_age_ms=30))
    results = collect(pipeline, at_most=3)
    assert all(isinstance(r.command, Stop) for r in results)
    assert "ms old" in results[0].command.reason  # type: ignore[union-attr]


def test_a_source_that_does_not_open_raises_where_the_results_are_read(face_bundle: Bundle) -> None:
    class Absent(FakeSource):
        def open(self) -> None:
            raise CameraUnavailable("no camera")

    with pytest.raises(CameraUnavailable, match="no camera"):
        collect(Pipeline(Absent(3), [model(face_bundle)]))


def test_a_model_that_fails_ends_the_run_with_its_error(face_bundle: Bundle, navigate_bundle: Bundle) -> None:
    class Failing(FakeSession):
        def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            raise FloatingPointError("broken")

    failing = Model(Failing(face_bundle), task_for(face_bundle.manifest))
    for models in ([failing], [model(navigate_bundle), failing]):
        with pytest.raises(FloatingPointError, match="broken"):
            collect(Pipeline(FakeSource(50), models))


class FailsLater(FakeSession):
    """Answers `good` times, and then not."""

    good = 4

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.good -= 1
        if self.good < 0:
            raise FloatingPointError("broken")
        return super().run(feeds)


def test_a_model_that_dies_while_it_drives_stops_the_robot_first(navigate_bundle: Bundle) -> None:
    dying = Model(FailsLater(navigate_bundle), task_for(navigate_bundle.manifest))
    commands: list[Command | Stop | None] = []
    pipeline = Pipeline(FakeSource(50, live=True), [dying])
    with pytest.raises(FloatingPointError, match="broken"):
        commands.extend(result.command for result in pipeline.results())
    assert [type(c) for c in commands] == [Command] * 4 + [Stop]
    assert "broken" in commands[-1].reason


def test_the_end_of_a_live_run_stops_the_robot(navigate_bundle: Bundle) -> None:
    results = collect(Pipeline(FakeSource(100, live=True), [model(navigate_bundle)]), at_most=3)
    assert [type(r.command) for r in results] == [Command] * 3 + [Stop]


def test_nan_is_a_stop(navigate_bundle: Bundle) -> None:
    class Broken(FakeSession):
        def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return super().run(feeds) | {"steer": np.array([[np.nan]], np.float32)}

    broken = Model(Broken(navigate_bundle), task_for(navigate_bundle.manifest))
    results = collect(Pipeline(FakeSource(3), [broken]))
    assert all(isinstance(r.command, Stop) and "not finite" in r.command.reason for r in results)


def test_stop_does_not_wait_for_a_model_that_hangs(face_bundle: Bundle, navigate_bundle: Bundle) -> None:
    pipeline = Pipeline(FakeSource(50), [model(navigate_bundle), model(face_bundle, latency_ms=5000)])
    threading.Timer(0.2, pipeline.stop).start()
    before = time.perf_counter()
    assert collect(pipeline) == []
    assert time.perf_counter() - before < 4


def test_a_silent_camera_is_noticed_while_its_read_hangs(face_bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    # More frames than results that are waited for: on a busy machine some are overwritten.
    source = FakeSource(10_000, live=True, interval_s=0.005, silence=(3, 0.5))
    pipeline = Pipeline(source, [model(face_bundle)], PipelineOptions(lost_after_s=0.2))
    collect(pipeline, at_most=4)
    assert "no frame from fake:// for 0." in caplog.text


def test_nothing_is_left_running(face_bundle: Bundle) -> None:
    before = threading.active_count()
    for result in Pipeline(FakeSource(1000, live=True), [model(face_bundle)]).results():
        if result.frame.index >= 3:
            break
    time.sleep(0.05)
    assert threading.active_count() == before


def test_max_frames_and_sinks(face_bundle: Bundle) -> None:
    seen: list[int] = []
    pipeline = Pipeline(FakeSource(1000), [model(face_bundle)], PipelineOptions(max_frames=7))
    summary = pipeline.run([lambda r: seen.append(r.frame.index)])
    assert seen == list(range(7))
    assert summary.results == 7
    assert "sinks" in summary.times
