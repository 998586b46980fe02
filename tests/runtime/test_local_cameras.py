"""Cameras of this computer: what is asked of OpenCV and the kernel, which stand-ins answer as a webcam does."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from helmsight.devices.errors import CameraUnavailable, DeviceMismatch, UsageError
from helmsight.runtime.sources import _v4l2, open_source
from helmsight.runtime.sources._v4l2 import Mode, modes, users
from helmsight.runtime.sources.csi import CsiSource, _has_element

SIZES = {"MJPG": {(640, 480): (30, 15), (1280, 720): (30,)}, "YUYV": {(640, 480): (30,)}}
KNOWN = [Mode("MJPG", 640, 480, (30, 15)), Mode("MJPG", 1280, 720, (30,)), Mode("YUYV", 640, 480, (30,))]


def four(code: int) -> str:
    return code.to_bytes(4, "little").decode()


class Webcam:
    """A capture of OpenCV on a camera with SIZES: what it lacks it replaces, as V4L2 drivers do."""

    def __init__(self, address: object, *_: object) -> None:
        self.address, self.format, self.size, self.fps, self.opened = address, "YUYV", [640, 480], 30.0, True

    def isOpened(self) -> bool:
        return self.opened

    def set(self, what: int, value: float) -> bool:
        if what == cv2.CAP_PROP_FOURCC and four(int(value)) in SIZES:
            self.format = four(int(value))
        elif what == cv2.CAP_PROP_FRAME_WIDTH:
            self.size[0] = int(value)
        elif what == cv2.CAP_PROP_FRAME_HEIGHT:
            self.size[1] = int(value)
        elif what == cv2.CAP_PROP_FPS and value in SIZES[self.format].get(tuple(self.size), ()):
            self.fps = value
        return True

    def get(self, what: int) -> float:
        if tuple(self.size) not in SIZES[self.format]:
            self.size = [640, 480]
        values = {
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*self.format), cv2.CAP_PROP_FRAME_WIDTH: self.size[0],
            cv2.CAP_PROP_FRAME_HEIGHT: self.size[1], cv2.CAP_PROP_FPS: self.fps,
        }  # fmt: skip
        return float(values[what])

    def read(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((self.size[1], self.size[0], 3), np.uint8)

    def release(self) -> None:
        self.opened = False


@pytest.fixture
def webcam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Webcam)
    monkeypatch.setattr(_v4l2, "modes", lambda _: KNOWN)


@pytest.mark.usefixtures("webcam")
@pytest.mark.parametrize("name", ["0", "/dev/video0"])
def test_a_size_a_rate_and_a_format(name: str) -> None:
    with open_source(f"{name}?size=1280x720&fps=30&format=mjpg") as source:
        frame = source.read()
        assert source._capture.address == (0 if name == "0" else name)
        assert source._capture.format == "MJPG"
        assert source.fps == 30
    assert frame
    assert frame.image.shape == (720, 1280, 3)
    assert source.can_freeze


@pytest.mark.usefixtures("webcam")
@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "size=1920x1080",
            "the camera has no size 1920x1080 and offers 640x480; it has MJPG 640x480 at 30, 15",
        ),
        ("size=1280x720", "the camera has no size 1280x720 and offers 640x480"),
        ("format=H264", "the camera has no format H264 and offers YUYV; it has MJPG 640x480"),
        ("fps=25", "the camera has no rate 25 frames/s and offers 30; it has"),
        ("format=MJPEG", "format is 'MJPEG'; expected four characters, such as MJPG or YUYV"),
        ("width=640", "width is unknown; expected format, fps, size"),
        ("fps=inf", "fps is 'inf'; expected a number from 1 to 1000"),
    ],
)
def test_what_the_camera_lacks_is_refused_with_what_it_has(query: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_source(f"/dev/video0?{query}").open()
    assert f"--source /dev/video0?{query}: {message}" in str(caught.value)


def test_the_kernel_tells_what_a_camera_has(tmp_path: Path) -> None:
    """Its answers as in linux/videodev2.h, packed here by offsets and not by the code's own layouts."""
    formats = list(SIZES)

    def ioctl(_: int, request: int, record: bytes) -> bytes:
        answer = bytearray(record)
        index = struct.unpack_from("<I", record)[0]
        try:
            if request == 0xC0405602:  # VIDIOC_ENUM_FMT
                assert struct.unpack_from("<I", record, 4) == (1,)
                answer[44:48] = formats[index].encode()
                return bytes(answer)
            sizes = SIZES[record[4:8].decode()]
            if request == 0xC02C564A:  # VIDIOC_ENUM_FRAMESIZES
                struct.pack_into("<3I", answer, 8, 1, *list(sizes)[index])
            else:
                assert request == 0xC034564B  # VIDIOC_ENUM_FRAMEINTERVALS
                rates = sizes[struct.unpack_from("<2I", record, 8)]
                struct.pack_into("<3I", answer, 16, 1, 1, rates[index])
        except IndexError:
            raise OSError(errno.EINVAL, "no more") from None
        return bytes(answer)

    device = tmp_path / "video0"
    device.touch()
    assert modes(device, ioctl) == KNOWN
    assert str(KNOWN[0]) == "MJPG 640x480 at 30, 15"
    assert modes(device) == [], "a file is no camera"
    assert modes(tmp_path / "none") == []


