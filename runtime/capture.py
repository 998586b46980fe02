"""From the source to the pipeline: frames that are new, read in a thread that is replaced when it hangs.

What was noticed of the source (silence, loss, the same frame again) is in the log and in `Meter.source`. That a robot
has to stop is not decided here but in `watch.py`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..devices.errors import CameraUnavailable
from .frame_check import FrameCheck, RepeatCheck
from .heap import give_back
from .meter import Meter
from .pipeline_options import PipelineOptions
from .results import Frame
from .sources import Source

log = logging.getLogger(__name__)

HANGING, MOST_HANGING = 3, 16
"""Readers that may hang at a time: each holds a thread and maybe the device. From the third on, the next one is given
twice as long, and the sixteenth is the last until one returns: after hours."""
FIRST_FRAME_S = 2.0
"""What opening again may take, or twice what it took at first, where that is longer."""
FRAMES_LATE = 3
"""A slow camera is silent after as many of its own frame times, where that is longer than `lost_after_s`."""


@dataclass(slots=True)
class _Reader:
    """A source in its thread, which alone opens, reads and closes it (a GL context belongs to one thread).

    `busy_ns` is when the call that it is in began, 0 between calls; `patience_s` is what that call may take. `first_ns`
    is the capture of its first frame since it was opened.
    """

    source: Source
    thread: threading.Thread = field(init=False)
    busy_ns: int = 0
    patience_s: float = 0.0
    opened_ns: int = 0
    first_ns: int = 0
    abandoned: bool = False
    fresh: bool = True

    def hangs_s(self, now_ns: int) -> float:
        """How long the present call has overdrawn its patience; 0 when it has not."""
        busy_ns = self.busy_ns
        return max(0.0, (now_ns - busy_ns) / 1e9 - self.patience_s) if busy_ns else 0.0


class Capture:
    """Gives every new frame of `source` to `offer`, and calls `ended` when there are no more.

    `check` is called now and then from another thread: it notices what a reader that hangs cannot. `error` is what
    the source raised. Frames are new by `RepeatCheck` where the source `can_freeze`.
    """

    def __init__(
        self,
        source: Source,
        options: PipelineOptions,
        meter: Meter,
        offer: Callable[[Frame], None],
        ended: Callable[[], None],
    ) -> None:
        self.error: BaseException | None = None
        self.last_ns = 0
        self._last_index = -1
        self._options, self._meter, self._offer, self._ended = options, meter, offer, ended
        self._uri, self._live = source.uri, source.live
        self._check = FrameCheck(source.uri, options.one_size)
        self._repeats = RepeatCheck() if source.live and source.can_freeze and options.frozen_after_s else None
        self._wait_s = options.reopen_first_s
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._hanging: list[_Reader] = []
        self._opening_s: float | None = None
        self._reader = _Reader(source)

    def start(self) -> None:
        self._meter.source_is("opening")
        self._run(self._reader, self._first)

    def stop(self) -> None:
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the reader to close its source; say so when it does not."""
        self._reader.thread.join(timeout_s)
        if self._reader.thread.is_alive():
            log.warning("the capture thread hangs and is left behind")

    def silence(self) -> str:
        """What to say of a camera that gives nothing new."""
        if self._repeats and self._repeats.count:
            return f"camera is frozen ({self._repeats.what})"
        return "camera is lost" if self._meter.source.name == "lost" else "camera is silent"

    def check(self) -> None:
        """Notice that a live source is silent, and leave a reader behind that hangs."""
        reader, now_ns = self._reader, time.perf_counter_ns()
        silent_s = (now_ns - self.last_ns) / 1e9
        frozen = self._repeats is not None and self._repeats.count > 0
        if self._meter.source.name == "open" and not frozen and silent_s > self._lost_after_s(reader.source):
            log.warning("no frame from %s for %.1f s", self._uri, silent_s)
            self._meter.source_is("silent", f"no frame for {silent_s:.1f} s")
        if reader.hangs_s(now_ns) and not self._stopping.is_set():
            self._replace(reader, now_ns)

    def _lost_after_s(self, source: Source) -> float:
        return max(self._options.lost_after_s, FRAMES_LATE / source.fps if source.fps > 0 else 0.0)

    def _opening_patience_s(self) -> float:
        """What opening and the first frame may take, each."""
        usual_s = self._options.open_patience_s
        if self._opening_s is not None:
            usual_s = min(usual_s, max(FIRST_FRAME_S, 2 * self._opening_s))
        return usual_s * float(2 ** max(0, len(self._hanging) + 1 - HANGING))

    def _replace(self, reader: _Reader, now_ns: int) -> None:
        """A fresh reader on a fresh source of the same camera, in place of one that hangs; where that can be."""
        if self._meter.source.name == "opening" and not self._options.wait_for_source:
            self._give_up(reader, now_ns)
            return
        hanging = [r for r in self._hanging if r.thread.is_alive()]
        source = reader.source.another() if len(hanging) < MOST_HANGING else None
        if source is None:
            return
        fresh = _Reader(source)
        with self._lock:
            overdrawn_s = reader.hangs_s(now_ns)
            if self._reader is not reader or not overdrawn_s:
                return
            hung_s = overdrawn_s + reader.patience_s
            self._run(fresh, self._again)
            reader.abandoned = True
            self._reader, self._hanging = fresh, [*hanging, reader]
            self._meter.source_is("lost", f"hangs for {hung_s:.1f} s")
        log.warning("%s hangs for %.1f s; left behind, opening it again", self._uri, hung_s)

    def _give_up(self, reader: _Reader, now_ns: int) -> None:
        """A source that does not open, nor fail to, is not there."""
        with self._lock:
            if self.error or not reader.hangs_s(now_ns):
                return
            reader.abandoned = True
            self.error = CameraUnavailable(
                f"--source {self._uri}: gave no frame within {self._options.open_patience_s:g} s; is it in use?"
            )
        self._ended()

    def _run(self, reader: _Reader, opened: Callable[[_Reader], bool]) -> None:
        reader.thread = threading.Thread(target=self._work, args=(reader, opened), name="capture", daemon=True)
        reader.thread.start()

    def _work(self, reader: _Reader, opened: Callable[[_Reader], bool]) -> None:
        """Body of a capture thread."""
        try:
            if opened(reader):
                while not self._stopping.is_set() and not reader.abandoned and self._step(reader):
                    pass
        except BaseException as error:  # handed to the caller's thread, which raises it
            if not reader.abandoned:
                self.error = error
        finally:
            try:
                reader.source.close()
            finally:
                if reader.abandoned:
                    give_back()
                else:
                    self._meter.source_is("ended", str(self.error or ""))
                    self._ended()

    def _step(self, reader: _Reader) -> bool:
        """Read once; False when the source is over."""
        source, began_ns = reader.source, time.perf_counter_ns()
        reader.patience_s = self._opening_patience_s() if reader.fresh else self._lost_after_s(source)
        reader.busy_ns = began_ns
        first, frame = reader.fresh, source.read()
        left_behind = reader.abandoned
        if not self._goes_on(reader, frame):
            return False
        if frame is None:
            over = not source.live or source.ended
            return not over and self._reopen(reader, "lost", f"lost {self._uri}")
        if first:
            reader.first_ns = frame.captured_ns
            if not left_behind:
                self._opening_s = (time.perf_counter_ns() - reader.opened_ns) / 1e9
        self._check(frame)
        if self._repeats and self._repeats(frame):
            self._meter.repeated += 1
            frozen_s = (frame.captured_ns - self.last_ns) / 1e9
            # One that was opened again may begin with the picture that it was lost with, and go on.
            if (frame.captured_ns - max(reader.first_ns, self.last_ns)) / 1e9 <= self._options.frozen_after_s:
                return True
            said = f"{self._uri} is frozen: {self._repeats.what} for {frozen_s:.1f} s"
            return self._reopen(reader, "frozen", said)
        self._meter.add("capture", time.perf_counter_ns() - began_ns)
        self._new(frame)
        return True

    def _goes_on(self, reader: _Reader, frame: Frame | None) -> bool:
        """After its call: False where another one has its place. One that was left behind and has a frame before the
        one in its place has any takes it back: what stalled is there again, and opening takes longer."""
        with self._lock:
            reader.busy_ns = 0
            replaced = self._reader is not reader  # or given up, for good
            if replaced and reader.abandoned and frame and frame.index > self._last_index and self._reader.fresh:
                self._hanging = [r for r in self._hanging if r is not reader] + [self._reader]
                self._reader.abandoned, reader.abandoned = True, False
                self._reader = reader
            if not reader.abandoned and frame:
                reader.fresh = False
            return not reader.abandoned

    def _new(self, frame: Frame) -> None:
        self.last_ns, self._last_index = frame.captured_ns, frame.index
        self._wait_s = self._options.reopen_first_s
        before = self._meter.source
        if before.name != "open":
            if before.name != "opening":
                log.warning("%s is back after %.1f s", self._uri, before.lasted_s)
            self._meter.source_is("open")
        self._offer(frame)

    def _first(self, reader: _Reader) -> bool:
        """Open the source for the first time."""
        try:
            self._open(reader)
        except CameraUnavailable as error:
            if not (self._options.wait_for_source and self._live):
                raise
            log.warning("%s; waiting for it", error)
            self._meter.source_is("lost", str(error))
            return self._again(reader)
        return True

    def _reopen(self, reader: _Reader, state: str, said: str) -> bool:
        if self._meter.source.name != state:
            log.warning("%s; opening it again", said)
            self._meter.source_is(state, said)
        reader.source.close()
        give_back()
        return self._again(reader)

    def _again(self, reader: _Reader) -> bool:
        """Open a lost live source again, however long it takes; False when that is no longer wanted.

        Waits are from try to try: one that took long is followed by the next one soon.
        """
        tried_s = 0.0
        while not self._stopping.wait(self._until_next_s(tried_s)) and not reader.abandoned:
            self._wait_s, began_s = min(self._wait_s * 2, self._options.reopen_last_s), time.perf_counter()
            try:
                self._open(reader)
            except CameraUnavailable as error:
                tried_s = time.perf_counter() - began_s
                log.info("%s; next try within %.1f s", error, self._wait_s)
            else:
                self._meter.reopened += 1
                return True
        return False

    def _until_next_s(self, tried_s: float) -> float:
        return max(self._options.reopen_first_s / 2, self._wait_s * random.uniform(0.5, 1.0) - tried_s)

    def _open(self, reader: _Reader) -> None:
        reader.fresh, reader.patience_s = True, self._opening_patience_s()
        reader.busy_ns = reader.opened_ns = time.perf_counter_ns()
        try:
            reader.source.open()
        finally:
            reader.busy_ns = 0
