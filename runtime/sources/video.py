"""Video files, through OpenCV."""

from __future__ import annotations

import logging
from pathlib import Path

from ...devices.errors import CameraUnavailable, need
from ..results import Frame
from ._capture import CaptureSource

log = logging.getLogger(__name__)


class VideoSource(CaptureSource):
    """Every frame of a video file, as fast as it is asked for."""

    def __init__(self, uri: str, path: Path | None = None) -> None:
        super().__init__(uri)
        self._path = path or Path(uri)
        self._promised = 0

    def open(self) -> None:
        cv2 = need("cv2", "cpu")
        path = self._path
        if path.is_dir():
            raise CameraUnavailable(f"--source {self.uri}: a folder; for its pictures write '{path}/*.jpg'")
        if not path.is_file():
            raise CameraUnavailable(
                f"--source {self.uri}: no such file; expected a video, a glob of pictures, a camera index or a URI"
            )
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise CameraUnavailable(
                f"--source {self.uri}: {path.stat().st_size} bytes that OpenCV cannot read as a video; "
                "expected a whole .mp4, .mkv or .avi file"
            )
        self._index = 0
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self._promised = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def read(self) -> Frame | None:
        frame = super().read()
        if frame is None and not self._index:
            raise CameraUnavailable(f"--source {self.uri}: a video with no frame that decodes; record it again")
        if frame is None and self._index < self._promised:
            log.warning("%s ended after %d frames, its header promises %d", self.uri, self._index, self._promised)
        return frame
