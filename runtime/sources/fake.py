"""A camera with no camera: frames at a set pace, which can be lost and return. For tests and benchmarks."""

from __future__ import annotations

import time
from collections.abc import Collection

import numpy as np

from ...devices.errors import CameraUnavailable
from ..results import Frame
from ._base import BaseSource


class FakeSource(BaseSource):
    """`count` frames of `image_hw`, each filled with its index modulo 256.

    A live one hands a frame over every `interval_s`; it is lost just before each index in `lost_at`, and fails to
    open `failures` times after each loss. `silence` is (index, seconds): how long it is silent before that frame.
    """

    def __init__(
        self,
        count: int,
        live: bool = False,
        interval_s: float = 0.01,
        lost_at: Collection[int] = (),
        failures: int = 0,
        silence: tuple[int, float] = (-1, 0.0),
    ) -> None:
        super().__init__("fake://")
        self.live = live
        self.fps = 1 / interval_s if live else 0.0
        self.opened = 0
        self.image_hw = (48, 64)
        self._count = count
        self._interval_s = interval_s
        self._lost_at = set(lost_at)
        self._failures = failures
        self._to_fail = 0
        self._silence = silence
        self._index = 0

    def open(self) -> None:
        if self._to_fail:
            self._to_fail -= 1
            raise CameraUnavailable("fake://: still away")
        self.opened += 1

    def read(self) -> Frame | None:
        if self._index in self._lost_at:
            self._lost_at.remove(self._index)
            self._to_fail = self._failures
            return None
        if self._index >= self._count:
            return None
        if self.live:
            time.sleep(self._silence[1] if self._index == self._silence[0] else self._interval_s)
        image = np.full((*self.image_hw, 3), self._index % 256, np.uint8)
        frame = Frame(image, self._index, time.perf_counter_ns())
        self._index += 1
        return frame

    def close(self) -> None:
        return
