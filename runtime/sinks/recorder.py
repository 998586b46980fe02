"""A video file of the annotated pictures, encoded in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ...devices.errors import UsageError, need
from ..results import Image, Result
from ..sources import Source
from ..tasks import Letterbox
from ._threaded import ThreadedSink
from ._writable import check_writable
from .overlay import Overlay

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
QUEUED = 8
"""Results that may wait for the encoder: 7 MB at 640x480, a quarter of a second at 30 frames/s."""
QUEUED_OF_FILE = 2
"""Of a file, which waits for the encoder: so that neither is held up by a frame that takes longer."""


class Recorder(ThreadedSink[tuple[int, Callable[[], Image]]]):
    """Records results as a video of a constant rate.

    From a file every result is one frame. From a live source the file keeps the clock: a picture is repeated until
    the next result came, or left out, so that a second of video is a second. Results that were not recorded, since the
    encoder was too slow or `error` ended it, are counted in `dropped`. The file is opened with the first result, so
    that a camera that fails does not cost an earlier recording.
    """

    def __init__(self, path: Path, overlay: Overlay, source: Source) -> None:
        need("cv2", "cpu")
        if path.suffix.lower() not in CODECS:
            raise UsageError(f"--record {path}: {path.suffix or 'no suffix'} is unknown; expected {', '.join(CODECS)}")
        check_writable("--record", path)
        self.path = path
        self.frames = 0
        self._overlay = overlay
        self._source = source
        self._fps = 30.0
        self._writer: Any = None
        self._first_ns = 0
        self._shown: Image | None = None
        super().__init__(f"--record {path}", QUEUED if source.live else QUEUED_OF_FILE, source.live)

    def _item(self, result: Result) -> tuple[int, Callable[[], Image]]:
        """Of a file the picture itself: the caller has time to draw it, and the encoder's thread is the slowest."""
        draw = partial(self._overlay, result, time.perf_counter_ns())
        if self._live:
            return result.made_ns, draw
        image = draw()
        return result.made_ns, lambda: image

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.release()

    def _write(self, item: tuple[int, Callable[[], Image]]) -> None:
        made_ns, draw = item
        image = draw()
        if self._writer is None:
            self._writer = self._open(image)
            self._first_ns = made_ns
            self._fit = Letterbox(image.shape[:2])
        image = self._fit(image)  # OpenCV's writer drops a picture of another size without a word
        for at in range(due := self._due(made_ns)):
            self._writer.write(image if at == due - 1 or self._shown is None else self._shown)
            self.frames += 1
        self._shown = image

    def _due(self, made_ns: int) -> int:
        """How many frames the file lacks until the result that came then."""
        if not self._live:
            return 1
        return max(0, round((made_ns - self._first_ns) / 1e9 * self._fps) + 1 - self.frames)

    def _open(self, image: Image) -> Any:
        import cv2

        if 1 <= self._source.fps <= 240:
            self._fps = self._source.fps
        height, width = image.shape[:2]
        codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        writer = cv2.VideoWriter(str(self.path), codec, self._fps, (width, height))
        if not writer.isOpened():
            raise OSError(f"OpenCV cannot write {self.path} ({width}x{height}, {self._fps:g} frames/s)")
        return writer
