"""A camera, a network and a robot that tests take away, freeze and stall."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from helmsight.devices.errors import CameraUnavailable
from helmsight.runtime.backends.fake import FakeSession
from helmsight.runtime.bundle import Bundle
from helmsight.runtime.results import Command, Frame, Result, Stop
from helmsight.runtime.sources._base import BaseSource

LONG_S = 30.0
"""How long a test waits for what comes in milliseconds where the machine is idle."""


@dataclass
class Bench:
    """What happens to the camera: set by the test, read in its threads."""

    plugged: bool = True
    frozen: bool = False
    black: bool = False
    hangs: bool = False
    let_go: threading.Event = field(default_factory=threading.Event)
    index: int = 0
    opened: int = 0
    closed: int = 0


class BenchCamera(BaseSource):
    """A live camera with noise in its pictures, 200 a second. Once it `hangs`, it does so until `let_go`."""

    live = True
    can_freeze = True
    fps = 200.0

    def __init__(self, bench: Bench) -> None:
        super().__init__("bench://")
        self._bench = bench
        self._noise = np.random.default_rng(bench.opened)
        self._image = self._picture()

    def open(self) -> None:
        if not self._bench.plugged:
            raise CameraUnavailable("bench://: not there")
        self._bench.opened += 1

    def read(self) -> Frame | None:
        time.sleep(1 / self.fps)
        bench = self._bench
        if bench.hangs:
            bench.let_go.wait(LONG_S)
        if not bench.plugged:
            return None
        if not bench.frozen:
            self._image = self._picture()
        image = np.zeros_like(self._image) if bench.black else self._image
        bench.index += 1
        return Frame(image, bench.index, time.perf_counter_ns())

    def close(self) -> None:
        self._bench.closed += 1

    def another(self) -> BenchCamera:
        return BenchCamera(self._bench)

    def _picture(self) -> np.ndarray:
        return self._noise.integers(0, 256, (48, 64, 3), np.uint8)


class StallingSession(FakeSession):
    """Answers while `go` is set."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.go = threading.Event()
        self.go.set()

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.go.wait(LONG_S)
        return super().run(feeds)


class Robot:
    """Keeps what it is told; `wait` waits until it was told something of a kind."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Command | Stop]] = []
        self._changed = threading.Condition()

    def __call__(self, result: Result) -> None:
        assert result.command is not None
        with self._changed:
            self.told.append((result.frame.index, result.command))
            self._changed.notify_all()

    def wait(self, kind: type, after: int = 0) -> tuple[int, Command | Stop]:
        """The first of `kind` after so many that it was told, waited for."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._find(kind, after) is not None, LONG_S), self.told[-3:]
            found = self._find(kind, after)
            assert found is not None
            return found

    def _find(self, kind: type, after: int) -> tuple[int, Command | Stop] | None:
        return next((told for told in self.told[after:] if isinstance(told[1], kind)), None)
