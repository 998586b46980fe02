"""Results for the preview, and an overlay that counts."""

from __future__ import annotations

import time

import numpy as np

from helmsight.runtime.results import Command, Faces, Frame, Image, Reading, Result, Stop
from helmsight.runtime.sinks.overlay import Overlay

STAGES_MS = {"wait": 1.0, "prepare": 2.0, "inference": 30.0, "decode": 0.5}


class CountingOverlay(Overlay):
    """Counts the pictures that were drawn."""

    def __init__(self) -> None:
        super().__init__([], head=False)
        self.drawn = 0

    def __call__(self, result: Result, now_ns: int | None = None) -> Image:
        self.drawn += 1
        return super().__call__(result, now_ns)


def result(index: int, command: Command | Stop | None = None, image: Image | None = None) -> Result:
    """A result of frame `index`, captured a moment ago, which is grey with value `index`."""
    captured_ns = time.perf_counter_ns() - 5_000_000
    if image is None:
        image = np.full((48, 64, 3), index % 256, np.uint8)
    none = np.zeros((0, 4), np.float32)
    faces = Faces(none, none[:, 0], none.reshape(0, 5, 2))
    frame = Frame(image, index, captured_ns)
    reading = Reading("face", faces, index, captured_ns, time.perf_counter_ns(), STAGES_MS, frame)
    return Result(frame, {"face": reading}, command)
