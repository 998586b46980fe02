"""Between the results and a robot's sinks: a stop of the watch gets past whatever else is going on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..results import Command, Result, Stop


class GuardedSinks:
    """A sink that passes results on, to the sinks of the `robot` first; those must not block.

    A command whose frame became older than `max_age_ms` on its way here, in the pilot say, is a Stop. `stop` may be
    called from another thread at any time; it goes to the robot alone. `stopped` is called for each Stop that is made
    here, unless `stop` told one for that frame.
    """

    def __init__(
        self,
        robot: Sequence[Callable[[Result], None]],
        sinks: Sequence[Callable[[Result], None]],
        max_age_ms: float,
        stopped: Callable[[], None] = lambda: None,
    ) -> None:
        self._robot, self._sinks, self._max_age_ms, self._stopped = robot, sinks, max_age_ms, stopped
        self._lock = threading.Lock()
        self._told: Command | Stop | None = None
        self._stopped_frame = -1

    def __call__(self, result: Result) -> None:
        with self._lock:
            age_ms = (time.perf_counter_ns() - result.frame.captured_ns) / 1e6
            if isinstance(result.command, Command) and age_ms > self._max_age_ms:
                result = replace(result, command=Stop(f"command is {age_ms:.0f} ms old"))
                if result.frame.index != self._stopped_frame:
                    self._stopped()
            if result.command is not self._told:
                self._tell(result)
        for sink in self._sinks:
            sink(result)

    def stop(self, result: Result) -> None:
        """Tell the robot of a Stop that will come with the results too, then only to the others."""
        with self._lock:
            self._stopped_frame = result.frame.index
            self._tell(result)

    def _tell(self, result: Result) -> None:
        self._told = result.command
        for sink in self._robot:
            sink(result)
