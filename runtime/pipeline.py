"""The camera pipeline: a capture thread, one worker thread a model, and results for the sinks in the caller's thread.

    source -> capture thread -> a slot a model -> worker thread a model -> a slot a model -> results()
                           watch thread: a Stop for the robot when any of these, or a sink, hangs

A slot holds one frame. Live sources overwrite it (policy `newest`, what is overwritten is counted); files and the
simulator in lock-step wait for it (policy `every`), and while the models run, the capture thread prepares their next
input: no frame is in vain there. Neither the source nor a model knows of the other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from .capture import Capture
from .heap import give_back
from .meter import Meter, Summary
from .model import Model
from .pipeline_options import PipelineOptions
from .results import Command, Drive, Frame, Reading, Result, Stop
from .shedding import shedder_for
from .sources import Source
from .watch import Watch
from .worker import Worker

__all__ = ["Pipeline", "PipelineOptions", "Sink"]

log = logging.getLogger(__name__)

Sink = Callable[[Result], None]

END_S = 0.5
"""What threads have, together, to end in: a signal ends a run within a second."""


class Pipeline:
    """Runs models on a source.

    The first model that drives leads, else the first one: a result comes out each time the leader is done, with the
    newest reading of the others. With policy `every` all readings of a result are of the same frame.

    `urgent` is a sink that gets the Stop for silence at once, from another thread, also while a sink of `run` hangs. It
    must not block, and the same Stop comes with the results too.
    """

    def __init__(
        self,
        source: Source,
        models: Sequence[Model],
        options: PipelineOptions | None = None,
        urgent: Sink | None = None,
    ) -> None:
        self.source = source
        self.options = options or PipelineOptions()
        self.meter = Meter()
        self._keep_every = not source.live
        self._shedder = None if self._keep_every else shedder_for(models)
        self._workers = [Worker(m, self._keep_every, self.meter, self._shedder) for m in models]
        self._leader = next((w for w in self._workers if w.model.task.name == "navigate"), self._workers[0])
        self._stopping = threading.Event()
        self._with_sinks = False
        self._capture = Capture(source, self.options, self.meter, self._offer, self._close)
        self._watch = Watch(self.options.max_age_ms, self.meter, self._why, self._capture.check, urgent)

    def stop(self) -> None:
        """End soon; may be called from a signal handler or another thread."""
        self._stopping.set()

    @property
    def shed_step(self) -> int:
        """How far load is taken off the models of lower priority now: see `LoadShedder`; 0 is not at all."""
        return self._shedder.step if self._shedder else 0

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
        late = {w.model.task.name: w.late for w in self._workers if w.model.period_ms}
        return self.meter.summary(self.overwritten, late, self._shedder.steps_taken if self._shedder else 0)

    @property
    def overwritten(self) -> dict[str, int]:
        """For each model, the frames so far that it never looked at; for the first, also those whose result the next
        one overtook before a sink took it."""
        return {w.model.task.name: self._left_out if w is self._leader else w.inbox.overwritten for w in self._workers}

    @property
    def _left_out(self) -> int:
        return self._leader.inbox.overwritten + self._leader.outbox.overwritten

    def results(self) -> Iterator[Result]:
        """The results, in the order of capture. Raises what the source or a model raised."""
        give_back()  # what loading took and left
        threads = [threading.Thread(target=w.run, name=w.model.task.name, daemon=True) for w in self._workers]
        for thread in threads:
            thread.start()
        self._capture.start()
        if not self._keep_every:
            self._watch.start()
        try:
            yield from self._collect()
        finally:
            self._end(threads)
        error = self._error()
        if error is not None:
            raise error

    def _end(self, threads: Sequence[threading.Thread]) -> None:
        """Wait a moment for all threads together; the watch goes last."""
        self._stopping.set()
        self._capture.stop()
        for worker in self._workers:
            worker.abandon()
        until = time.perf_counter() + END_S
        for thread in threads:
            thread.join(max(0.0, until - time.perf_counter()))
            if thread.is_alive():
                log.warning("the %s thread hangs and is left behind", thread.name)
        self._capture.join(max(0.0, until - time.perf_counter()))
        self._watch.end()

    def _collect(self) -> Iterator[Result]:
        """Results until the end; a live run that ends while a robot drives ends with a Stop, whatever ended it."""
        last: Result | None = None
        while not self._over():
            done = None
            result = self._watch.pending()
            if result is None:
                done = self._leader.outbox.get(timeout_s=self._patience_s())
                result = self._result(done) if done else self._watch.pending()
            if result is None:
                continue
            last = result
            if isinstance(result.command, Command):
                self._watch.drives(result)
            if done is not None:
                self.meter.result(result, time.perf_counter_ns())
            self._with_sinks = True
            yield result
            self._with_sinks = False
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
        overwritten = self._left_out
        if drive is None:
            return Result(frame, readings, None, overwritten)
        if not drive.finite:
            return Result(frame, readings, self._watch.stop("the network's output is not finite"), overwritten)
        if not self._keep_every and age_ms > self.options.max_age_ms:
            return Result(frame, readings, self._watch.stop(f"result is {age_ms:.0f} ms old"), overwritten)
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

    def _why(self) -> str:
        """What hangs when nothing fresh drives the robot."""
        oldest_ns = time.perf_counter_ns() - self.options.max_age_ms * 1e6
        if self._capture.last_ns < oldest_ns:
            return self._capture.silence()
        return "a sink takes long" if self._with_sinks else f"model {self._leader.model.task.name} is silent"

    def _error(self) -> BaseException | None:
        others = next((w.error for w in self._workers if w.error), None)
        return self._capture.error or others or self._watch.error

    def _offer(self, frame: Frame) -> None:
        for worker in self._workers:
            worker.offer(frame)

    def _close(self) -> None:
        for worker in self._workers:
            worker.inbox.close()
