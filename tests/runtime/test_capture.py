"""What becomes of a live source that is absent, pulled, frozen or hangs: noticed, said, opened again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from helmsight.devices.errors import CameraUnavailable
from helmsight.runtime.capture import Capture
from helmsight.runtime.frame_check import RepeatCheck
from helmsight.runtime.meter import Meter
from helmsight.runtime.pipeline_options import PipelineOptions
from helmsight.runtime.results import Frame
from helmsight.runtime.sources.fake import FakeSource

from .stalling import LONG_S, Bench, BenchCamera

SOON = PipelineOptions(
    lost_after_s=0.2, frozen_after_s=0.2, open_patience_s=0.5, reopen_first_s=0.01, reopen_last_s=0.05
)


STALLING = replace(SOON, open_patience_s=5.0)
"""One that is opened anew has time: where it is given up soon, a busy machine sees many of them."""


class Owned(BenchCamera):
    """Whoever opened it first has its pictures, and `stalls` until it `goes_on`; the others wait for one."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.owner = False
        self.stalls, self.goes_on = threading.Event(), threading.Event()
        self.threads: set[int] = set()

    def open(self) -> None:
        super().open()
        self.owner = self._bench.opened == 1

    def read(self) -> Frame | None:
        self.threads.add(threading.get_ident())
        if not self.owner:
            self._bench.let_go.wait(LONG_S)
            return None
        if self.stalls.is_set():
            self.goes_on.wait(LONG_S)
        return super().read()

    def another(self) -> BenchCamera:
        return Owned(self._bench)


class Watched:
    """A capture with what it gave; `until` waits, and does what the watch's thread does meanwhile."""

    def __init__(self, bench: Bench, options: PipelineOptions = SOON) -> None:
        self.bench, self.meter = bench, Meter()
        self.frames: list[Frame] = []
        self.over = threading.Event()
        self.capture = Capture(BenchCamera(bench), options, self.meter, self.frames.append, self.over.set)

    def __enter__(self) -> Watched:
        self.capture.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bench.let_go.set()
        self.capture.stop()
        self.capture.join(LONG_S)

    def until(self, true: Callable[[], bool]) -> None:
        give_up = time.monotonic() + LONG_S
        while not true():
            assert time.monotonic() < give_up, self.meter.source
            self.capture.check()
            time.sleep(0.01)

    def until_it_is(self, state: str) -> None:
        self.until(lambda: self.meter.source.name == state)

    def until_a_new_frame(self) -> None:
        seen = len(self.frames)
        self.until(lambda: len(self.frames) > seen)


def test_a_camera_that_is_pulled_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Watched(Bench()) as watched:
        watched.until_it_is("open")
        watched.bench.plugged = False
        watched.until_it_is("lost")
        assert watched.meter.source.reason == "lost bench://"
        watched.until(lambda: caplog.text.count("not there") >= 5)
        lost = watched.meter.source
        watched.bench.plugged = True
        watched.until_it_is("open")
        assert watched.meter.source.since_ns > lost.since_ns
        assert watched.meter.reopened == 1
    indices = [frame.index for frame in watched.frames]
    assert indices == sorted(set(indices))
    assert caplog.text.count("lost bench://; opening it again") == 1
    assert "bench:// is back after" in caplog.text
    assert watched.meter.source.name == "ended"


def test_waits_grow_up_to_a_limit_and_are_never_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    class Stopping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return len(waits) > 12

    # Trying takes no time here, however busy the machine is: waits are from try to try.
    still = SimpleNamespace(perf_counter=lambda: 0.0, perf_counter_ns=time.perf_counter_ns)
    monkeypatch.setattr("helmsight.runtime.capture.time", still)
    bench = Bench(plugged=False)
    options = PipelineOptions(wait_for_source=True)
    watched = Watched(bench, options)
    monkeypatch.setattr(watched.capture, "_stopping", Stopping())
    with watched:
        assert watched.over.wait(LONG_S)
    limits = [min(0.5, 0.1 * 2**i) for i in range(13)]
    assert all(0.05 <= wait <= limit for wait, limit in zip(waits, limits, strict=True))
    assert max(waits[3:]) > 0.25
    assert len({round(wait, 6) for wait in waits[5:]}) > 5


def test_a_camera_that_is_absent_at_the_start_is_an_error_or_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with Watched(Bench(plugged=False)) as watched:
        assert watched.over.wait(LONG_S)
        assert isinstance(watched.capture.error, CameraUnavailable)
    with Watched(Bench(plugged=False), PipelineOptions(wait_for_source=True, reopen_last_s=0.05)) as watched:
        watched.until_it_is("lost")
        assert watched.meter.source.reason == "bench://: not there"
        watched.bench.plugged = True
        watched.until_a_new_frame()
    assert watched.capture.error is None
    assert "bench://: not there; waiting for it" in caplog.text


