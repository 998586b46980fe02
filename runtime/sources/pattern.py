"""A test pattern: a live source that needs neither a camera nor a screen.

`test://pattern?size=640x480&fps=30`
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import numpy as np

from ...devices.errors import UsageError
from ..results import Frame, Image
from ._address import Options
from ._base import BaseSource

BARS = ((255, 255, 255), (0, 255, 255), (255, 255, 0), (0, 255, 0), (255, 0, 255), (0, 0, 255), (255, 0, 0), (0, 0, 0))
"""White to black by falling brightness, BGR: the order of a television's colour bars."""
STEP_PX = 4
"""How far the bars move from one picture to the next."""
BITS = 32


class PatternSource(BaseSource):
    """Colour bars that wander to the left, at a camera's pace.

    Each picture tells its index: along its lower edge are 32 squares, the highest bit first, white for 1. `index_of`
    reads it, so that a whole chain from a camera to a recording can be checked for what it lost.
    """

    live = True

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        parts = urlsplit(uri)
        if parts.netloc != "pattern" or parts.path.strip("/"):
            raise UsageError(f"--source {uri}: no such test; expected test://pattern?size=640x480&fps=30")
        options = Options(uri, parts.query, {"size", "fps"})
        self.fps = options.number("fps", 30, 1, 240)
        self._hw = options.size("size")
        self._bars: Image | None = None
        self._index = 0
        self._due_s = 0.0

    def open(self) -> None:
        height, width = self._hw
        colours = np.array(BARS, np.uint8)[np.arange(width) * len(BARS) // width]
        # Twice, so that a window of the picture's width can begin anywhere in the first.
        self._bars = np.broadcast_to(np.tile(colours, (2, 1)), (height, 2 * width, 3))
        self._due_s = time.perf_counter()

    def read(self) -> Frame | None:
        if self._bars is None:
            raise RuntimeError("this source is not open")
        time.sleep(max(0.0, self._due_s - time.perf_counter()))
        self._due_s = max(self._due_s + 1 / self.fps, time.perf_counter())
        width = self._hw[1]
        left = self._index * STEP_PX % width
        image = self._bars[:, left : left + width].copy()
        _write(image, self._index)
        frame = Frame(image, self._index, time.perf_counter_ns())
        self._index += 1
        return frame

    def close(self) -> None:
        self._bars = None


def index_of(image: Image) -> int:
    """The index that a picture of the pattern tells, also after compression."""
    row, columns = _squares(image)
    return int(sum(1 << (BITS - 1 - bit) for bit, column in enumerate(columns) if image[row, column].mean() > 127))


def _write(image: Image, index: int) -> None:
    height, width = image.shape[:2]
    bits = np.array([255 * (index >> (BITS - 1 - bit) & 1) for bit in range(BITS)], np.uint8)
    image[height - width // BITS :] = bits[np.arange(width) * BITS // width][:, None]


def _squares(image: Image) -> tuple[int, list[int]]:
    """The middle row and the middle columns of the squares."""
    height, width = image.shape[:2]
    return height - max(1, width // BITS // 2), [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
