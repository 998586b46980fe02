"""Pictures: a glob, in the order of their names."""

from __future__ import annotations

import glob
import logging
import time
from pathlib import Path

import numpy as np

from ...devices.errors import CameraUnavailable, need
from ..results import Frame
from ._base import BaseSource

log = logging.getLogger(__name__)


class PicturesSource(BaseSource):
    """Each picture that matches, once; one that cannot be read is named in the log and in `skipped`."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.skipped: list[str] = []
        self._files: list[str] = []
        self._next = 0

    def open(self) -> None:
        need("cv2", "cpu")
        literal = Path(self.uri)  # a name may itself contain [ or *
        self._files = [self.uri] if literal.is_file() else sorted(glob.glob(self.uri, recursive=True))  # noqa: PTH207
        if not self._files:
            raise CameraUnavailable(f"--source {self.uri}: no picture matches; expected for example 'frames/*.jpg'")
        self.skipped = []
        self._next = 0

    def read(self) -> Frame | None:
        import cv2

        while self._next < len(self._files):
            file = self._files[self._next]
            index = self._next
            self._next += 1
            image = cv2.imread(file, cv2.IMREAD_COLOR)
            if image is not None:
                return Frame(np.asarray(image, np.uint8), index, time.perf_counter_ns())
            self.skipped.append(file)
            log.warning("%s is no picture that OpenCV reads; skipped", file)
        if len(self.skipped) == len(self._files):
            raise CameraUnavailable(f"--source {self.uri}: none of {len(self._files)} files is a picture OpenCV reads")
        return None

    def close(self) -> None:
        self._files = []
