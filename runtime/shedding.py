"""Load is taken off a machine that is too slow for all its models, from those that matter less, and given back.

Not by the priorities of the system's threads: one of low priority that is held up while it has the device, or Python's
interpreter lock, holds all others up.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Model

log = logging.getLogger(__name__)

MOST_STEPS = 5
"""At the last step the others run 1/32 of the time."""
LOOKED_AT, MOST_LATE = 10, 1
"""One late answer in so many may be chance; a second one is a step. After a step as many are waited for."""
CALM, LONGEST_CALM = 40, 640
"""Answers in time, each with a fifth to spare, after which a step is taken back; twice as many where that was too
early."""
SPARE = 0.8


class LoadShedder:
    """Watches that model `task` answers within `period_ms`, and tells the `others` how long to rest.

    At step n they rest for 2^n - 1 times as long as they ran, which halves their share of the time with each step.
    `done` and `rest_s` may be called from different threads.
    """

    def __init__(self, task: str, period_ms: float, others: Sequence[str]) -> None:
        self.task = task
        self.step = 0
        self.steps_taken = 0
        self._period_ms, self._others = period_ms, ", ".join(others)
        self._lock = threading.Lock()
        self._late: deque[bool] = deque(maxlen=LOOKED_AT)
        self._in_time = 0
        self._calm = CALM
        self._gave_back = False

    def done(self, response_ms: float) -> None:
        """The model has answered, so long after its frame was there and its turn had come."""
        with self._lock:
            late = response_ms > self._period_ms
            self._late.append(late)
            self._in_time = self._in_time + 1 if response_ms <= SPARE * self._period_ms else 0
            if sum(self._late) > MOST_LATE and self.step < MOST_STEPS:
                self._shed(response_ms)
            elif self._in_time >= self._calm and self.step:
                self._give_back()

    def rest_s(self, ran_s: float) -> float:
        """How long one of the others rests that ran for so long."""
        return ran_s * ((1 << self.step) - 1)

    def _shed(self, response_ms: float) -> None:
        if self._gave_back:  # the last step back was one too many
            self._calm = min(2 * self._calm, LONGEST_CALM)
        self._move(self.step + 1, gave_back=False)
        self.steps_taken += 1
        log.warning(
            "%s took %.0f ms of %.0f: %s run 1/%d of the time", self.task, response_ms, self._period_ms, self._others,
            2**self.step,
        )  # fmt: skip

    def _give_back(self) -> None:
        self._move(self.step - 1, gave_back=True)
        share = f"1/{2**self.step} of the time" if self.step else "as they can"
        log.info("%s is in time: %s run %s", self.task, self._others, share)

    def _move(self, step: int, gave_back: bool) -> None:
        self.step, self._gave_back, self._in_time = step, gave_back, 0
        self._late.clear()


def shedder_for(models: Sequence[Model]) -> LoadShedder | None:
    """For the model of the highest priority, where it has a period and the others a lower priority."""
    first = max(models, key=lambda model: model.priority)
    others = [model.task.name for model in models if model.priority < first.priority]
    return LoadShedder(first.task.name, first.period_ms, others) if others and first.period_ms else None
