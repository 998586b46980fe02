"""The annotated picture: what the tasks read, the rate, the age, the map, and STOP where that is the command."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from ..results import Command, Drive, Image, Record, Result, Stop
from ..tasks import Task
from ..tasks.navigate import draw_steering
from .inset import draw_map_inset

TEXT_BGR = (245, 245, 245)
STOP_BGR = (40, 40, 235)
MARGIN, LINE, SCALE = 8, 22, 0.45
"""Of a banner: pixels beside its text and for a line, and OpenCV's scale of the font."""
STOP_LINES = 4


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
                task.draw(image, _as_told(reading.record, result.command))
        if isinstance(result.command, Command) and result.command.speed > 0:  # on the spot it follows no arc
            draw_steering(image, result.command.steer)
        if result.map is not None:
            draw_map_inset(image, result.map)
        if self._with_head:
            self._head(image, result, now_ns)
        if isinstance(result.command, Stop):
            banner(image, f"STOP  {result.command.reason}", 24, STOP_BGR, STOP_LINES)
        return image

    def _head(self, image: Image, result: Result, now_ns: int) -> None:
        ages = [f"{name} {reading.age_ms(now_ns):.0f} ms" for name, reading in result.readings.items()]
        text = f"{self._rate():.0f} FPS   age {', '.join(ages)}   frame {result.frame.index}"
        if result.overwritten:
            text += f"   overwritten {result.overwritten}"
        banner(image, text, 0, (40, 40, 40))

    def _rate(self) -> float:
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) * 1e9 / max(1, self._times[-1] - self._times[0])


@cache
def _tint(colour: tuple[int, int, int]) -> Image:
    """(256, 3): what each value of a channel becomes under a third of itself and two of `colour`."""
    values = np.arange(256, dtype=np.uint8)[:, None]
    return values // 3 + np.array(colour, np.uint8) // 3 * 2


def banner(image: Image, text: str, top: int, colour: tuple[int, int, int], most: int = 1) -> None:
    """Write `text` into `image` on a strip of `colour` (BGR) from row `top` on, in up to `most` lines."""
    import cv2

    for line in [text] if most == 1 else _lines(text, image.shape[1] - 2 * MARGIN, most):
        strip = image[top : top + LINE]
        cv2.LUT(strip, _tint(colour)[None], dst=strip)
        cv2.putText(image, line, (MARGIN, top + 15), cv2.FONT_HERSHEY_SIMPLEX, SCALE, TEXT_BGR, 1, cv2.LINE_AA)
        top += LINE


def _lines(text: str, width: int, most: int) -> list[str]:
    """The text in lines that fit into `width` pixels, the last of `most` cut short where it does not."""
    import cv2

    def fits(line: str) -> bool:
        return bool(cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, SCALE, 1)[0][0] <= width)

    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and (len(lines) == most or fits(longer)):
            lines[-1] = longer
        else:
            lines.append(word)
    if not fits(lines[-1]):
        while lines[-1] and not fits(f"{lines[-1]}..."):
            lines[-1] = lines[-1][:-1]
        lines[-1] += "..."
    return lines


def _as_told(record: Record, command: Command | Stop | None) -> Record:
    """What is shown of a drive is what the robot is told: a pilot has the last word."""
    if isinstance(record, Drive) and record.finite and command is not None:
        return replace(record, steer=command.steer if isinstance(command, Command) else 0.0)
    return record
