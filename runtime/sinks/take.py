"""A recording that can be replayed, as a sink; `recording.py` has its files."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from ...devices.errors import UsageError, need
from ..recording import CODEC, FRAMES, HEAD, RESULTS, VIDEO, head_of
from ..results import Drive, Frame, Result
from ..sources import Source
from ._base import BaseSink
from ._threaded import ThreadedSink
from ._writable import check_writable
from .jsonlines import as_json

QUEUED = 8
"""Results that may wait for the disk: 7 MB at 640x480."""
RESERVE_BYTES = 64 << 20
"""What is left of a disk: OpenCV does not say when it could not write, and the rest of the robot writes there too."""
LONGEST_LAG = 1000
"""Frames between the newest one and that of the slowest model, before those that were written are looked through."""


class Take(ThreadedSink[tuple[list[Frame], str]]):
    """Records the frames that a model looked at, without loss, and the results, into the folder `path`.

    The folder is made with the first result. `frames` and `dropped` count as in `Recorder`. A frame of another size
    than the first, a disk that is full or gone end it with an `error`.
    """

    def __init__(self, path: Path, source: Source, models: dict[str, Any]) -> None:
        self.path = path
        self.frames = 0
        self.began = time.monotonic()
        self._source, self._models = source, models
        self._started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._last: dict[str, int] = {}
        self._given: set[int] = set()
        self._opened = ExitStack()
        self._video: Any = None
        self._hw: tuple[int, ...] = ()
        self._frames_file: TextIO
        self._results_file: TextIO
        super().__init__(f"--record {path}", QUEUED, source.live)

    def _item(self, result: Result) -> tuple[list[Frame], str]:
        """Each frame that a model looked at, once: a slower model's is not that of the result."""
        frames = {}
        for reading in result.readings.values():
            self._last[reading.task] = reading.frame_index
            if reading.frame is not None and reading.frame_index not in self._given:
                self._given.add(reading.frame_index)
                frames[reading.frame_index] = reading.frame
        if len(self._given) > LONGEST_LAG:  # what every model has reached will not come again as a new one
            self._given = {index for index in self._given if index >= min(self._last.values())}
        return [frames[index] for index in sorted(frames)], json.dumps(_line(result)) + "\n"

    def _write(self, item: tuple[list[Frame], str]) -> None:
        frames, line = item
        if self._video is None and frames:
            self._open(frames[0])
        elif self._video is None:
            return
        if shutil.disk_usage(self.path).free < RESERVE_BYTES:
            said = f"{os.strerror(errno.ENOSPC)} but for the {RESERVE_BYTES >> 20} MB that are left to others"
            raise OSError(errno.ENOSPC, said)
        for frame in frames:
            self._frame(frame)
        self._results_file.write(line)

    def _frame(self, frame: Frame) -> None:
        if frame.image.shape != self._hw:
            raise ValueError(f"frame {frame.index} is {frame.image.shape}, the first one is {self._hw}")
        self._video.write(frame.image)
        self._frames_file.write(json.dumps({"frame": frame.index, "captured_ns": frame.captured_ns}) + "\n")
        self.frames += 1

    def _open(self, first: Frame) -> None:
        self.path.mkdir()
        (self.path / HEAD).write_text(json.dumps(head_of(self._source, self._models, self._started), indent=2) + "\n")
        self._hw = first.image.shape
        self._frames_file = self._opened.enter_context((self.path / FRAMES).open("w", buffering=1))
        self._results_file = self._opened.enter_context((self.path / RESULTS).open("w", buffering=1))
        height, width = self._hw[:2]
        fps = self._source.fps if 1 <= self._source.fps <= 240 else 30.0
        self._video = _writer(self.path / VIDEO, fps, (width, height))
        self._opened.callback(self._video.release)

    def _finish(self) -> None:
        self._opened.close()


class Takes(BaseSink):
    """Takes that start and stop, one after the other: `path`, then `path`-2 and so on; none is written over.

    A folder that is there and no recording gets them inside. `start` and `stop` may be called from any thread.
    `frames` and `dropped` count over all takes, `error` is that of the first one that failed.
    """

    def __init__(self, path: Path, source: Source, models: dict[str, Any]) -> None:
        need("cv2", "cpu")
        self._base = path / "recording" if path.is_dir() and not (path / HEAD).exists() else path
        self._source, self._models = source, models
        self._switching, self._lock = threading.Lock(), threading.Lock()
        self._take: Take | None = None
        self._done: list[Take] = []

    def __call__(self, result: Result) -> None:
        with self._lock:
            if self._take is not None:
                self._take(result)

    def start(self) -> None:
        """Begin another take, unless one is on. UsageError when it cannot be written."""
        with self._switching:
            if self._take is not None and self._take.error is None:
                return
            self._end()
            path = _free(self._base)
            _check(path)
            take = Take(path, self._source, self._models)
            with self._lock:
                self._take = take

    def stop(self) -> None:
        """End the take that is on: all that was handed over is written."""
        with self._switching:
            self._end()

    def _end(self) -> None:
        with self._lock:
            take, self._take = self._take, None
        if take is not None:
            self._done.append(take)
            take.close()

    def close(self) -> None:
        self.stop()

    def state(self) -> dict[str, Any]:
        """The newest take, in plain JSON values: whether it is `on`, its path, its counts, what ended it."""
        take = self._take or (self._done[-1] if self._done else None)
        if take is None:
            return {"on": False, "path": str(self._base), "frames": 0, "dropped": 0, "seconds": 0.0, "error": None}
        return {
            "on": take is self._take and take.error is None,
            "path": str(take.path),
            "frames": take.frames,
            "dropped": take.dropped,
            "seconds": round(time.monotonic() - take.began, 1),
            "error": str(take.error) if take.error else None,
        }

    @property
    def path(self) -> Path | None:
        """The newest take's folder."""
        return self._all[-1].path if self._all else None

    @property
    def frames(self) -> int:
        return sum(take.frames for take in self._all)

    @property
    def dropped(self) -> int:
        return sum(take.dropped for take in self._all)

    @property
    def error(self) -> Exception | None:
        return next((take.error for take in self._all if take.error), None)

    @property
    def _all(self) -> list[Take]:
        return [*self._done, *([self._take] if self._take else [])]


def _check(path: Path) -> None:
    """Raise UsageError where the folder `path` cannot be made, or OpenCV cannot write without loss."""
    check_writable("--record", path)
    with tempfile.TemporaryDirectory() as folder:
        try:
            _writer(Path(folder) / VIDEO, 30.0, (16, 16)).release()
        except OSError as error:
            raise UsageError(f"--record {path}: {error}; record a video instead, such as {path}.mkv") from error


def _free(base: Path) -> Path:
    """The first of NAME, NAME-2, NAME-3 that is not there."""
    number, path = 1, base
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def _writer(path: Path, fps: float, size: tuple[int, int]) -> Any:
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*CODEC), fps, size)
    if not writer.isOpened():
        raise OSError(f"this OpenCV writes no {CODEC} video ({size[0]}x{size[1]})")
    return writer


def _line(result: Result) -> dict[str, Any]:
    """A line of the log, with free space and way, which are drawn when results are compared."""
    line = as_json(result, time.perf_counter_ns())
    for name, reading in result.readings.items():
        if isinstance(drive := reading.record, Drive) and drive.finite:
            for raster in ("free_space", "way"):
                if (probability := getattr(drive, raster)) is not None:
                    line[name][raster] = (probability * 100).round().astype(int).tolist()
    return line
