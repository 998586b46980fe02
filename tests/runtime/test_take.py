"""Recordings that can be replayed: what goes in comes out, and what goes wrong ends the recording alone."""

import json
import logging
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, CameraUnavailable, UsageError
from helmsight.runtime.backends.fake import FakeSession
from helmsight.runtime.bundle import Bundle
from helmsight.runtime.model import Model
from helmsight.runtime.pipeline import Pipeline
from helmsight.runtime.recording import open_recording
from helmsight.runtime.results import Drive, Frame, Reading, Result
from helmsight.runtime.sinks import take as take_module
from helmsight.runtime.sinks.difference import Compared, Difference
from helmsight.runtime.sinks.take import LONGEST_LAG, Take, Takes
from helmsight.runtime.sources import CameraGeometry, open_source
from helmsight.runtime.sources.fake import FakeSource
from helmsight.runtime.tasks import task_for


class Noise(FakeSource):
    """Frames that no lossy codec keeps."""

    geometry = CameraGeometry(70.0, 0.4, 10.0)

    @property
    def ended(self) -> bool:
        return self._index >= self._count

    def read(self) -> Frame | None:
        frame = super().read()
        if frame is None:
            return None
        image = np.random.default_rng(frame.index).integers(0, 256, (*self.image_hw, 3), np.uint8)
        return Frame(image, frame.index, frame.captured_ns)


