"""How a single figure is read from a file of the kernel's, and how rates and counts are made of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

Probe = Callable[[], float | None]
"""Reads one figure. None: nothing to say yet, as with the first reading of a rate. Raises OSError or ValueError when
the kernel does not answer."""

MIN_RATE_S = 0.05
"""A rate over a shorter time is the coarseness of its counter; such a reading is left out."""


def number(file: Path) -> float:
    """The figure in a file of the kernel's. Raises OSError and ValueError."""
    return float(file.read_text())


def text(file: Path) -> str:
    """A small file of the kernel's; the device tree ends its strings with a zero byte. "" when it is not there."""
    try:
        return file.read_bytes().decode(errors="replace").replace("\0", "").strip()
    except OSError:
        return ""


class Rate:
    """The growth of a figure a second, since the reading before; None for the first and for one too soon."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def __call__(self, value: float) -> float | None:
        now, last = time.monotonic(), self._last
        if last is not None and now - last[0] < MIN_RATE_S:
            return None
        self._last = (now, value)
        return None if last is None else (value - last[1]) / (now - last[0])


class Since:
    """How much the sum of some counters has grown since the first reading."""

    def __init__(self, counters: Sequence[Path]) -> None:
        self._counters = counters
        self._first: float | None = None

    def __call__(self) -> float:
        total = sum(map(number, self._counters))
        self._first = total if self._first is None else self._first
        return total - self._first
