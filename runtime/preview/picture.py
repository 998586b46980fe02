"""The newest picture as a JPEG: made once for all who wait for it, and only while somebody does."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

from ...devices.errors import reason_of
from ..results import Result
from ..sinks.overlay import Overlay

log = logging.getLogger(__name__)

QUALITY = 80
WIDEST_PX = 1280
"""A wider picture is shown smaller: encoding grows with the area, and no viewer has room for more."""
LEAST_S = 1 / 30
"""Between two pictures: the results of a fast file need not all be seen."""


class LivePicture:
    """Draws and encodes in a thread of its own. `offer` takes a moment, whoever looks."""

    def __init__(self, overlay: Overlay) -> None:
        self.viewers = 0
        self._overlay = overlay
        self._changed = threading.Condition()
        self._offered: tuple[int, Result, int] | None = None
        self._number = 0
        self._jpeg = b""
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="preview picture", daemon=True)
        self._thread.start()

    def offer(self, result: Result, now_ns: int) -> None:
        """The newest result takes the place of the one before."""
        with self._changed:
            number = self._offered[0] + 1 if self._offered else 1
            self._offered = number, result, now_ns
            if self.viewers:
                self._changed.notify_all()

    def newer(self, than: int, timeout_s: float) -> tuple[int, bytes] | None:
        """The number and the JPEG of a picture newer than number `than`, waited for; None after `timeout_s`."""
        with self._changed:
            self.viewers += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: self._number > than or self._closed, timeout_s)
            finally:
                self.viewers -= 1
            return (self._number, self._jpeg) if self._number > than and not self._closed else None

    @property
    def ended(self) -> bool:
        """True when there will be no more."""
        return self._closed

    def close(self) -> None:
        """Nobody waits any more. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=0.5)

    def _wanted(self) -> bool:
        return self.viewers > 0 and self._offered is not None and self._offered[0] > self._number

    def _work(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._wanted())
                    if self._closed:
                        return
                    assert self._offered is not None
                    number, result, now_ns = self._offered
                began = time.perf_counter()
                jpeg = self._encode(result, now_ns)
                with self._changed:
                    self._number, self._jpeg = number, jpeg
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._closed, began + LEAST_S - time.perf_counter())
        except Exception as error:  # the robot drives on without it
            log.error("--preview: no more pictures: %s; the run goes on", reason_of(error))
            with self._changed:
                self._closed = True
                self._changed.notify_all()

    def _encode(self, result: Result, now_ns: int) -> bytes:
        import cv2

        image = self._overlay(replace(result, map=None), now_ns)  # the map has a place of its own
        height, width = image.shape[:2]
        if width > WIDEST_PX:
            size = (WIDEST_PX, max(1, round(height * WIDEST_PX / width)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
