"""The camera pipeline: a capture thread, one worker thread a model, and results for the sinks in the caller's thread.

    source -> capture thread -> a slot a model -> worker thread a model -> a slot a model -> results()

A slot holds one frame. Live sources overwrite it (policy `newest`, what is overwritten is counted); files and the
simulator in lock-step wait for it (policy `every`), and while the models run, the capture thread prepares their next
input: no frame is in vain there. Neither the source nor a model knows of the other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..devices.errors import CameraUnavailable
from .frame_check import FrameCheck
from .meter import Meter, Summary
from .results import Command, Drive, Frame, Reading, Result, Stop
from .sources import Source
from .worker import Model, Worker

log = logging.getLogger(__name__)

Sink = Callable[[Result], None]


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How the pipeline treats time.

    A drive command from a frame older than `max_age_ms` becomes a Stop, as does silence of that length; it holds
    for live sources, since a file has no age. A live source without a frame for `lost_after_s` is said to be lost. One
    whose `read` says so is opened again, after waits that double from `reopen_first_s` to `reopen_last_s`; one that was
    never there is an error at once. `max_frames` 0 is no limit.
    """

    max_age_ms: float = 500.0
    lost_after_s: float = 1.0
    reopen_first_s: float = 0.1
    reopen_last_s: float = 2.0
    max_frames: int = 0
    one_size: bool = False


