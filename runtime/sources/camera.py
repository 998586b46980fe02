"""Cameras and network streams, through OpenCV: frames at the camera's own pace."""

from __future__ import annotations

from pathlib import Path

from ...devices.errors import CameraUnavailable, need
from . import without_password
from ._capture import CaptureSource


class CameraSource(CaptureSource):
    """A camera by index or device file, or a stream by address. `uri` has no password in it: it is safe to log."""

    live = True
    can_freeze = True

    def __init__(self, uri: str) -> None:
        super().__init__(without_password(uri))
        self._given = uri
        self._address: str | int = int(uri) if uri.isdigit() else uri

    def open(self) -> None:
        cv2 = need("cv2", "cpu")
        if isinstance(self._address, str) and "://" in self._address:
            self._capture = cv2.VideoCapture(self._address, cv2.CAP_FFMPEG, _timeouts())
        else:
            self._capture = cv2.VideoCapture(self._address)
        if not self._capture.isOpened():
            self.close()
            raise CameraUnavailable(f"--source {self.uri}: cannot be opened; {self._hint()}")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))

    def another(self) -> CameraSource:
        fresh = CameraSource(self._given)
        fresh._index = self._index + 1
        return fresh

    def _hint(self) -> str:
        if isinstance(self._address, str) and "://" in self._address:
            return "check the address, the user and the password"
        cameras = sorted(str(p) for p in Path("/dev").glob("video*"))
        return f"cameras here: {', '.join(cameras) or 'none; a file, pictures or sample://corridor serve too'}"


def _timeouts() -> list[int]:
    """FFmpeg's own limits are 30 s: a stream that hangs would be noticed that late."""
    import cv2

    return [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 1000]
