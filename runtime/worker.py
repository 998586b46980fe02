"""One model in its thread: frame in, reading out. What comes of several models is put together in `pipeline.py`."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .backends import Feeds, Session
from .meter import Meter
from .results import Frame, Reading
from .slot import Slot
from .tasks import Task


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded network and its task. The pipeline runs the session from one thread and does not close it."""

    session: Session
    task: Task


@dataclass(frozen=True, slots=True)
class Job:
    """A frame for a worker, with the network's feeds and what they took once they are made."""

    frame: Frame
    feeds: Feeds | None = None
    prepare_ns: int = 0


class Worker:
    """One model in its thread: frame in, reading out."""

    def __init__(self, model: Model, keep_every: bool, meter: Meter) -> None:
        self.model = model
        self._keep_every = keep_every
        self.inbox: Slot[Job] = Slot(keep_every)
        self.outbox: Slot[tuple[Frame, Reading]] = Slot(keep_every)
        self.newest: Reading | None = None
        self.error: BaseException | None = None
        self._meter = meter

    def run(self) -> None:
        try:
            while (job := self.inbox.get()) is not None:
                self.outbox.put((job.frame, self._read(job)))
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
        return Reading(task.name, record, frame.index, frame.captured_ns, done, stage_ms)
