"""Cameras at a Jetson's CSI connector, through GStreamer: `csi://0?size=1280x720&fps=30&flip=0`."""

from __future__ import annotations

import ctypes
import re
from urllib.parse import urlsplit

from ...devices.errors import CameraUnavailable, DeviceMismatch, UsageError, need
from ._address import Options
from ._capture import LiveCapture


class CsiSource(LiveCapture):
    """A sensor by its number. The image processor of the board scales and turns (`flip` as nvvidconv's flip-method)."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        parts = urlsplit(uri)
        if not parts.netloc.isdigit() or parts.path.strip("/"):
            raise UsageError(f"--source {uri}: expected the number of a sensor, such as csi://0")
        options = Options(uri, parts.query, {"size", "fps", "flip"})
        self._hw = options.size("size", "1280x720")
        self.fps = float(options.whole("fps", 30, 1, 240))
        self._sensor, self._flip = int(parts.netloc), options.whole("flip", 0, 0, 7)

    @property
    def pipeline(self) -> str:
        """What GStreamer is given; the sink holds one frame, the newest."""
        height, width = self._hw
        return (
            f"nvarguscamerasrc sensor-id={self._sensor} ! "
            f"video/x-raw(memory:NVMM),width={width},height={height},framerate={self.fps:.0f}/1 ! "
            f"nvvidconv flip-method={self._flip} ! video/x-raw,format=BGRx ! "
            "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
        )

    def open(self) -> None:
        cv2 = need("cv2", "cpu")
        if not re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
            raise DeviceMismatch(
                f"--source {self.uri}: OpenCV {cv2.__version__} here has no GStreamer, as all of pip's; on a Jetson "
                "use JetPack's, in an environment of python3 -m venv --system-site-packages without opencv-python"
            )
        if not _has_element("nvarguscamerasrc"):  # OpenCV would wait for its pictures for ever
            raise DeviceMismatch(
                f"--source {self.uri}: GStreamer here has no nvarguscamerasrc, which JetPack installs "
                "(nvidia-l4t-gstreamer); a container needs --runtime nvidia; a USB camera is --source 0"
            )
        self._capture = cv2.VideoCapture(self.pipeline, cv2.CAP_GSTREAMER)
        if not self._capture.isOpened():
            self.close()
            raise CameraUnavailable(
                f"--source {self.uri}: sensor {self._sensor} gives no pictures of {self._hw[1]}x{self._hw[0]}; see "
                "that it is connected and not in use, and: sudo systemctl restart nvargus-daemon"
            )


def _has_element(name: str) -> bool:
    """Whether GStreamer has this plugin; True where that cannot be asked."""
    try:
        gst = ctypes.CDLL("libgstreamer-1.0.so.0")
    except OSError:
        return True
    if not gst.gst_init_check(None, None, None):  # gst_init would end the process
        raise DeviceMismatch("--source csi://: GStreamer here does not start; see what gst-inspect-1.0 says")
    gst.gst_element_factory_find.restype = ctypes.c_void_p
    return gst.gst_element_factory_find(name.encode()) is not None