def test_a_camera_that_hangs_is_left_behind_and_closed_once_it_returns() -> None:
    bench = Bench()
    with Watched(bench) as watched:
        watched.until_it_is("open")
        bench.hangs = True
        watched.until_it_is("lost")
        assert "hangs for" in watched.meter.source.reason
        bench.hangs = False
        watched.until_a_new_frame()
        assert (bench.opened >= 2, bench.closed) == (True, 0)
        bench.let_go.set()
        watched.until(lambda: bench.closed == bench.opened - 1)
        watched.until_a_new_frame()
    indices = [frame.index for frame in watched.frames]
    assert indices == sorted(set(indices)), "what came late was not taken"


def test_a_camera_that_stalled_goes_on_though_it_was_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    owned = Owned(bench := Bench())
    watched = Watched(bench, STALLING)
    watched.capture = Capture(owned, STALLING, watched.meter, watched.frames.append, watched.over.set)
    with watched:
        watched.until_it_is("open")
        owned.stalls.set()
        watched.until(lambda: bench.opened >= 3 and watched.capture._reader.busy_ns > 0)
        assert watched.meter.source.name == "lost"
        owned.goes_on.set()
        watched.until_a_new_frame()
        watched.until_it_is("open")
        bench.let_go.set()
        watched.until(lambda: bench.closed == bench.opened - 1)
        watched.until_a_new_frame()
    assert "bench:// is back after" in caplog.text
    indices = [frame.index for frame in watched.frames]
    assert indices == sorted(set(indices))


def test_a_camera_that_goes_on_while_it_is_left_behind_keeps_its_thread() -> None:
    owned = Owned(bench := Bench())
    watched = Watched(bench, STALLING)
    watched.capture = Capture(owned, STALLING, watched.meter, watched.frames.append, watched.over.set)

    done = threading.Event()

    def goes_on(record: logging.LogRecord) -> bool:
        """Lets the camera go on where it is first said that it does not, and waits until it did."""
        if "left behind" in record.getMessage() and not done.is_set():
            done.set()
            seen = len(watched.frames)
            owned.goes_on.set()
            give_up = time.monotonic() + LONG_S
            while len(watched.frames) == seen and time.monotonic() < give_up:
                time.sleep(0.01)
        return True

    said = logging.getLogger("helmsight.runtime.capture")
    said.addFilter(goes_on)  # which has no lock, as a handler has
    try:
        with watched:
            watched.until_it_is("open")
            owned.stalls.set()
            watched.until(done.is_set)
            watched.until_a_new_frame()
            owned.goes_on.clear()
            watched.until_it_is("lost")  # for which those that hang are looked through
            owned.goes_on.set()
            watched.until_it_is("open")
    finally:
        said.removeFilter(goes_on)
    assert len(owned.threads) == 1


def test_those_that_hang_are_given_longer_and_longer_and_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helmsight.runtime.capture.MOST_HANGING", 4)
    bench = Bench()
    with Watched(bench) as watched:
        watched.until_it_is("open")
        bench.hangs = True
        patience_s: list[float] = []
        for count in range(2, 6):
            watched.until(lambda n=count: bench.opened == n)
            watched.until(lambda: watched.capture._reader.busy_ns > 0)
            patience_s.append(watched.capture._opening_patience_s())
        assert patience_s == pytest.approx([0.5, 0.5, 1.0, 2.0])
        until = time.monotonic() + 2.5  # more than the last one may take
        watched.until(lambda: time.monotonic() > until)
        assert bench.opened == 5
        assert [reader.thread.is_alive() for reader in watched.capture._hanging] == [True] * 4
        bench.hangs = False
        bench.let_go.set()
        watched.until_a_new_frame()


def test_opening_again_may_take_twice_what_it_took_before() -> None:
    watched = Watched(Bench(), PipelineOptions())
    assert watched.capture._opening_patience_s() == 10
    with watched:
        watched.until_it_is("open")
        watched.capture._opening_s = 0.5
        assert watched.capture._opening_patience_s() == 2
        watched.capture._opening_s = 2.0
        assert watched.capture._opening_patience_s() == 4
        watched.capture._opening_s = 60.0
        assert watched.capture._opening_patience_s() == 10


