"""A replay's picture beside the recorded one: what was said of a frame then, and what is said of it now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...devices.errors import BadArtefact
from ..recording import Recording
from ..results import Drive, Faces, Image, Record, Result
from ..tasks import Task
from ..tasks.navigate import draw_steering
from .difference import said_of_frames
from .overlay import Overlay, banner

RECORDS: Mapping[str, Callable[[dict[str, Any]], Record]] = {"face": Faces.from_json, "navigate": Drive.from_json}
"""By task: the record out of its recorded line. Of other tasks nothing is drawn."""
SAME_BGR, DIFFERENT_BGR = (40, 40, 40), (30, 30, 200)


class SideBySide(Overlay):
    """Draws results of a replay twice as wide as the frame: left as recorded, right as now.

    A reading of a frame that its task did not look at when it was recorded has nothing on the left.
    """

    def __init__(self, tasks: Sequence[Task], recording: Recording, head: bool = True) -> None:
        super().__init__(tasks, head)
        self._recorded: dict[tuple[str, int], tuple[Record, dict[str, Any]]] = {}
        for (task, frame), line, said in said_of_frames(recording):
            if task in RECORDS:
                try:
                    self._recorded[task, frame] = RECORDS[task](line), said
                except (KeyError, TypeError, ValueError) as error:
                    lacks = f"no {task} record of frame {frame} ({error})"
                    raise BadArtefact(f"{recording.path}: its results have {lacks}; record it again") from error

    def __call__(self, result: Result, now_ns: int | None = None) -> Image:
        then, different = result.frame.image.copy(), []
        for name, task in reversed(self._tasks.items()):
            reading = result.readings.get(name)
            record, said = self._recorded.get((name, reading.frame_index), (None, None)) if reading else (None, None)
            if reading and record is not None:
                task.draw(then, record)
                if isinstance(record, Drive) and record.finite:
                    draw_steering(then, record.steer)
                if reading.record.to_json() != said:
                    different.append(name)
        if different:
            banner(then, f"as recorded; different now: {', '.join(reversed(different))}", 0, DIFFERENT_BGR)
        else:
            banner(then, "as recorded; now the same", 0, SAME_BGR)
        return np.hstack([then, super().__call__(result, now_ns)])
