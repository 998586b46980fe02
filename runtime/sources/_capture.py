"""What sources that read through OpenCV's VideoCapture share."""

from __future__ import annotations

import time
from typing import Any

from ..results import Frame
from ._base import BaseSource


class CaptureSource(BaseSource):
    """`open` sets `_capture`; frames are counted over re-openings too."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._capture: Any = None
        self._index = 0

    def read(self) -> Frame | None:
        ok, image = self._capture.read()
        if not ok:
            return None
        frame = Frame(image, self._index, time.perf_counter_ns())
        self._index += 1
        return frame

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None