class Seeing(FakeSession):
    """Its answers depend on the picture."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        (picture,) = feeds.values()
        seen = float(picture.mean()) / 255
        return {name: (values + np.float32(seen)) for name, values in super().run(feeds).items()}


def models(*bundles: Bundle, latency_ms: float = 0.0) -> list[Model]:
    """The second one is slower."""
    return [Model(Seeing(b, latency_ms * i), task_for(b.manifest)) for i, b in enumerate(bundles)]


def readings(results: list[Result]) -> dict[tuple[str, int], Any]:
    return {(r.task, r.frame_index): r.record.to_json() for result in results for r in result.readings.values()}


def result(index: int, image: np.ndarray | None = None) -> Result:
    image = np.full((32, 48, 3), index % 256, np.uint8) if image is None else image
    frame = Frame(image, index, time.perf_counter_ns())
    drive = Drive(0.5, 0.25, np.full((2, 3), 0.75, np.float32))
    reading = Reading("navigate", drive, index, frame.captured_ns, frame.captured_ns, {"wait": 1.0}, frame)
    return Result(frame, {"navigate": reading})


@pytest.fixture
def takes(tmp_path: Path) -> Iterator[Takes]:
    with Takes(tmp_path / "run", FakeSource(1), {}) as made:
        yield made


@pytest.mark.parametrize("live", [False, True])
def test_a_replay_gives_the_same_results_frame_for_frame(
    navigate_bundle: Bundle, face_bundle: Bundle, tmp_path: Path, live: bool
) -> None:
    """Of a live camera too, where the slower model looked at other frames than the one that leads."""
    source = Noise(60, live, interval_s=0.01)
    seen: list[Result] = []
    with Takes(tmp_path / "run", source, {}) as takes:
        takes.start()
        Pipeline(source, models(navigate_bundle, face_bundle, latency_ms=25)).run([takes, seen.append])
    assert takes.error is None
    recorded = readings(seen)
    assert len({values["steer"] for (task, _), values in recorded.items() if task == "navigate"}) > 3
    replay = open_source(f"replay://{tmp_path / 'run'}")
    again: list[Result] = []
    Pipeline(replay, models(navigate_bundle, face_bundle)).run([again.append])
    if takes.dropped == 0:
        replayed = readings(again)
        assert {key: replayed[key] for key in recorded} == recorded
        assert len(again) == len({index for _, index in recorded})
    indices = [r.frame.index for r in again]
    assert indices == sorted(indices)
    by_index = {r.frame.index: r.frame for r in seen}
    for r in again:
        if r.frame.index in by_index:
            np.testing.assert_array_equal(r.frame.image, by_index[r.frame.index].image)
    assert replay.fps == source.fps
    assert replay.geometry == source.geometry


def test_a_replay_is_compared_with_what_was_recorded(tmp_path: Path) -> None:
    with Takes(tmp_path / "run", FakeSource(3), {}) as takes:
        takes.start()
        for index in range(3):
            takes(result(index))
    beside = Difference(open_recording(tmp_path / "run"))
    beside(result(0))
    beside(result(0))  # once each
    changed = result(1)
    drive = Drive(0.25, 0.25, np.full((2, 3), 0.75, np.float32))
    beside(replace(changed, readings={"navigate": replace(changed.readings["navigate"], record=drive)}))
    beside(result(7))  # not recorded
    assert beside.tasks == {"navigate": Compared(same=1, different=1, first_frame=1)}


def test_frames_that_were_written_late_come_in_the_order_of_capture(tmp_path: Path) -> None:
    def late(task: str, frame: Frame) -> Reading:
        return Reading(task, Drive(0, 0, np.zeros((1, 1), np.float32)), frame.index, 0, frame.index, {}, frame)

    frames = [result(index).frame for index in range(8)]
    with Take(tmp_path / "run", FakeSource(1), {}) as take:
        for now, slower in ((1, 0), (3, 0), (5, 2), (7, 5)):
            take(Result(frames[now], {"navigate": late("navigate", frames[now]), "face": late("face", frames[slower])}))
    written = [json.loads(line)["frame"] for line in (tmp_path / "run" / "frames.jsonl").read_text().splitlines()]
    assert written == [0, 1, 3, 2, 5, 7]
    with open_source(f"replay://{tmp_path / 'run'}") as source:
        read = [(frame.index, int(frame.image[0, 0, 0])) for frame in source]
    assert read == [(index, index) for index in sorted(written)]


def test_a_long_recording_keeps_no_more_than_the_lag_of_its_models(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    with Take(tmp_path / "run", FakeSource(1), {}) as take:
        for index in range(3 * LONGEST_LAG):
            take(result(index, image))
            assert len(take._given) <= LONGEST_LAG + 1
    assert take.frames == 3 * LONGEST_LAG


def test_takes_start_and_stop_and_none_is_written_over(takes: Takes, tmp_path: Path) -> None:
    takes(result(0))
    assert takes.state() == {
        "on": False, "path": str(tmp_path / "run"), "frames": 0, "dropped": 0, "seconds": 0.0, "error": None
    }  # fmt: skip
    for name, count in (("run", 3), ("run-2", 5)):
        takes.start()
        takes.start()
        for index in range(count):
            takes(result(index))
        assert takes.state()["on"]
        takes.stop()
        takes.stop()
        assert takes.state() | {"seconds": 0} == {
            "on": False, "path": str(tmp_path / name), "frames": count, "dropped": 0, "seconds": 0, "error": None
        }  # fmt: skip
        with open_source(f"replay://{tmp_path / name}") as source:
            assert len(list(source)) == count
    takes(result(9))
    assert takes.frames == 8
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "run-2"]
    (tmp_path / "kept").mkdir()
    with Takes(tmp_path / "kept", FakeSource(1), {}) as inside:
        inside.start()
        inside(result(0))
    assert (tmp_path / "kept" / "recording" / "recording.json").is_file()


def test_nothing_is_left_where_no_frame_came(takes: Takes, tmp_path: Path) -> None:
    takes.start()
    takes.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_the_recording_and_not_the_run(
    takes: Takes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    takes.start()
    takes(result(0))
    while takes.frames < 1:
        time.sleep(0.01)
    monkeypatch.setattr(take_module, "RESERVE_BYTES", 1 << 60)
    for index in range(1, 20):
        takes(result(index))
    takes.close()
    assert "No space left on device" in str(takes.error)
    assert f"--record {tmp_path / 'run'} ended: " in caplog.text
    assert "the run goes on" in caplog.text
    assert takes.state()["on"] is False
    assert takes.frames + takes.dropped == 20
    with open_source(f"replay://{tmp_path / 'run'}") as source:
        assert len(list(source)) == takes.frames, "what was recorded before can be replayed"


def test_a_disk_that_really_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small"
    small.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", small], capture_output=True)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if done.returncode:
        pytest.skip("only root may mount a small disk")
    monkeypatch.setattr(take_module, "RESERVE_BYTES", 1 << 20)
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    try:
        with Takes(small / "run", FakeSource(1), {}) as takes:
            takes.start()
            for index in range(60):
                takes(result(index, noise))
        assert "No space left on device" in str(takes.error)
        assert 5 < takes.frames < 40
        assert os.statvfs(small).f_bavail > 0, "the rest of the robot can still write"
        with open_source(f"replay://{small / 'run'}") as source:
            frames = list(source)
        assert len(frames) == takes.frames
        np.testing.assert_array_equal(frames[-1].image, noise)
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_frame_of_another_size_ends_the_recording(takes: Takes) -> None:
    takes.start()
    takes(result(0))
    takes(result(1, np.zeros((64, 64, 3), np.uint8)))
    takes.close()
    assert "frame 1 is (64, 64, 3), the first one is (32, 48, 3)" in str(takes.error)


def test_a_folder_that_cannot_be_is_said_before_the_first_frame(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no folder .*absent; make it first"):
        Takes(tmp_path / "absent" / "run", FakeSource(1), {}).start()
    with pytest.raises(UsageError, match="cannot be written"):
        Takes(Path("/proc/run"), FakeSource(1), {}).start()


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    with Take(tmp_path / "run", FakeSource(1), {}) as take:
        for index in range(4):
            take(result(index))
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("recording.json", "{}", "has no schema_version"),
        ("recording.json", "nonsense", "is no JSON"),
        ("recording.json", '{"schema_version": 2, "source": "", "fps": 1, "models": {}}', "this helmsight reads 1"),
        ("frames.jsonl", '{"frame": 1}\n', "has no captured_ns"),
        ("frames.jsonl", "[]\n", "expected an object"),
        ("frames.jsonl", '{"frame": 1, "captured_ns": 1}\n{"frame": 1, "captured_ns": 1}\n', "a frame twice"),
        ("frames.jsonl", '{"frame": -1, "captured_ns": 1}\n', "before the first"),
    ],
)
def test_a_broken_recording_is_bad_artefact(recorded: Path, file: str, text: str, message: str) -> None:
    (recorded / file).write_text(text)
    with pytest.raises(BadArtefact, match=message):
        open_source(f"replay://{recorded}")


def test_a_recording_without_its_video_or_that_is_none(recorded: Path, tmp_path: Path) -> None:
    (recorded / "frames.mkv").write_bytes(b"no video")
    with pytest.raises(BadArtefact, match=r"cannot read .*frames\.mkv as a video"):
        open_source(f"replay://{recorded}").open()
    with pytest.raises(CameraUnavailable, match="there is no recording; expected a folder that --record made"):
        open_source(f"replay://{tmp_path / 'nowhere'}")


def test_what_a_power_cut_left_is_replayed_as_far_as_it_goes(recorded: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (recorded / "frames.jsonl").open("a") as frames:
        frames.write('{"frame": 9, "captured_ns": 1}\n{"frame": 10, "capt')
    with caplog.at_level(logging.WARNING), open_source(f"replay://{recorded}") as source:
        assert [frame.index for frame in source] == [0, 1, 2, 3]
    assert "4 of 5 frames are readable" in caplog.text


def test_the_video_is_one_that_other_programs_play(recorded: Path) -> None:
    capture = cv2.VideoCapture(str(recorded / "frames.mkv"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 4
    capture.release()
