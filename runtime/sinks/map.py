"""The map as a sink: frames with a `navigate` reading of their own go to a mapper, whose map is written at the end."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from ...devices.errors import UsageError, need
from ..lens import Straightener
from ..mapping.mapper import Mapper
from ..results import Drive, Result
from ..sources import CameraGeometry
from ._base import BaseSink

log = logging.getLogger(__name__)

DRAWN_PX = 640
"""Width and height of the map that is drawn for people."""


class MapSink(BaseSink):
    """Maps what it is given, without the lens's distortion where that is known.

    `close` writes, once, `path`, a `.png`, and beside it a `.yaml` and `NAME-drive.png`, a drawing with the path.
    `skipped` counts the results whose frame had no `navigate` reading of its own. When nothing was mapped, nothing is
    written, so that a camera that fails does not cost an earlier map.
    """

    def __init__(self, path: Path, geometry: CameraGeometry) -> None:
        if path.suffix.lower() != ".png":
            raise UsageError(f"--map {path}: {path.suffix or 'no suffix'} is unknown; expected a .png")
        if not path.parent.is_dir():
            raise UsageError(f"--map {path}: there is no folder {path.parent}; make it first")
        self.path = path
        self.mapper = Mapper(geometry)
        self._straighten = Straightener(geometry.lens) if geometry.lens else None
        self.skipped = 0
        self._last_index = -1
        self._closed = False

    def __call__(self, result: Result) -> None:
        if self._closed:
            raise RuntimeError("this sink is closed")
        if result.frame.index == self._last_index:
            return  # a Stop for silence shows the last frame again
        self._last_index = result.frame.index
        reading = result.readings.get("navigate")
        if reading is None or reading.frame_index != result.frame.index or not isinstance(reading.record, Drive):
            self.skipped += 1
            return
        frame, drive = result.frame, reading.record
        if self._straighten:
            self._straighten.check((frame.image.shape[0], frame.image.shape[1]))
            frame = replace(frame, image=self._straighten(frame.image))
            drive = replace(drive, free_space=self._straighten(drive.free_space))
        self.mapper.update(frame, drive)

    def close(self) -> None:
        """Write the map; UsageError when it cannot be written. May be called twice."""
        if self._closed:
            return
        self._closed = True
        mapped = len(self.mapper.trajectory)
        if not mapped:
            log.warning("%s: not written, no frame had a navigate reading", self.path)
            return
        self.mapper.save(self.path)
        drawn = self.path.with_name(f"{self.path.stem}-drive.png")
        need("cv2", "cpu").imwrite(str(drawn), self.mapper.image(DRAWN_PX))
        if self.mapper.lost:
            log.warning("%s: the motion of %d of %d frames is unknown", self.path, self.mapper.lost, mapped)
        log.info("%s: %d loops closed", self.path, len(self.mapper.loops.graph.closures))
