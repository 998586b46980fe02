"""Network streams, through OpenCV's FFmpeg: frames at the camera's own pace, none of them older than it looks."""

from __future__ import annotations

import logging
import socket
import time
from dataclasses import replace
from urllib.parse import SplitResult, urlsplit

from ...devices.errors import CameraUnavailable, UsageError, need, reason_of, system_reason
from ..results import Frame
from . import PORTS
from ._capture import LiveCapture

log = logging.getLogger(__name__)

OPEN_MS, READ_MS = 5000, 1000
"""FFmpeg's own limits are 30 s: a stream that hangs would be noticed that late."""
CONNECT_S = 0.3
"""What connecting to a camera that was lost may take, or thrice what it took before: FFmpeg would wait 5 s for one that
is away, and meet its return late."""
THREADS = 1
"""Of the decoder. Each one more would hold a frame back, 33 ms at 30 frames/s, and OpenCV takes one a core."""
LONGEST_BACKLOG = 300
"""Frames that may have piled up while the stream was opened, at most."""
LATEST_S = 5.0
"""A stream that is later is given up and opened again: that begins with what the camera sees now."""
DRIFT = 0.05
"""How fast the least delay that was seen is forgotten, in seconds a second: a jump of the camera's clock wears off."""


class StreamSource(LiveCapture):
    """A stream by its address.

    FFmpeg looks at about a second of a stream to open it, and the network may hold frames back. Those that
    piled up at the opening are left out. Of RTSP, whose frames have times of their own, `captured_ns` of a frame that
    came later than others is earlier by that: it is as old as it is.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        try:
            self._parts, port = urlsplit(uri), urlsplit(uri).port
        except ValueError as error:
            raise UsageError(f"--source {self.uri}: {reason_of(error)}") from error
        if not self._parts.hostname or port == 0:
            raise UsageError(f"--source {self.uri}: expected {self._parts.scheme}://USER:PASSWORD@HOST:PORT/PATH")
        self._lateness = Lateness()
        self._was_open = False
        self._connects_s: float | None = None

    def open(self) -> None:
        cv2 = need("cv2", "cpu")
        if self._connects_s is not None and self._connect(max(CONNECT_S, 3 * self._connects_s)) is None:
            raise CameraUnavailable(f"--source {self.uri}: still away")
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_MS]
        self._capture = cv2.VideoCapture(self._given, cv2.CAP_FFMPEG, [*limits, cv2.CAP_PROP_N_THREADS, THREADS])
        if not self._capture.isOpened():
            self.close()
            # Only once, for it takes a moment: a camera that was there is opened again as soon as it can be.
            hint = "still away" if self._was_open else f"cannot be opened; {trouble(self._parts)}"
            raise CameraUnavailable(f"--source {self.uri}: {hint}")
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        if not self._was_open:  # one that is reached through a proxy cannot be connected to, and is not tried so again
            self._was_open, self._connects_s = True, self._connect(1.0)
        self._lateness = Lateness()
        self._drain()

    def read(self) -> Frame | None:
        began_s = time.perf_counter()
        frame = super().read()
        if time.perf_counter() - began_s > READ_MS / 1e3:
            return None  # given up, FFmpeg hands out the old pictures that its decoder still holds
        if frame is None or not self._parts.scheme.startswith("rtsp"):
            return frame
        import cv2

        late_ns = self._lateness.ns(frame.captured_ns, self._capture.get(cv2.CAP_PROP_POS_MSEC))
        if late_ns > LATEST_S * 1e9:
            log.warning("%s: frames come %.0f s late", self.uri, late_ns / 1e9)
            return None
        return replace(frame, captured_ns=frame.captured_ns - late_ns)

    def another(self) -> StreamSource:
        fresh = super().another()
        fresh._was_open, fresh._connects_s = self._was_open, self._connects_s
        return fresh

    def _connect(self, timeout_s: float) -> float | None:
        """Seconds until its server took a connection, None where it did not."""
        began_s = time.perf_counter()
        try:
            socket.create_connection(_address(self._parts), timeout_s).close()
        except OSError:
            return None
        return time.perf_counter() - began_s

    def _drain(self) -> None:
        """Up to the first frame that has to be waited for."""
        for _ in range(LONGEST_BACKLOG if 0 < self.fps <= 240 else 0):
            began_s = time.perf_counter()
            if not self._capture.grab() or time.perf_counter() - began_s > 0.5 / self.fps:
                return


class Lateness:
    """How much later than the quickest ones a frame came, by its own time; 0 where that does not go on."""

    def __init__(self) -> None:
        self._least_ns: float | None = None
        self._before_ns = 0
        self._before_ms = -1.0

    def ns(self, now_ns: int, stream_ms: float) -> int:
        """Nanoseconds, 0 or more; `stream_ms` is the frame's time in the stream."""
        delay_ns = now_ns - stream_ms * 1e6
        if self._least_ns is None or stream_ms <= self._before_ms:
            self._least_ns = delay_ns
        self._least_ns = min(delay_ns, self._least_ns + DRIFT * (now_ns - self._before_ns))
        self._before_ns, self._before_ms = now_ns, stream_ms
        return round(delay_ns - self._least_ns)


def _address(parts: SplitResult) -> tuple[str, int]:
    assert parts.hostname
    return parts.hostname, parts.port or PORTS[parts.scheme]


def trouble(parts: SplitResult) -> str:
    """What keeps a stream from being opened, as its server says when it is asked without a password."""
    host, port = _address(parts)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with socket.create_connection((host, port), timeout=2) as asked:
            if parts.scheme in ("rtsps", "https"):
                return f"{host}:{port} is there; check the path, the user and the password"
            if parts.scheme == "rtsp":
                request = f"DESCRIBE rtsp://{host}:{port}{path} RTSP/1.0\r\nCSeq: 1\r\n\r\n"
            else:
                request = f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n"
            asked.sendall(request.encode())
            words = asked.recv(64).split()
    except OSError as error:
        return f"{host}:{port}: {system_reason(error)}; see that it is switched on, and its address"
    status = words[1].decode("ascii", "replace") if len(words) > 1 else "nothing"
    if status in ("401", "403") and parts.username is None:
        return f"{host} asks for a user and a password; expected {parts.scheme}://USER:PASSWORD@{host}/PATH"
    if status in ("401", "403"):
        return f"{host} does not take this user and password, or has nothing at {path}"
    if status == "404":
        return f"{host} has nothing at {path}; its manual tells the path of its stream"
    return f"{host} answers {status} at {path}, and OpenCV reads no video from it"
