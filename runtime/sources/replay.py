"""A recording as a source: the same frames, with the indices that they had."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from ...devices.errors import BadArtefact, CameraUnavailable, need
from ..recording import Recording, open_recording
from ..results import Frame, Image
from . import CameraGeometry
from ._capture import CaptureSource

log = logging.getLogger(__name__)


class ReplaySource(CaptureSource):
    """`replay://FOLDER`: every frame that was recorded, in the order of capture, as fast as the models go."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.recording: Recording = open_recording(Path(uri.removeprefix("replay://")))
        self.fps = self.recording.fps
        self.geometry: CameraGeometry | None = self.recording.geometry
        indices = self.recording.indices
        self._order = sorted(range(len(indices)), key=lambda place: indices[place])
        self._given = self._decoded = 0
        self._waiting: dict[int, Image] = {}

    def open(self) -> None:
        cv2 = need("cv2", "cpu")
        if not self._order:
            raise CameraUnavailable(f"--source {self.uri}: the recording has no frames")
        self._capture = cv2.VideoCapture(str(self.recording.video), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise BadArtefact(f"--source {self.uri}: cannot read {self.recording.video} as a video; is it whole?")
        self._given = self._decoded = 0
        self._waiting.clear()

    def read(self) -> Frame | None:
        if self._given == len(self._order):
            return None
        place = self._order[self._given]
        image = self._image(place)
        if image is None:
            log.warning("%s: %d of %d frames are readable", self.uri, self._given, len(self._order))
            return None
        self._given += 1
        return Frame(image, self.recording.indices[place], time.perf_counter_ns())

    def _image(self, place: int) -> Image | None:
        """The video's frame number `place`; those before it that are not due yet wait.

        A slower model's frame was written late, after frames that are newer.
        """
        while place not in self._waiting:
            ok, image = self._capture.read()
            if not ok:
                return None
            self._waiting[self._decoded] = image
            self._decoded += 1
        return self._waiting.pop(place)
