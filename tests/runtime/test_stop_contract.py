"""A robot whose camera, model, sink or disk stalls is stopped while it still stalls, and drives on afterwards."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from helmsight.runtime.bundle import Bundle
from helmsight.runtime.driving.guarded import GuardedSinks
from helmsight.runtime.model import Model
from helmsight.runtime.pipeline import Pipeline, PipelineOptions, Sink
from helmsight.runtime.results import Command, Frame, Result, Stop
from helmsight.runtime.sinks.jsonlines import JsonLines
from helmsight.runtime.sinks.overlay import Overlay
from helmsight.runtime.sinks.recorder import Recorder
from helmsight.runtime.tasks import task_for

from .stalling import LONG_S, Bench, BenchCamera, Robot, StallingSession

MAX_AGE_MS = 250.0


class Drive:
    """A pipeline that drives a robot, with everything that can be stalled."""

    def __init__(self, bundle: Bundle, sinks: list[Sink]) -> None:
        self.bench, self.robot = Bench(), Robot()
        self.session = StallingSession(bundle)
        self.results: list[Result] = []
        guarded = GuardedSinks([self.robot], [self.results.append, *sinks], MAX_AGE_MS)
        options = PipelineOptions(max_age_ms=MAX_AGE_MS, reopen_first_s=0.01, reopen_last_s=0.02)
        models = [Model(self.session, task_for(bundle.manifest))]
        self.pipeline = Pipeline(BenchCamera(self.bench), models, options, guarded.stop)
        self._thread = threading.Thread(target=self.pipeline.run, args=([guarded],))

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            self.robot.wait(Command)
            yield
        finally:
            self.bench.let_go.set()
            self.session.go.set()
            self.pipeline.stop()
            self._thread.join(LONG_S)
            assert not self._thread.is_alive()
            assert isinstance(self.robot.told[-1][1], Stop)

    def stops_and_drives_on(self, stall: Callable[[], object], go_on: Callable[[], object]) -> Stop:
        """Stall, wait for the robot's Stop, go on, wait for its next command; the Stop."""
        told = len(self.robot.told)
        stall()
        index, stop = self.robot.wait(Stop, told)
        assert isinstance(stop, Stop)
        told = len(self.robot.told)
        go_on()
        later, _ = self.robot.wait(Command, told)
        assert later > index, "no stale frame is driven by"
        return stop


def test_a_camera_that_hangs(navigate_bundle: Bundle) -> None:
    drive = Drive(navigate_bundle, [])

    def unplug() -> None:
        drive.bench.hangs = True

    def plug_in() -> None:
        drive.bench.hangs = False  # for a fresh one: that which hangs still does

    with drive.running():
        stop = drive.stops_and_drives_on(unplug, plug_in)
        assert drive.bench.opened == 2
        assert not drive.bench.let_go.is_set()
    assert "camera is silent" in stop.reason


def test_a_camera_that_freezes(navigate_bundle: Bundle) -> None:
    drive = Drive(navigate_bundle, [])
    with drive.running():
        stop = drive.stops_and_drives_on(
            lambda: setattr(drive.bench, "frozen", True), lambda: setattr(drive.bench, "frozen", False)
        )
    assert "camera is frozen (the same picture)" in stop.reason
    assert drive.pipeline.meter.repeated > 0
    images = [r.frame.image.tobytes() for r in drive.results if isinstance(r.command, Command)]
    assert len(set(images)) == len(images), "none of them twice"


def test_a_model_that_stalls(navigate_bundle: Bundle) -> None:
    drive = Drive(navigate_bundle, [])
    with drive.running():
        stop = drive.stops_and_drives_on(drive.session.go.clear, drive.session.go.set)
    assert "model navigate is silent" in stop.reason


def test_a_sink_that_stalls(navigate_bundle: Bundle) -> None:
    go = threading.Event()
    go.set()
    drive = Drive(navigate_bundle, [lambda _: go.wait(LONG_S)])
    with drive.running():
        stop = drive.stops_and_drives_on(go.clear, go.set)
    assert "a sink takes long" in stop.reason
    assert sum(result.command is stop for result in drive.results) == 1, "the other sinks learn of it once"
    assert sum(command is stop for _, command in drive.robot.told) == 1


