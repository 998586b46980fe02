"""The map as a sink: frames with a `navigate` reading of their own go to a mapper, whose map is written at the end."""

from __future__ import annotations

import logging
from pathlib import Path

from ...devices.errors import UsageError, need
from ..mapping.from_results import ResultMapper
from ..results import Result
from ._base import BaseSink
from ._writable import check_writable

log = logging.getLogger(__name__)

DRAWN_PX = 640
"""Width and height of the map that is drawn for people."""


class MapSink(BaseSink):
    """Maps what it is given with `results`, which others may share.

    `close` writes, once, `path`, a `.png`, and beside it a `.yaml` and `NAME-drive.png`, a drawing with the path. When
    nothing was mapped, nothing is written, so that a camera that fails does not cost an earlier map.
    """

    def __init__(self, path: Path, results: ResultMapper) -> None:
        if path.suffix.lower() != ".png":
            raise UsageError(f"--map {path}: {path.suffix or 'no suffix'} is unknown; expected a .png")
        check_writable("--map", path)
        self.path = path
        self.mapper = results.mapper
        self._results = results
        self._given = self._closed = False

    def __call__(self, result: Result) -> None:
        if self._closed:
            raise RuntimeError("this sink is closed")
        self._given = True
        self._results(result)

    def close(self) -> None:
        """Write the map; UsageError when it cannot be written. May be called twice."""
        if self._closed:
            return
        self._closed = True
        mapped = self.mapper.frames
        if not mapped:
            if self._given:  # a run that failed before its first result says itself why
                log.warning("%s: not written, no frame had a navigate reading", self.path)
            return
        self.mapper.save(self.path)
        drawn = self.path.with_name(f"{self.path.stem}-drive.png")
        need("cv2", "cpu").imwrite(str(drawn), self.mapper.image(DRAWN_PX))
        if self.mapper.lost:
            log.warning("%s: the motion of %d of %d frames is unknown", self.path, self.mapper.lost, mapped)
        log.info("%s: %d loops closed", self.path, len(self.mapper.loops.graph.closures))
