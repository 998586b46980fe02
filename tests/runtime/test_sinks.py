import json
import logging
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmsight.devices.errors import UsageError
from helmsight.runtime.bundle import Bundle
from helmsight.runtime.results import Command, Drive, Faces, Frame, Reading, Result, Stop
from helmsight.runtime.sinks.jsonlines import QUEUED, JsonLines
from helmsight.runtime.sinks.overlay import Overlay
from helmsight.runtime.sinks.recorder import Recorder
from helmsight.runtime.sources.fake import FakeSource
from helmsight.runtime.tasks import task_for

MS = 1_000_000


def result(
    index: int, made_ns: int = 1, command: Command | Stop | None = None, hw: tuple[int, int] = (96, 128)
) -> Result:
    captured_ns = 1
    faces = Faces(
        np.array([[10, 30, 40, 60]], np.float32), np.array([0.9], np.float32), np.full((1, 5, 2), 40, np.float32)
    )
    reading = Reading("face", faces, index, captured_ns, captured_ns + MS, {"inference": 1.0})
    return Result(Frame(np.full((*hw, 3), 90, np.uint8), index, captured_ns), {"face": reading}, command, 3, made_ns)


def frames_of(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (got := capture.read())[0]:
        frames.append(got[1])
    return frames


@pytest.fixture
def overlay(face_bundle: Bundle) -> Overlay:
    return Overlay([task_for(face_bundle.manifest)])


def test_overlay_draws_on_a_copy(overlay: Overlay) -> None:
    plain = result(0)
    drawn = overlay(plain)
    assert (plain.frame.image == 90).all()
    assert (drawn[30:60, 10] != 90).any(), "the left edge of the box"
    assert (drawn[80:, 60:] == 90).all(), "no more than was read"
    stopped = overlay(result(1, command=Stop("camera is silent")))
    assert stopped[24:46, 100, 2].mean() > drawn[24:46, 100, 2].mean() + 30, "a red banner"


def test_a_long_reason_to_stop_takes_the_lines_that_it_needs(overlay: Overlay) -> None:
    plain = overlay(result(0, hw=(240, 320)))
    wide, narrow = (
        overlay(result(0, command=Stop("goal 6,-2: what stands around it leaves no way there"), hw=(240, w)))
        for w in (640, 320)
    )
    assert (narrow[46:68, :, 2].mean() - plain[46:68, :, 2].mean()) > 30, "a second line"
    assert (wide[47:68, 330:] == 90).all()


def test_the_arc_that_is_drawn_is_what_the_robot_is_told(navigate_bundle: Bundle) -> None:
    overlay = Overlay([task_for(navigate_bundle.manifest)])
    frame = Frame(np.full((240, 320, 3), 90, np.uint8), 0, 1)

    def picture(steer: float, command: Command | Stop) -> np.ndarray:
        reading = Reading("navigate", Drive(steer, 0.0, np.zeros((36, 48), np.float32)), 0, 1, MS, {})
        return overlay(Result(frame, {"navigate": reading}, command))

    def drawn(command: Command | Stop) -> tuple[bool, bool]:
        """Whether anything is drawn left and right of the middle, above the figures and below the head."""
        changed = (picture(-1.0, command)[100:200] != 90).any((0, 2))
        return bool(changed[:140].any()), bool(changed[180:].any())

    assert drawn(Command(1.0, 0.5)) == (True, False), "the network would turn to the right"
    assert drawn(Command(-1.0, 0.5)) == (False, True)
    assert drawn(Stop("no way")) == drawn(Command(1.0, 0.0)) == (False, False)
    figures = [picture(steer, Command(0.5, 0.5))[215:] for steer in (-1.0, 0.5)]
    assert np.array_equal(*figures), "nor is the figure beside the bar the network's"
    assert not np.array_equal(figures[0], picture(0.5, Stop("no way"))[215:])
    assert (picture(float("nan"), Stop("no number"))[100:] == 90).all(), "nothing is drawn of what is no number"


def test_log_lines_hold_the_records_their_frames_and_the_command(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with JsonLines(path) as log:
        log(result(4, command=Stop("why")))
        until = time.monotonic() + 20
        while not (path.exists() and path.read_text().endswith("\n")):
            assert time.monotonic() < until, "it is written before the sink is closed"
            time.sleep(0.005)
        log(result(5, command=Command(0.5, 0.75)))
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first["frame"] == 4
    assert first["face"] == {
        "xyxy": [[10, 30, 40, 60]],
        "score": [0.9],
        "landmarks": [[[40, 40]] * 5],
        "of_frame": 4,
        "stage_ms": {"inference": 1.0},
    }
    assert first["command"] == {"stop": "why"}
    assert first["overwritten"] == 3
    assert second["command"] == {"steer": 0.5, "speed": 0.75}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_recording_has_every_result_of_a_file(tmp_path: Path, overlay: Overlay, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    with Recorder(path, overlay, FakeSource(1)) as recorder:
        for i in range(30):
            recorder(result(i))
    assert recorder.frames == 30
    assert recorder.dropped == 0
    assert len(frames_of(path)) == 30


def test_a_live_recording_keeps_the_clock_and_shows_what_was_shown(tmp_path: Path, overlay: Overlay) -> None:
    source = FakeSource(1, live=True, interval_s=0.05)
    with Recorder(tmp_path / "out.avi", overlay, source) as recorder:
        for made_ms in (0, 50, 100, 500):
            stop = Stop("camera is silent") if made_ms == 100 else None
            recorder(result(0, made_ns=(made_ms + 1) * MS, command=stop))
    assert recorder.frames == 11  # half a second at 20 frames/s, and the first
    red = [frame[24:46, :, 2].mean() > frame[24:46, :, 0].mean() + 30 for frame in frames_of(tmp_path / "out.avi")]
    assert red == [False] * 2 + [True] * 8 + [False], "STOP stays on the picture until the next result"


def test_pictures_of_other_sizes_are_fitted_not_lost(tmp_path: Path, overlay: Overlay) -> None:
    with Recorder(tmp_path / "out.avi", overlay, FakeSource(1)) as recorder:
        recorder(result(0))
        recorder(result(1, hw=(200, 100)))
    frames = frames_of(tmp_path / "out.avi")
    assert [f.shape for f in frames] == [(96, 128, 3)] * 2


def test_an_earlier_recording_survives_a_run_without_frames(tmp_path: Path, overlay: Overlay) -> None:
    (tmp_path / "out.avi").write_text("precious")
    Recorder(tmp_path / "out.avi", overlay, FakeSource(1)).close()
    assert (tmp_path / "out.avi").read_text() == "precious"


def test_a_recorder_that_fails_says_so_and_takes_the_rest(
    tmp_path: Path, overlay: Overlay, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), Recorder(tmp_path / "out.avi", overlay, FakeSource(1)) as recorder:
        (tmp_path / "out.avi").mkdir()
        for i in range(30):
            recorder(result(i))
    assert recorder.frames == 0
    assert recorder.dropped == 30
    assert "OpenCV cannot write" in str(recorder.error)
    assert "too slow" not in caplog.text
    assert "out.avi ended: OpenCV cannot write" in caplog.text


@pytest.mark.parametrize("live", [False, True])
def test_a_recording_that_cannot_be_drawn_ends_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, live: bool
) -> None:
    class Fails(Overlay):
        def __call__(self, result: Result, now_ns: int | None = None) -> np.ndarray:
            if result.frame.index == 2:
                raise ValueError("no such colour")
            return super().__call__(result, now_ns)

    with Recorder(tmp_path / "out.avi", Fails([]), FakeSource(1, live=live)) as recorder:
        for i in range(5):
            recorder(result(i))
    assert "no such colour" in str(recorder.error)
    assert recorder.dropped == 3
    assert "out.avi ended: no such colour; the run goes on" in caplog.text
    assert len(frames_of(tmp_path / "out.avi")) == recorder.frames > 0


@pytest.mark.parametrize(("name", "message"), [("x.gif", r"\.gif is unknown"), ("absent/x.mp4", "no folder")])
def test_bad_recording_paths(tmp_path: Path, overlay: Overlay, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recorder(tmp_path / name, overlay, FakeSource(1))


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    cases = {
        tmp_path / "absent" / "log.jsonl": "there is no folder .*absent; make it first",
        tmp_path: "a folder; expected a file, such as .*out",
        Path("/proc/log.jsonl"): "cannot be written: no such file or directory; expected a file in a writable folder",
    }
    for path, message in cases.items():
        with pytest.raises(UsageError, match=message):
            JsonLines(path)


def test_a_sink_whose_disk_stalls_holds_nobody_up_and_counts_what_it_drops(tmp_path: Path) -> None:
    go_on = threading.Event()

    class Stalling(JsonLines):
        def _write(self, item: str) -> None:
            assert go_on.wait(60)
            super()._write(item)

    with Stalling(tmp_path / "log.jsonl", live=True) as log:
        for i in range(QUEUED + 50):
            log(result(i))
        assert 48 <= log.dropped <= 50, "one is being written, or two"
        go_on.set()
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert len(lines) == log.lines == QUEUED + 50 - log.dropped
    assert [json.loads(line)["frame"] for line in lines] == list(range(len(lines)))


def test_an_earlier_log_survives_a_run_without_frames(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("precious")
    JsonLines(path).close()
    assert path.read_text() == "precious"


def test_a_log_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with JsonLines(path) as log:
        log(result(1, command=Command(float("nan"), 0.75)))
    assert json.loads(path.read_text(), parse_constant=pytest.fail)["command"]["steer"] is None
