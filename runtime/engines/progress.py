"""How far a build is: TensorRT tells phases within phases, out of which a share and the time that is left are made."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any


@dataclass(frozen=True, slots=True)
class State:
    """`share` is from 0 to 1 and never falls; `left_s` is None while there is too little to tell it from."""

    share: float
    left_s: float | None
    phase: str


@dataclass(slots=True)
class _Phase:
    name: str
    parent: str | None
    steps: int
    done: int = 0


class Progress:
    """Gathers what a builder tells, from whichever of its threads, and tells `report`; `cancelled` stops the build."""

    def __init__(self, report: Callable[[State], None], now: Callable[[], float] = perf_counter) -> None:
        self.cancelled = False
        self._report, self._now = report, now
        self._begun = now()
        self._open: dict[str, _Phase] = {}
        self._share = 0.0
        self._lock = threading.Lock()

    def phase_start(self, name: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._open[name] = _Phase(name, parent, max(steps, 1))
        self._tell(name)

    def step_complete(self, name: str, step: int) -> bool:
        """Whether to go on."""
        with self._lock:
            if phase := self._open.get(name):
                phase.done = min(step + 1, phase.steps)
        self._tell(name)
        return not self.cancelled

    def phase_finish(self, name: str) -> None:
        with self._lock:
            if phase := self._open.pop(name, None):
                parent = self._open.get(phase.parent or "")
                if parent is None:
                    self._share = 1.0
        self._tell(name)

    def _tell(self, name: str) -> None:
        with self._lock:
            roots = [phase for phase in self._open.values() if phase.parent not in self._open]
            if roots:
                self._share = max(self._share, min(self._of(roots[0]), 1.0))
            spent = self._now() - self._begun
            left = spent / self._share - spent if self._share > 0.02 else None
            state = State(self._share, left, name)
        self._report(state)

    def _of(self, phase: _Phase) -> float:
        inside = sum(self._of(one) for one in self._open.values() if one.parent == phase.name)
        return min(phase.done + inside, phase.steps) / phase.steps


def monitor(trt: Any, progress: Progress) -> Any:
    """`progress` as the builder of this library takes it; None where it has no such thing (before 8.6)."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            progress.phase_start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            return progress.step_complete(name, step)

        def phase_finish(self, name: str) -> None:
            progress.phase_finish(name)

    return Monitor()
