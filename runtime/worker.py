"""One model in its thread: frame in, reading out. What comes of several models is put together in `pipeline.py`."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .backends import Feeds
from .meter import Meter
from .model import Model
from .results import Frame, Reading
from .shedding import LoadShedder
from .slot import Slot


@dataclass(frozen=True, slots=True)
class Job:
    """A frame for a worker, with the network's feeds and what they took once they are made."""

    frame: Frame
    feeds: Feeds | None = None
    prepare_ns: int = 0


class Worker:
    """One model in its thread: frame in, reading out."""

    def __init__(self, model: Model, keep_every: bool, meter: Meter, shedder: LoadShedder | None = None) -> None:
        self.model = model
        self.late = 0
        self._due_ns = 0
        self._shedder = shedder
        self._keep_every = keep_every
        self.inbox: Slot[Job] = Slot(keep_every)
        self.outbox: Slot[tuple[Frame, Reading]] = Slot(keep_every)
        self.newest: Reading | None = None
        self.error: BaseException | None = None
        self._meter = meter

    def run(self) -> None:
        try:
            while (job := self._next()) is not None:
                reading = self._read(job)
                self.outbox.put((job.frame, reading))
                self._pace(reading)
        except BaseException as error:  # handed to the caller's thread, which raises it
            self.error = error
        finally:
            self.inbox.abandon()
            self.outbox.close()

    def offer(self, frame: Frame) -> None:
        """Called in the capture thread. Prepares the feeds there when every frame will be looked at."""
        self.inbox.put(self._prepare(frame) if self._keep_every else Job(frame))

    def take(self, timeout_s: float) -> None:
        """Keep the next reading, if it comes in time, for the results to come."""
        done = self.outbox.get(timeout_s)
        if done is not None:
            self.newest = done[1]

    def abandon(self) -> None:
        self.inbox.abandon()
        self.outbox.abandon()

    def _next(self) -> Job | None:
        """The next frame, when it is due."""
        wait_ns = self._due_ns - time.perf_counter_ns()
        if wait_ns > 0:
            self.inbox.pause(wait_ns / 1e9)
        return self.inbox.get()

    def _pace(self, reading: Reading) -> None:
        """When the next one is due, and whether this one was late: done a period after it could have begun."""
        if self._keep_every:
            return
        task, began_ns = self.model.task.name, max(self._due_ns, reading.captured_ns)
        period_ns = round(self.model.period_ms * 1e6)
        if period_ns:
            self.late += reading.done_ns - began_ns > period_ns
            # On its grid, unless it is a whole period behind.
            self._due_ns = max(self._due_ns + period_ns, reading.done_ns)
        if self._shedder and self._shedder.task == task:
            self._shedder.done((reading.done_ns - began_ns) / 1e6)
        elif self._shedder:
            ran_s = sum(ms for stage, ms in reading.stage_ms.items() if stage != "wait") / 1e3
            self._due_ns = max(self._due_ns, reading.done_ns + round(self._shedder.rest_s(ran_s) * 1e9))

    def _prepare(self, frame: Frame) -> Job:
        begin = time.perf_counter_ns()
        feeds = self.model.task.prepare(frame.image)
        return Job(frame, feeds, time.perf_counter_ns() - begin)

    def _read(self, job: Job) -> Reading:
        frame, task = job.frame, self.model.task
        if job.feeds is None:
            job = self._prepare(frame)
        assert job.feeds is not None
        begin = time.perf_counter_ns()
        outputs = self.model.session.run(job.feeds)
        inferred = time.perf_counter_ns()
        height, width = frame.image.shape[:2]
        record = task.decode(outputs, (height, width))
        done = time.perf_counter_ns()
        spans = {
            "wait": begin - frame.captured_ns - job.prepare_ns,
            "prepare": job.prepare_ns,
            "inference": inferred - begin,
            "decode": done - inferred,
        }
        for stage, span in spans.items():
            self._meter.add(f"{task.name} {stage}", span)
        stage_ms = {stage: span / 1e6 for stage, span in spans.items()}
        return Reading(task.name, record, frame.index, frame.captured_ns, done, stage_ms, frame)
