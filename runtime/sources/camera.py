"""Cameras of this computer, through OpenCV: `0`, `/dev/video0?size=1280x720&fps=30&format=MJPG`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ...devices.errors import CameraUnavailable, UsageError, need
from . import _v4l2
from ._address import Options
from ._capture import LiveCapture

SAME_RATE = 0.05
"""A camera of 29.97 frames a second has 30."""


class CameraSource(LiveCapture):
    """A camera by index or device file.

    With `size`, `fps` or `format` it gives that, or `open` raises UsageError with what it has instead.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        name, _, query = uri.partition("?")
        self._device: str | int = int(name) if name.isdigit() else name
        self._path = Path(f"/dev/video{name}" if name.isdigit() else name)
        options = Options(uri, query, {"size", "fps", "format"})
        self._hw = options.size("size") if "size" in options else None
        self._fps = options.number("fps", 30, 1, 1000) if "fps" in options else 0.0
        self._format = options.text("format").upper()
        if "format" in options and not (len(self._format) == 4 and self._format.isascii()):
            raise options.error(f"format is {options.text('format')!r}; expected four characters, such as MJPG or YUYV")

    def open(self) -> None:
        cv2 = need("cv2", "cpu")
        # By name, or FFmpeg and GStreamer come first, which take no such settings.
        kind = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
        self._capture = cv2.VideoCapture(self._device, kind)
        if not self._capture.isOpened():
            self.close()
            raise CameraUnavailable(f"--source {self.uri}: cannot be opened; {_hint(self._path)}")
        try:
            self._set_up(cv2)
        except UsageError:
            self.close()
            raise
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))

    def _set_up(self, cv2: Any) -> None:
        """The format first: sizes and rates depend on it."""
        capture = self._capture
        if self._format:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self._format))
        if self._hw:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._hw[1])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._hw[0])
        if self._fps:
            capture.set(cv2.CAP_PROP_FPS, self._fps)
        code = int(capture.get(cv2.CAP_PROP_FOURCC))
        format_ = code.to_bytes(4, "little", signed=code < 0).decode("ascii", "replace")
        height, width = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        if self._format and format_ != self._format:
            raise self._lacks(f"format {self._format}", format_)
        if self._hw and (height, width) != self._hw:
            raise self._lacks(f"size {self._hw[1]}x{self._hw[0]}", f"{width}x{height}")
        if self._fps and abs(fps - self._fps) > SAME_RATE * self._fps:
            raise self._lacks(f"rate {self._fps:g} frames/s", f"{fps:g}")

    def _lacks(self, wanted: str, given: str) -> UsageError:
        modes = _v4l2.modes(self._path)
        has = "; ".join(str(mode) for mode in modes[:12]) or "what v4l2-ctl --list-formats-ext says"
        return UsageError(f"--source {self.uri}: the camera has no {wanted} and offers {given}; it has {has}")


def _hint(path: Path) -> str:
    if path.exists():
        if not os.access(path, os.R_OK | os.W_OK):
            return f"no permission for {path}; add yourself to its group: sudo usermod -aG video $USER"
        users = _v4l2.users(path)
        return f"{path} is in use by {users}; end that first" if users else f"{path} gives no pictures"
    cameras = sorted(str(p) for p in Path("/dev").glob("video*"))
    return (
        f"cameras here: {', '.join(cameras) or 'none; a file, pictures, test://pattern or sample://corridor serve too'}"
    )