def test_a_frozen_camera_is_opened_again_until_it_shows_something_new(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    with Watched(bench) as watched:
        watched.until_it_is("open")
        bench.frozen = True
        watched.until_it_is("frozen")
        assert "the same picture for 0." in watched.meter.source.reason
        watched.until(lambda: bench.opened >= 4)
        given = len(watched.frames)
        watched.until(lambda: bench.opened >= 6)
        assert len(watched.frames) == given
        bench.frozen = False
        watched.until_it_is("open")
    assert caplog.text.count("is frozen: the same picture") == 1
    assert watched.meter.repeated > 0


def test_a_camera_that_begins_with_the_picture_it_was_lost_with_is_not_frozen() -> None:
    class Kept(BenchCamera):
        """Gives its last picture once more after each opening, as what waits in a camera's buffer."""

        kept = False

        def open(self) -> None:
            super().open()
            self.kept = self._bench.opened > 1

        def _picture(self) -> np.ndarray:
            kept, self.kept = self.kept, False
            return self._image if kept else super()._picture()

    watched = Watched(Bench())
    watched.capture = Capture(Kept(watched.bench), SOON, watched.meter, watched.frames.append, watched.over.set)
    with watched:
        watched.until_it_is("open")
        watched.bench.plugged = False
        watched.until_it_is("lost")
        time.sleep(2 * SOON.frozen_after_s)
        watched.bench.plugged = True
        watched.until_it_is("open")
    assert watched.bench.opened == 2
    assert watched.meter.repeated == 1


def test_a_picture_that_comes_twice_now_and_then_is_left_out_and_the_camera_stays_open() -> None:
    class Doubling(BenchCamera):
        """Every third picture is the one before, long after it was opened too: ten a second, by its own clock."""

        def read(self) -> Frame | None:
            self._bench.frozen = self._bench.index % 3 == 2
            frame = super().read()
            return frame and replace(frame, captured_ns=frame.index * 100_000_000)

    watched = Watched(Bench())
    watched.capture = Capture(Doubling(watched.bench), SOON, watched.meter, watched.frames.append, watched.over.set)
    with watched:
        deadline = time.monotonic() + LONG_S
        while len(watched.frames) < 40 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(watched.frames) >= 40
    assert watched.meter.repeated >= 19
    assert watched.meter.reopened == 0


def test_a_drawn_picture_may_stay_the_same() -> None:
    class Drawn(BenchCamera):
        can_freeze = False

    bench = Bench(frozen=True)
    watched = Watched(bench)
    watched.capture = Capture(Drawn(bench), SOON, watched.meter, watched.frames.append, watched.over.set)
    with watched:
        watched.until(lambda: len(watched.frames) > 100)
    assert watched.meter.repeated == 0


def test_a_source_that_does_not_open_nor_fail_is_not_there() -> None:
    class Stuck(BenchCamera):
        def open(self) -> None:
            self._bench.let_go.wait(LONG_S)

    watched = Watched(Bench())
    watched.capture = Capture(Stuck(watched.bench), SOON, watched.meter, watched.frames.append, watched.over.set)
    with watched:
        watched.until(watched.over.is_set)
        assert isinstance(watched.capture.error, CameraUnavailable)
        assert "gave no frame within 0.5 s" in str(watched.capture.error)


def test_a_source_that_was_given_up_does_not_come_back() -> None:
    class Late(BenchCamera):
        def read(self) -> Frame | None:
            self._bench.let_go.wait(LONG_S)
            return super().read()

    bench, ended = Bench(), []
    watched = Watched(bench)
    watched.capture = Capture(Late(bench), SOON, watched.meter, watched.frames.append, lambda: ended.append(1))
    with watched:
        watched.until(lambda: bool(ended))
        bench.let_go.set()
        watched.until(lambda: bench.closed == 1)
    assert "gave no frame within 0.5 s" in str(watched.capture.error)
    assert (len(watched.frames), len(ended)) == (0, 1)


def test_a_source_that_cannot_be_had_twice_is_reported_only(caplog: pytest.LogCaptureFixture) -> None:
    source = FakeSource(10_000, live=True, interval_s=0.001, silence=(5, 1.0))
    watched = Watched(Bench())
    watched.capture = Capture(source, SOON, watched.meter, watched.frames.append, watched.over.set)
    with watched:
        watched.until_it_is("silent")
        watched.until_it_is("open")
    assert source.opened == 1
    assert "no frame from fake:// for 0." in caplog.text
    assert "fake:// is back after" in caplog.text


def test_noise_of_one_step_in_one_place_is_news() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    other = image.copy()
    other[32, 40, 1] ^= 1
    check = RepeatCheck()
    assert [check(Frame(i, 0, 0)) for i in (image, image, other, other, image)] == [False, True, False, True, False]
    assert check(Frame(np.full((64, 64, 3), (0, 135, 0), np.uint8), 0, 0))
    assert check.what == "a picture of one colour"
