"""The watch over a live run, in a thread of its own: it stops a robot that nothing fresh drives, whatever hangs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from .meter import Meter
from .results import Result, Stop

log = logging.getLogger(__name__)


class Watch:
    """Each command holds until its frame is `max_age_ms` old; then `urgent` gets a Stop at once, from this thread.

    The results learn of that Stop by `pending`. `why` says what hangs. `each_time` is called ten times a second or
    oftener. `error` is what one of them raised. `urgent` must not block: nobody
    could stop the robot then.
    """

    def __init__(
        self,
        max_age_ms: float,
        meter: Meter,
        why: Callable[[], str],
        each_time: Callable[[], None],
        urgent: Callable[[Result], None] | None,
    ) -> None:
        self._max_age_ms, self._meter = max_age_ms, meter
        self._why, self._each_time, self._urgent = why, each_time, urgent
        self.error: Exception | None = None
        self._lock = threading.Lock()
        self._driving: Result | None = None
        self._pending: Result | None = None
        self._standing = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """No more Stops."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

    def drives(self, result: Result) -> None:
        """A result with a Command goes out now."""
        with self._lock:
            self._driving, self._standing = result, False

    def stop(self, reason: str) -> Stop:
        """The Stop for `reason`, which goes out now; the first of several is said."""
        with self._lock:
            self._driving = None
            return self._stop(reason)

    def pending(self) -> Result | None:
        """The Stop for silence that the results have not shown yet, once."""
        with self._lock:
            result, self._pending = self._pending, None
            return result

    def _stop(self, reason: str) -> Stop:
        if not self._standing:  # the first one tells; the others are in the log of results
            log.warning("STOP: %s (max age %.0f ms)", reason, self._max_age_ms)
        self._standing = True
        self._meter.stopped()
        return Stop(reason)

    def _work(self) -> None:
        while not self._ended.wait(self._patience_s()):
            try:
                stopped = self._silence()
                if stopped is not None and self._urgent is not None:
                    self._urgent(stopped)
                self._each_time()
            except Exception as error:  # the caller's thread raises it; this one watches on
                self.error = error

    def _patience_s(self) -> float:
        """Until the command that holds is too old, or until the next look."""
        driving, look_s = self._driving, min(0.1, self._max_age_ms / 1e3 / 4)
        return look_s if driving is None else max(0.0, min(look_s, (self._max_age_ms - _age_ms(driving)) / 1e3 + 1e-4))

    def _silence(self) -> Result | None:
        with self._lock:
            last = self._driving
            age_ms = _age_ms(last) if last is not None else 0.0
            if last is None or age_ms <= self._max_age_ms:
                return None
            stop = self._stop(f"{self._why()}, last frame {age_ms:.0f} ms ago")
            self._driving = None
            self._pending = Result(last.frame, last.readings, stop, last.overwritten)
            return self._pending


def _age_ms(result: Result) -> float:
    return (time.perf_counter_ns() - result.frame.captured_ns) / 1e6
