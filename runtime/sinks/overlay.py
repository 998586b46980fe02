"""The annotated picture: what the tasks read, the rate, the age, the map, and STOP where that is the command."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from functools import cache

import numpy as np

from ..results import Image, Result, Stop
from ..tasks import Task
from .inset import draw_map_inset

TEXT_BGR = (245, 245, 245)
STOP_BGR = (40, 40, 235)


class Overlay:
    """Draws results. One object a sink: it keeps the times of the last results for the rate.

    Without a `head` the line with rate and age is left out, for who shows them beside the picture.
    """

    def __init__(self, tasks: Sequence[Task], head: bool = True) -> None:
        self._with_head = head
        self._tasks = {task.name: task for task in tasks}
        self._times: deque[int] = deque(maxlen=30)

    def __call__(self, result: Result, now_ns: int | None = None) -> Image:
        """A new picture of the frame's size. `now_ns` is when the result came, for the age that is shown."""
        now_ns = now_ns or time.perf_counter_ns()
        self._times.append(now_ns)
        image = result.frame.image.copy()
        for name, task in reversed(self._tasks.items()):
            reading = result.readings.get(name)
            if reading is not None:
                task.draw(image, reading.record)
        if result.map is not None:
            draw_map_inset(image, result.map)
        if self._with_head:
            self._head(image, result, now_ns)
        if isinstance(result.command, Stop):
            self._stop(image, result.command)
        return image

    def _head(self, image: Image, result: Result, now_ns: int) -> None:
        ages = [f"{name} {reading.age_ms(now_ns):.0f} ms" for name, reading in result.readings.items()]
        text = f"{self._rate():.0f} FPS   age {', '.join(ages)}   frame {result.frame.index}"
        if result.overwritten:
            text += f"   overwritten {result.overwritten}"
        banner(image, text, 0, (40, 40, 40))

    def _stop(self, image: Image, stop: Stop) -> None:
        banner(image, f"STOP  {stop.reason}", 24, STOP_BGR)

    def _rate(self) -> float:
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) * 1e9 / max(1, self._times[-1] - self._times[0])


@cache
def _tint(colour: tuple[int, int, int]) -> Image:
    """(256, 3): what each value of a channel becomes under a third of itself and two of `colour`."""
    values = np.arange(256, dtype=np.uint8)[:, None]
    return values // 3 + np.array(colour, np.uint8) // 3 * 2


def banner(image: Image, text: str, top: int, colour: tuple[int, int, int]) -> None:
    """Write `text` into `image` on a strip of `colour` (BGR) that begins in row `top`."""
    import cv2

    strip = image[top : top + 22]
    cv2.LUT(strip, _tint(colour)[None], dst=strip)
    cv2.putText(image, text, (8, top + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, TEXT_BGR, 1, cv2.LINE_AA)
