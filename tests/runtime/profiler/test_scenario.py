"""How queries arrive: at a camera's pace, and side by side on several streams, on stages whose time is known."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, UsageError
from helmsight.runtime.backends import SessionOptions
from helmsight.runtime.bundle import write_bundle
from helmsight.runtime.profiler import Limits, ProfileOptions, Scenario, load_profiles, measure, profile, save_profiles
from helmsight.runtime.profiler.compare import compare
from helmsight.runtime.profiler.report import entries_of, unlike
from helmsight.runtime.profiler.report.columns import legend
from helmsight.runtime.profiler.scenario import in_words, offline, outcome_in_words, paced

from ...bundles import face_manifest
from ...profiles import a_profile, around

CAMERA = {"name": "camera", "fps": 30.0, "deadline_ms": 33.333, "arrived": 100, "overwritten": 3, "late": 2}
OFFLINE = {"name": "offline", "streams": 2, "per_s": 400.0, "low": 390.0, "high": 410.0, "per_s_over": "the whole run"}
OLDER = {key: value for key, value in OFFLINE.items() if key != "per_s_over"}


class Slept:
    """A stage that sleeps, and remembers what it was given and when."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.items, self.began = seconds, [], []

    def __call__(self, item: Any) -> Any:
        self.items.append(item)
        self.began.append(time.perf_counter())
        time.sleep(self.seconds)
        return item


def test_frames_are_not_worked_on_before_they_arrive() -> None:
    stage = Slept(0.0)
    found = paced([0, 1, 2], [stage], Limits(0, 12), fps=100)
    assert found.arrived == 12
    assert stage.began[-1] - stage.began[0] >= 0.9 * (stage.items.__len__() - 1 + found.overwritten) / 100
    assert len(found.times) + found.overwritten == 12
    assert found.times.shape[1] == 2


def test_a_stage_that_is_too_slow_sees_the_newest_frame_only() -> None:
    stage = Slept(0.025)
    found = paced(list(range(1000)), [stage], Limits(0.5, 1), fps=100)
    assert found.arrived == 50
    assert found.overwritten >= 50 - 0.5 / 0.025 - 2
    assert len(found.times) + found.overwritten == 50
    assert stage.items == sorted(set(stage.items)), "each at most once, in order"
    assert stage.items[-1] == 49, "the last one is answered"
    lost = found.outcome(Scenario("camera", fps=100))
    assert lost["late"] == len(found.times), "25 ms are more than a frame time of 10"
    assert found.outcome(Scenario("camera", fps=100, deadline_ms=60_000))["late"] == 0


def test_the_wait_is_part_of_the_latency() -> None:
    found = paced([None], [Slept(0.03)], Limits(0, 10), fps=50)  # 30 ms for a frame of each 20 ms
    waits_ms = found.times[1:, 0] / 1e6
    assert waits_ms.max() > 5, "a frame that came while the last one was worked on"


def test_streams_work_side_by_side() -> None:
    stages = [Slept(0.005) for _ in range(4)]
    found = offline([([i], [stage]) for i, stage in enumerate(stages)], Limits(0.4, 1))
    assert all(set(stage.items) == {i} for i, stage in enumerate(stages))
    assert len(found.times) == sum(len(stage.items) for stage in stages)
    alone = 1e9 / np.median(found.times)
    assert alone * 2 < found.per_s <= alone * 4.2, "four sleepers at a time"
    assert found.low <= found.per_s <= found.high


class Waited(list[Any]):
    """Items that take a while to come, which is in no sample."""

    def __getitem__(self, at: Any) -> Any:
        time.sleep(0.003)
        return super().__getitem__(at)


def test_what_lies_between_queries_counts_in_the_throughput() -> None:
    begin = time.perf_counter()
    found = offline([(Waited([0]), [lambda item: item]) for _ in range(2)], Limits(0, 100))
    wall_s = time.perf_counter() - begin
    assert np.median(found.times) < 1e6, "a stage that does nothing"
    assert 100 / wall_s <= found.per_s <= 2 / 0.003
    assert found.low <= found.per_s <= found.high


def test_the_whole_time_is_until_the_last_stream_ends() -> None:
    found = offline([([0], [Slept(0.0)]), ([0], [Slept(0.01)])], Limits(0, 40))
    assert found.per_s <= 40 / (20 * 0.01), "not the rate of the time in which both had work"


def test_queries_are_shared_by_the_streams() -> None:
    found = offline([([0], [Slept(0.0)]) for _ in range(3)], Limits(0, 100))
    assert len(found.times) == 3 * 34


def test_an_error_in_a_stream_ends_all_of_them() -> None:
    def broken(_: Any) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        offline([([0], [Slept(0.001)]), ([0], [broken])], Limits(600, 1))
    assert not [t for t in threading.enumerate() if t.name == "stream"]


def test_a_bundle_in_each_scenario(tmp_path) -> None:
    bundle = write_bundle(tmp_path / "f.bundle", face_manifest(fake_latency_ms=2.0), {"model.onnx": b"fake"})
    fake, short = SessionOptions(device="fake"), Limits(0.3, 20)
    together = profile(bundle, ProfileOptions(fake, short, scenario=Scenario("offline", streams=3)))
    assert together.stages == ("inference",)
    assert together.scenario["streams"] == 3
    assert together.scenario["per_s"] < 3 / 0.002
    assert compare(together, together).unlike == ()
    assert "older" not in in_words(together.scenario)
    seen = profile(bundle, ProfileOptions(fake, short, stages=True, scenario=Scenario("camera", fps=50)))
    assert seen.stages == ("wait", "prepare", "inference", "decode")
    assert seen.scenario["arrived"] == 20 == len(seen.samples) + seen.scenario["overwritten"]
    assert seen.scenario["deadline_ms"] == 20
    save_profiles(tmp_path / "p.json", [together, seen])
    assert [p.scenario for p in load_profiles(tmp_path / "p.json")] == [together.scenario, seen.scenario]