def test_a_range_of_sizes_counts_as_its_largest(tmp_path: Path) -> None:
    def ioctl(_: int, request: int, record: bytes) -> bytes:
        answer = bytearray(record)
        if struct.unpack_from("<I", record)[0] or request == 0xC034564B:
            raise OSError(errno.EINVAL, "no more")
        if request == 0xC0405602:
            answer[44:48] = b"YUYV"
        else:
            struct.pack_into("<7I", answer, 8, 3, 32, 1920, 2, 32, 1080, 2)
        return bytes(answer)

    (tmp_path / "video0").touch()
    assert modes(tmp_path / "video0", ioctl) == [Mode("YUYV", 1920, 1080)]


def test_two_commands_on_one_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "video0"
    device.touch()
    hold = f"import sys; held = open({str(device)!r}, 'rb'); print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with other:
        assert other.stdin
        assert other.stdout
        other.stdout.readline()
        assert f"({other.pid})" in users(device)
        monkeypatch.setattr(Webcam, "isOpened", lambda _: False)
        monkeypatch.setattr(cv2, "VideoCapture", Webcam)
        camera = open_source("/dev/video0")
        camera._path = device
        with pytest.raises(CameraUnavailable, match=rf"is in use by .*\({other.pid}\); end that first"):
            camera.open()
        other.stdin.close()
    assert str(other.pid) not in users(device)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open any camera")
def test_a_camera_without_permission(tmp_path: Path) -> None:
    camera = open_source("/dev/video0")
    camera._path = tmp_path / "video0"
    camera._path.touch(mode=0)
    with pytest.raises(CameraUnavailable, match=r"no permission for .*; add yourself to its group"):
        camera.open()


def test_a_csi_camera_needs_gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  Video I/O:\n    GStreamer:   NO\n")
    with pytest.raises(DeviceMismatch, match=r"csi://0: OpenCV .* here has no GStreamer.*use JetPack's"):
        open_source("csi://0").open()


def test_a_csi_camera_needs_jetpacks_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a real GStreamer, where there is one."""
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    GStreamer:   YES (1.20.3)\n")
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: pytest.fail("OpenCV would wait for ever"))
    try:
        ctypes.CDLL("libgstreamer-1.0.so.0")
    except OSError:
        pytest.skip("no GStreamer")
    if _has_element("nvarguscamerasrc"):
        pytest.skip("a Jetson")
    assert _has_element("fakesink")
    with pytest.raises(DeviceMismatch, match=r"csi://0: GStreamer here has no nvarguscamerasrc, .*--runtime nvidia"):
        open_source("csi://0").open()


def test_a_gstreamer_that_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    GStreamer:   YES (1.20.3)\n")
    broken = SimpleNamespace(gst_init_check=lambda *_: 0)
    monkeypatch.setattr("helmsight.runtime.sources.csi.ctypes", SimpleNamespace(CDLL=lambda _: broken))
    with pytest.raises(DeviceMismatch, match=r"GStreamer here does not start; see what gst-inspect-1\.0 says"):
        open_source("csi://0").open()


def test_a_csi_camera_through_gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    GStreamer:   YES (1.20.3)\n")
    monkeypatch.setattr(cv2, "VideoCapture", Webcam)
    monkeypatch.setattr("helmsight.runtime.sources.csi._has_element", lambda _: True)
    with open_source("csi://1?size=1920x1080&fps=60&flip=2") as source:
        assert isinstance(source, CsiSource)
        assert source._capture.address == source.pipeline
        assert source.fps == 60
        assert source.read()
    assert "sensor-id=1 ! video/x-raw(memory:NVMM),width=1920,height=1080,framerate=60/1 ! " in source.pipeline
    assert "flip-method=2" in source.pipeline
    assert source.pipeline.endswith("appsink drop=true max-buffers=1 sync=false")
    monkeypatch.setattr(Webcam, "isOpened", lambda _: False)
    with pytest.raises(CameraUnavailable, match="sensor 0 gives no pictures of 1280x720; see that it is connected"):
        open_source("csi://0").open()


@pytest.mark.parametrize("uri", ["csi://", "csi://front", "csi://0/x", "csi://0?flip=8", "csi://0?size=big"])
def test_a_csi_address_that_is_none(uri: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        open_source(uri)
