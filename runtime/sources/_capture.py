"""What sources that read through OpenCV's VideoCapture share."""

from __future__ import annotations

import time
from typing import Any, TypeVar

from ..results import Frame
from . import without_password
from ._base import BaseSource

L = TypeVar("L", bound="LiveCapture")


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


class LiveCapture(CaptureSource):
    """A camera. `uri` has no password in it: it is safe to log; `_given` is the whole address."""

    live = True
    can_freeze = True

    def __init__(self, uri: str) -> None:
        super().__init__(without_password(uri))
        self._given = uri

    def another(self: L) -> L:
        fresh = type(self)(self._given)
        fresh._index = self._index + 1
        return fresh
