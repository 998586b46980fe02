"""What sinks share that write in a thread of their own, so that a slow disk or encoder holds nobody up."""

from __future__ import annotations

import logging
import queue
import threading
from abc import abstractmethod
from typing import Generic, TypeVar

from ..results import Result
from ._base import BaseSink

T = TypeVar("T")

log = logging.getLogger(__name__)

PATIENCE_S = 1.0
"""What finishing may take before it is said that it is waited for."""


class ThreadedSink(BaseSink, Generic[T]):
    """Makes an item of each result in the caller's thread and writes it in another.

    Of a live source, items that find `queued` others waiting are dropped and counted in `dropped`; of a file they wait.
    What the first `error` of either ended is in `dropped` too, and the run goes on.
    """

    def __init__(self, name: str, queued: int, live: bool) -> None:
        self.dropped = 0
        self.error: Exception | None = None
        self._name, self._live = name, live
        self._queue: queue.Queue[T | None] = queue.Queue(queued)
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @abstractmethod
    def _item(self, result: Result) -> T:
        """What is written of a result; made at once."""

    @abstractmethod
    def _write(self, item: T) -> None: ...

    @abstractmethod
    def _finish(self) -> None:
        """Close what `_write` opened; called in the same thread, also after an error."""

    def __call__(self, result: Result) -> None:
        if self._closed:
            raise RuntimeError("this sink is closed")
        if self.error is not None:
            self.dropped += 1
            return
        try:
            item = self._item(result)
        except Exception as error:  # the robot drives on without it
            self._fail(error)
            self.dropped += 1
            return
        try:
            self._queue.put(item, block=not self._live)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Finish: everything that was handed over is written. May be called twice."""
        if self._closed:
            return
        self._closed = True
        threading.Thread(target=self._queue.put, args=(None,), daemon=True).start()  # a full queue waits for the disk
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            log.warning("%s: waiting for the disk or the encoder", self._name)
            self._thread.join()
        if self.dropped and self.error is None:
            log.warning("%s: %d results dropped, writing was too slow", self._name, self.dropped)

    def _work(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                self._write(item)
        except Exception as error:  # the robot drives on without it
            self._fail(error)
            self.dropped += 1
            while self._queue.get() is not None:
                self.dropped += 1
        finally:
            try:
                self._finish()
            except Exception as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self.error is None:
            self.error = error
            log.error("%s ended: %s; the run goes on", self._name, error)
