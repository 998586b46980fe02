"""Streams from a real RTSP server and a real HTTP server on the loopback: pulled, hung, still, refused."""

from __future__ import annotations

import logging
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from helmsight.devices.errors import CameraUnavailable, UsageError
from helmsight.runtime.capture import Capture
from helmsight.runtime.meter import Meter
from helmsight.runtime.pipeline_options import PipelineOptions
from helmsight.runtime.results import Frame
from helmsight.runtime.sources import open_source
from helmsight.runtime.sources.stream import Lateness, StreamSource

SERVER = Path(__file__).parents[1] / "rtsp_server.py"
PYTHON = "/usr/bin/python3"
"""The system's, which has Debian's GStreamer."""
USER, PASSWORD = "me", "se/cret@x"
LONG_S = 60.0
MS = 1_000_000


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Rtsp:
    """The server's process, which tests stop, kill and start again on its port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None

    def start(self, *login: str) -> None:
        command = [PYTHON, str(SERVER), str(self.port), *login]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout
        assert self.process.stderr
        if self.process.stdout.readline() != "listening\n":
            said = self.process.stderr.read().strip().splitlines()[-1:]
            pytest.skip(f"no RTSP server: apt-get install gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-ugly: {said}")

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.communicate()

    def uri(self, path: str, login: str = "") -> str:
        return f"rtsp://{login}127.0.0.1:{self.port}{path}"


@pytest.fixture
def server() -> Iterator[Rtsp]:
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} for the RTSP server")
    made = Rtsp()
    yield made
    made.kill()


class Watched:
    """A capture of a stream, its frames counted."""

    def __init__(self, uri: str, options: PipelineOptions | None = None) -> None:
        self.meter, self.over, self.frames = Meter(), threading.Event(), 0
        source = open_source(uri)
        self.capture = Capture(source, options or PipelineOptions(), self.meter, self._count, self.over.set)

    def _count(self, _: Frame) -> None:
        self.frames += 1

    def __enter__(self) -> Watched:
        self.capture.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.capture.stop()
        self.capture.join(LONG_S)

    def until(self, true: Callable[[], bool]) -> None:
        give_up = time.monotonic() + LONG_S
        while not true():
            assert time.monotonic() < give_up, self.meter.source
            self.capture.check()
            time.sleep(0.02)

    def until_it_is(self, state: str) -> None:
        self.until(lambda: self.meter.source.name == state)


def test_an_rtsp_camera_is_pulled_rebooted_and_hangs(server: Rtsp, caplog: pytest.LogCaptureFixture) -> None:
    server.start()
    with caplog.at_level(logging.INFO), Watched(server.uri("/ball")) as watched:
        watched.until(lambda: watched.frames > 10)
        server.kill()
        watched.until_it_is("lost")
        watched.until(lambda: "still away" in caplog.text)
        server.start()
        seen = watched.frames
        watched.until(lambda: watched.frames > seen)
        assert watched.meter.source.name == "open"
        server.signal(signal.SIGSTOP)  # it hangs: connected, and silent
        watched.until(lambda: watched.meter.source.name != "open")
        server.signal(signal.SIGCONT)
        seen = watched.frames
        watched.until(lambda: watched.frames > seen + 10 and watched.meter.source.name == "open")
        assert watched.meter.reopened >= 1
    assert watched.capture.error is None


def test_a_stream_that_is_far_behind_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    """By a stand-in whose own time says that the third picture is old."""

    class Behind:
        times_ms = [10_000.0, 20_000.0, 20_001.0]  # noqa: RUF012

        def read(self) -> tuple[bool, np.ndarray]:
            return True, np.zeros((4, 4, 3), np.uint8)

        def get(self, _: int) -> float:
            return self.times_ms.pop(0)

        def release(self) -> None:
            return

    source = open_source("rtsp://127.0.0.1/x")
    source._capture = Behind()
    assert [source.read() is None for _ in range(2)] == [False, False]
    source._lateness._least_ns -= 6e9  # as if the camera had been read at once six seconds ago
    assert source.read() is None
    assert "rtsp://127.0.0.1/x: frames come 6 s late" in caplog.text


def test_an_rtsp_camera_that_is_not_there_yet_is_waited_for(server: Rtsp, caplog: pytest.LogCaptureFixture) -> None:
    with Watched(server.uri("/ball"), PipelineOptions(wait_for_source=True)) as watched:
        watched.until_it_is("lost")
        server.start()
        watched.until(lambda: watched.frames > 3)
    assert "connection refused; see that it is switched on, and its address; waiting for it" in caplog.text


def test_a_picture_that_stays_the_same_is_a_frozen_camera(server: Rtsp) -> None:
    server.start()
    with Watched(server.uri("/still")) as watched:
        watched.until_it_is("frozen")
    assert watched.meter.repeated > 10


def test_frames_that_piled_up_at_the_opening_are_left_out(server: Rtsp) -> None:
    """The first frames come at the camera's pace, not at once: nine gaps of 33 ms, less what scheduling does to one."""
    server.start()
    with open_source(server.uri("/ball")) as source:
        first, *_, last = (source.read() for _ in range(10))
    assert first
    assert last
    assert (last.captured_ns - first.captured_ns) / MS > 0.5 * 9 * 33