def test_streams_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "processor", lambda: SimpleNamespace(usable_cores=8))

    def shared(streams: int, threads: int) -> tuple[int, int]:
        options = ProfileOptions(SessionOptions("fake", threads), scenario=Scenario("offline", streams))
        session, count = measure._sessions(options)
        return count, session.threads

    assert shared(0, 0) == (8, 1)
    assert shared(2, 0) == (2, 4)
    assert shared(0, 4) == (2, 4)
    assert shared(3, 1) == (3, 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "server"}, "--scenario server: expected one of single-stream, offline, camera"),
        ({"streams": 65}, "--streams 65: expected 0, for as many as cores, to 64"),
        ({"fps": 0.0}, "--rate 0: expected frames a second"),
        ({"fps": float("nan")}, "--rate nan: expected frames a second"),
        ({"deadline_ms": -1.0}, "--deadline -1: expected milliseconds"),
    ],
)
def test_what_no_scenario_has(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Scenario(**wrong)


def test_a_scenario_as_options() -> None:
    assert Scenario().arguments() == ()
    assert Scenario("offline", streams=3).arguments() == ("--scenario", "offline", "--streams", "3")
    camera = Scenario("camera", fps=15.0, deadline_ms=40.0)
    assert camera.arguments() == ("--scenario", "camera", "--rate", "15.0", "--deadline", "40.0")


def test_a_scenario_in_words() -> None:
    assert in_words({"name": "single-stream"}) == "single-stream"
    assert outcome_in_words({"name": "single-stream"}) == ""
    assert outcome_in_words(OFFLINE) == "offline, 2 streams: 400.0 queries/s (95 %: 390.0..410.0)"
    assert outcome_in_words(CAMERA) == (
        "camera, 30 frames/s, deadline 33.333 ms: 100 frames, 5 without a result in time (5.00%): 2 late, 3 "
        "overwritten by newer ones"
    )


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ({"name": "server"}, "its scenario is 'server'"),
        ({"name": "offline", "streams": 2}, "its scenario has no per_s, low, high"),
        (CAMERA | {"arrived": 0}, "its scenario has 0 frames"),
        (CAMERA | {"late": "none"}, "its scenario.late"),
    ],
)
def test_a_record_with_a_broken_scenario_is_refused(scenario: dict[str, Any], said: str, tmp_path) -> None:
    save_profiles(tmp_path / "p.json", [a_profile(around(10**6), scenario=scenario)])
    with pytest.raises(BadArtefact, match=said):
        load_profiles(tmp_path / "p.json")


def test_scenarios_are_not_compared_with_each_other() -> None:
    one, other = a_profile(around(10**6)), a_profile(around(10**6), scenario=OFFLINE)
    assert compare(one, other).unlike == ("scenario: single-stream against offline, 2 streams",)
    assert unlike(entries_of([one, other])) == ["face was measured as single-stream and as offline"]


def test_a_throughput_of_an_older_version_is_unlike_one_of_this(tmp_path) -> None:
    old, new = (a_profile(around(10**6), scenario=one) for one in (OLDER, OFFLINE))
    save_profiles(tmp_path / "old.json", [old])
    (read,) = load_profiles(tmp_path / "old.json")
    older = "offline by an older version (its throughput leaves out what lies between queries)"
    assert compare(read, new).unlike == (f"scenario: {older}, 2 streams against offline, 2 streams",)
    assert unlike(entries_of([read, new])) == [f"face was measured as {older} and as offline"]
    assert compare(read, old).unlike == ()
    assert unlike(entries_of([new, new])) == []


def test_a_comparison_says_what_was_lost_at_a_cameras_pace() -> None:
    one, other = (a_profile(around(10**6), scenario=CAMERA | {"overwritten": lost}) for lost in (0, 50))
    assert [note for note in compare(one, other).notes if "overwritten" in note] == [
        f"A: {outcome_in_words(one.scenario)}",
        f"B: {outcome_in_words(other.scenario)}",
    ]


def test_the_report_has_the_rate_that_a_camera_was_answered_at() -> None:
    """And not 1 / p50, a rate that nobody asked for."""
    seen = a_profile(around(2 * 10**6, n=300), scenario=CAMERA | {"arrived": 300, "overwritten": 0}, duration_s=10.0)
    entry = entries_of([seen])[0]
    assert entry.fps == 30
    assert (entry.spread(30).low, entry.spread(30).high) == (30, 30)


def test_the_report_has_the_throughput_of_all_streams() -> None:
    entry = entries_of([a_profile(around(5 * 10**6), scenario=OFFLINE)])[0]
    assert entry.fps == 400
    assert (entry.spread(entry.fps).low, entry.spread(entry.fps).high) == (390, 410)
    assert "offline, 2 streams" in entry.engine
    assert any("all streams answered together" in line for line in legend([entry]))