def test_a_disk_that_stalls_does_not_stop_the_robot(navigate_bundle: Bundle, tmp_path: Path) -> None:
    """The log's disk is a pipe that nobody reads, the recording's one that never returns."""
    fifo, go, stalled = tmp_path / "log.jsonl", threading.Event(), threading.Event()
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDWR)
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)

    class OnFullDisk(Recorder):
        def _write(self, item: tuple[Result, int]) -> None:
            stalled.set()
            go.wait(LONG_S)
            super()._write(item)

    overlay = Overlay([task_for(navigate_bundle.manifest)])
    log = JsonLines(fifo, live=True)
    recorder = OnFullDisk(tmp_path / "o.avi", overlay, BenchCamera(Bench()))
    drive = Drive(navigate_bundle, [log, recorder])
    with drive.running():
        assert stalled.wait(LONG_S)
        while recorder.dropped < 10:  # both queues are behind by now, and commands still come
            drive.robot.wait(Command, len(drive.robot.told))
        written = log.lines
        told = len(drive.robot.told)
        for _ in range(20):
            drive.robot.wait(Command, len(drive.robot.told))
        assert log.lines == written, "the pipe is full"
        stops = [c.reason for _, c in drive.robot.told[told:] if isinstance(c, Stop)]
        assert not [reason for reason in stops if "sink" in reason]
        go.set()
    rest = os.open(fifo, os.O_RDONLY)
    os.close(end)  # so that the drain ends where the log does
    drain = threading.Thread(target=lambda: [b"" for _ in iter(lambda: os.read(rest, 65536), b"")], daemon=True)
    drain.start()
    log.close()
    recorder.close()
    drain.join(LONG_S)
    assert not drain.is_alive()
    os.close(rest)
    assert log.lines > written


def test_a_watch_that_meets_an_error_ends_the_run_with_it(navigate_bundle: Bundle) -> None:
    drive = Drive(navigate_bundle, [])

    def broken() -> BenchCamera:
        raise ZeroDivisionError("no other camera")

    drive.pipeline.source.another = broken
    with pytest.raises(ZeroDivisionError, match="no other camera"):
        drive.pipeline.run([lambda result: setattr(drive.bench, "hangs", result.frame.index > 3)])
    drive.bench.let_go.set()


def test_a_command_that_grew_old_on_its_way_is_a_stop() -> None:
    robot, others, counted = Robot(), Robot(), []
    guarded = GuardedSinks([robot], [others], 100, lambda: counted.append(1))
    image = np.zeros((1, 1, 3), np.uint8)
    now_ns = time.perf_counter_ns()
    guarded(Result(Frame(image, 1, now_ns + 10**12), {}, Command(0, 1)))
    guarded(Result(Frame(image, 2, now_ns - 10**9), {}, Command(0, 1)))
    assert robot.told == others.told
    assert isinstance(robot.told[0][1], Command)
    assert isinstance(stop := robot.told[1][1], Stop)
    assert "ms old" in stop.reason
    assert len(counted) == 1
    silent = Result(Frame(image, 3, now_ns - 10**9), {}, Stop("silence"))
    guarded.stop(silent)
    guarded(Result(silent.frame, {}, Command(0, 1)))
    assert len(counted) == 1, "whoever watches has counted that frame's"


@pytest.mark.parametrize("black", [False, True], ids=["same", "black"])
def test_no_frame_that_shows_nothing_new_reaches_a_model(navigate_bundle: Bundle, black: bool) -> None:
    drive = Drive(navigate_bundle, [])
    with drive.running():
        stop = drive.stops_and_drives_on(
            lambda: setattr(drive.bench, "black" if black else "frozen", True),
            lambda: setattr(drive.bench, "black" if black else "frozen", False),
        )
    assert "frozen" in stop.reason
    assert all(r.frame.image.any() for r in drive.results)