def test_no_frame_is_held_back_in_a_decoder_of_many_threads(server: Rtsp) -> None:
    server.start()
    with open_source(server.uri("/ball")) as source:
        assert isinstance(source, StreamSource)
        assert source._capture.get(cv2.CAP_PROP_N_THREADS) == 1


@pytest.mark.parametrize(
    ("login", "path", "message"),
    [
        ("", "/ball", "asks for a user and a password; expected rtsp://USER:PASSWORD@127.0.0.1/PATH"),
        ("me:wrong@", "/ball", "does not take this user and password, or has nothing at /ball"),
    ],
)
def test_an_rtsp_camera_that_refuses(server: Rtsp, login: str, path: str, message: str) -> None:
    server.start(USER, PASSWORD)
    with pytest.raises(CameraUnavailable, match=message) as caught:
        open_source(server.uri(path, login)).open()
    assert "wrong" not in str(caught.value)


def test_an_rtsp_camera_without_that_path(server: Rtsp) -> None:
    server.start()
    with pytest.raises(CameraUnavailable, match="has nothing at /none; its manual tells the path"):
        open_source(server.uri("/none")).open()


def test_a_password_is_nowhere(server: Rtsp, tmp_path: Path) -> None:
    """Not in the report, not in the log of results, not on stderr, in no encoding; whether it is right or not."""
    server.start(USER, PASSWORD)
    log = tmp_path / "log.jsonl"
    for login, code in ((f"{USER}:se%2Fcret%40x@", 0), (f"{USER}:se%2Fcretly@", 6)):
        done = subprocess.run(
            [sys.executable, "-m", "helmsight", "camera", "face", "--source", server.uri("/ball", login),
             "--max-frames", "5", "--log", str(log), "--json"],
            capture_output=True, text=True, timeout=LONG_S,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        said = done.stdout + done.stderr + log.read_text()
        assert not re.search("cret", said)
        assert f"rtsp://{USER}:***@127.0.0.1" in said
    assert len(done.stderr.splitlines()) == 1, done.stderr


class Jpegs(BaseHTTPRequestHandler):
    """Motion JPEG as webcams serve it, of noise."""

    def do_GET(self) -> None:
        if self.path != "/video":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        noise = np.random.default_rng(0)
        try:
            while True:
                picture = cv2.imencode(".jpg", noise.integers(0, 256, (48, 64, 3), np.uint8))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(head.encode() + picture + b"\r\n")
                time.sleep(0.03)
        except OSError:
            return  # the client has gone

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def http() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Jpegs) as made:
        made.daemon_threads = True
        made.handle_error = lambda *_: None  # a client that goes is none
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


def test_a_camera_over_http(http: str) -> None:
    with open_source(f"{http}/video") as source:
        frames = [source.read() for _ in range(5)]
    assert [frame and frame.image.shape for frame in frames] == [(48, 64, 3)] * 5
    with pytest.raises(CameraUnavailable, match="has nothing at /none"):
        open_source(f"{http}/none").open()


def test_a_host_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(CameraUnavailable, match=f"127.0.0.1:{port}: timed out; see that it is switched on"):
            open_source(f"rtsp://127.0.0.1:{port}/x").open()


def test_a_camera_that_was_lost_is_waited_for_without_ffmpeg(http: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(f"{http}/video")
    with source:
        assert source.read() is not None
    fresh = source.another()
    assert fresh is not None
    fresh.open()
    fresh.close()
    with socket.socket() as full, socket.socket() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting.connect(full.getsockname())  # what comes after it gets no answer, as from a camera without a network
        fresh._parts = urlsplit(f"http://127.0.0.1:{full.getsockname()[1]}/video")
        monkeypatch.setattr("cv2.VideoCapture", lambda *_: pytest.fail("FFmpeg would wait for seconds"))
        with pytest.raises(CameraUnavailable, match="still away"):
            fresh.open()


@pytest.mark.parametrize("uri", ["rtsp://", "rtsp://u:secret@:554/x", "rtsp://u:secret@host:99999/x", "http://[::1/x"])
def test_an_address_that_is_none(uri: str) -> None:
    with pytest.raises(UsageError, match="--source ") as caught:
        open_source(uri)
    assert "secret" not in str(caught.value)


def test_a_frame_that_comes_late_is_as_old_as_it_is() -> None:
    late = Lateness()
    times_ms = [(0, 0), (33, 33), (566, 66), (567, 100), (568, 133), (569, 166), (733, 733)]
    told = [late.ns(came * MS, stream) / MS for came, stream in times_ms]
    assert told == pytest.approx([0, 0, 500, 467, 435, 403, 0], abs=60), "all but what is forgotten of the least delay"
    assert told[2] > 450
    assert late.ns(5_733 * MS, 4_733) / MS == pytest.approx(750, abs=1), "a jump of 1 s, 5 s later"


@pytest.mark.parametrize("stream_ms", [0.0, -1.0])
def test_a_stream_without_times_is_as_old_as_it_comes(stream_ms: float) -> None:
    late = Lateness()
    assert [late.ns(i * 33 * MS, stream_ms) for i in range(100)] == [0] * 100
