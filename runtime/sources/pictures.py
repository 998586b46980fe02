"""Pictures: a glob, in the order of their names."""

from __future__ import annotations

import glob
import logging
import time
from pathlib import Path

from ...devices.errors import BadArtefact, CameraUnavailable, need
from ..pictures import read_picture
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
        while self._next < len(self._files):
            file = self._files[self._next]
            index = self._next
            self._next += 1
            try:
                return Frame(read_picture(file), index, time.perf_counter_ns())
            except BadArtefact as error:
                self.skipped.append(file)
                log.warning("%s; skipped", error)
        if len(self.skipped) == len(self._files):
            raise CameraUnavailable(f"--source {self.uri}: none of {len(self._files)} files is a picture that is read")
        return None

    def close(self) -> None:
        self._files = []