class Pipeline:
    """Runs models on a source.

    The first model that drives leads, else the first one: a result comes out each time the leader is done, with the
    newest reading of the others. With policy `every` all readings of a result are of the same frame.
    """

    def __init__(self, source: Source, models: Sequence[Model], options: PipelineOptions | None = None) -> None:
        self.source = source
        self.options = options or PipelineOptions()
        self.meter = Meter()
        self._keep_every = not source.live
        self._workers = [Worker(m, self._keep_every, self.meter) for m in models]
        self._leader = next((w for w in self._workers if w.model.task.name == "navigate"), self._workers[0])
        self._stopping = threading.Event()
        self._capture_error: BaseException | None = None
        self._last_capture_ns = 0
        self._lost = self._standing = False
        self._check = FrameCheck(source.uri, self.options.one_size)

    def stop(self) -> None:
        """End soon; may be called from a signal handler or another thread."""
        self._stopping.set()

    def run(self, sinks: Sequence[Sink]) -> Summary:
        """Give every result to every sink, in their order, until the source ends or `stop`."""
        for result in self.results():
            started = time.perf_counter_ns()
            for sink in sinks:
                sink(result)
            self.meter.add("sinks", time.perf_counter_ns() - started)
        return self.summary()

    def summary(self) -> Summary:
        """Counts and times so far."""
        return self.meter.summary({w.model.task.name: w.inbox.overwritten for w in self._workers})

    def results(self) -> Iterator[Result]:
        """The results, in the order of capture. Raises what the source or a model raised."""
        threads = [threading.Thread(target=self._capture, name="capture", daemon=True)]
        threads += [threading.Thread(target=w.run, name=w.model.task.name, daemon=True) for w in self._workers]
        for thread in threads:
            thread.start()
        try:
            yield from self._collect()
        finally:
            self._stopping.set()
            for worker in self._workers:
                worker.abandon()
            for thread in threads:
                thread.join(timeout=1.0)
                if thread.is_alive():
                    log.warning("the %s thread hangs and is left behind", thread.name)
        error = self._error()
        if error is not None:
            raise error

    def _collect(self) -> Iterator[Result]:
        """Results until the end; a live run that ends while a robot drives ends with a Stop, whatever ended it."""
        last: Result | None = None
        while not self._over():
            done = self._leader.outbox.get(timeout_s=self._patience_s())
            self._notice_loss()
            result = self._silence(last) if done is None else self._result(done)
            if result is None:
                continue
            last = result
            if done is not None:
                self.meter.result(result, time.perf_counter_ns())
            yield result
        if last is not None and not self._keep_every and isinstance(last.command, Command):
            error = self._error()
            reason = f"the run ended with an error: {error}" if error else "the run ended"
            yield Result(last.frame, last.readings, Stop(reason), last.overwritten)

    def _over(self) -> bool:
        enough = self.options.max_frames and self.meter.results >= self.options.max_frames
        return bool(enough or self._stopping.is_set() or self._leader.outbox.finished or self._error())

    def _result(self, done: tuple[Frame, Reading]) -> Result | None:
        frame, reading = done
        for worker in self._workers:
            if worker is not self._leader and not self._join(worker, frame):
                return None
        readings = {r.task: r for w in self._workers if (r := reading if w is self._leader else w.newest)}
        drive = reading.record if isinstance(reading.record, Drive) else None
        age_ms = reading.age_ms(time.perf_counter_ns())
        overwritten = self._leader.inbox.overwritten
        if drive is None:
            return Result(frame, readings, None, overwritten)
        if not drive.finite:
            return Result(frame, readings, self._stopped("the network's output is not finite"), overwritten)
        if not self._keep_every and age_ms > self.options.max_age_ms:
            return Result(frame, readings, self._stopped(f"result is {age_ms:.0f} ms old"), overwritten)
        self._standing = False
        return Result(frame, readings, Command.of(drive), overwritten)

    def _join(self, worker: Worker, frame: Frame) -> bool:
        """Take the worker's newest reading; for a file, that of `frame`. False when the run is over before."""
        worker.take(timeout_s=0)
        while self._keep_every and (worker.newest is None or worker.newest.frame_index < frame.index):
            if self._stopping.is_set() or self._error():
                return False
            worker.take(timeout_s=0.1)
        return True

    def _patience_s(self) -> float:
        return 0.1 if self._keep_every else min(0.1, self.options.max_age_ms / 1e3 / 4)

    def _silence(self, last: Result | None) -> Result | None:
        """A result that stops the robot, once, when nothing fresh has come for too long."""
        if last is None or self._keep_every or not isinstance(last.command, Command):
            return None
        age_ms = (time.perf_counter_ns() - last.frame.captured_ns) / 1e6
        if age_ms <= self.options.max_age_ms:
            return None
        silent = "camera is silent" if self._camera_is_silent() else f"model {self._leader.model.task.name} is silent"
        return Result(
            last.frame, last.readings, self._stopped(f"{silent}, last frame {age_ms:.0f} ms ago"), last.overwritten
        )

    def _stopped(self, reason: str) -> Stop:
        if not self._standing:  # the first one tells; the others are in the log of results
            log.warning("STOP: %s (max age %.0f ms)", reason, self.options.max_age_ms)
        self._standing = True
        self.meter.stops += 1
        return Stop(reason)

    def _camera_is_silent(self) -> bool:
        return (time.perf_counter_ns() - self._last_capture_ns) / 1e6 > self.options.max_age_ms

    def _notice_loss(self) -> None:
        """Say once that a live source gives nothing, also while its `read` does not return."""
        silent_s = (time.perf_counter_ns() - self._last_capture_ns) / 1e9
        lost = self._last_capture_ns > 0 and not self._keep_every and silent_s > self.options.lost_after_s
        if lost and not self._lost:
            log.warning("no frame from %s for %.1f s", self.source.uri, silent_s)
        self._lost = lost

    def _error(self) -> BaseException | None:
        return self._capture_error or next((w.error for w in self._workers if w.error), None)

    def _capture(self) -> None:
        """Body of the capture thread, which alone opens, reads and closes the source."""
        try:
            with self.source:
                while not self._stopping.is_set():
                    started = time.perf_counter_ns()
                    frame = self.source.read()
                    if frame is None:
                        if not self.source.live or self.source.ended or not self._reopen():
                            return
                        continue
                    self._check(frame)
                    self._last_capture_ns = frame.captured_ns
                    self.meter.add("capture", time.perf_counter_ns() - started)
                    for worker in self._workers:
                        worker.offer(frame)
        except BaseException as error:  # handed to the caller's thread, which raises it
            self._capture_error = error
        finally:
            for worker in self._workers:
                worker.inbox.close()

    def _reopen(self) -> bool:
        """Open a lost live source again, however long it takes; False when the pipeline is stopping."""
        wait_s = self.options.reopen_first_s
        log.warning("lost %s; opening it again", self.source.uri)
        self.source.close()
        while not self._stopping.wait(wait_s):
            try:
                self.source.open()
            except CameraUnavailable as error:
                wait_s = min(wait_s * 2, self.options.reopen_last_s)
                log.info("%s; next try in %.1f s", error, wait_s)
            else:
                self.meter.reopened += 1
                log.warning("%s is back", self.source.uri)
                return True
        return False
