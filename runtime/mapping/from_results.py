"""From what the pipeline gives to the mapper: each frame once, straightened, with the reading of this same frame."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

from ..lens import Straightener
from ..results import Drive, Result
from ..sources import CameraGeometry
from .mapper import Mapper
from .motion import Motion

log = logging.getLogger(__name__)

SURE_RAD, SAID_DEG = math.radians(0.3), 1.0
"""A pitch that is known so well and is off by so much is said."""


@dataclass(frozen=True, slots=True)
class MapReport:
    """What became of the map: of `frames`, `lost` had no visual motion (`bridged` of them one by the wheels or the
    commands), and `skipped` more are not in it. `way_m` goes along the nodes of the pose graph. `pitch_off_deg`: how
    much lower than told the camera looks, None where that is not known.
    """

    frames: int
    lost: int
    bridged: int
    skipped: int
    way_m: float
    loops: int
    pitch_off_deg: float | None


class ResultMapper:
    """Maps the results that it is called with, without the lens's distortion where that is known.

    `skipped` counts those whose frame had no `navigate` reading of its own, or one that is no number.
    """

    def __init__(self, geometry: CameraGeometry) -> None:
        self.mapper = Mapper(geometry)
        self.skipped = 0
        self._straighten = Straightener(geometry.lens) if geometry.lens else None
        self._last = (-1, False)
        self._said = False

    def __call__(self, result: Result, wheels: Motion | None = None) -> bool:
        """Whether the map has this frame; `wheels` as in `Mapper.update`.

        Called again with the same frame, such as by a Stop for silence, it says the same and maps nothing.
        """
        if result.frame.index != self._last[0]:
            self._last = (result.frame.index, self._add(result, wheels))
        return self._last[1]

    @property
    def report(self) -> MapReport:
        """Of the run so far."""
        mapper = self.mapper
        return MapReport(
            frames=mapper.frames,
            lost=mapper.lost,
            bridged=mapper.bridged,
            skipped=self.skipped,
            way_m=mapper.loops.way_m,
            loops=len(mapper.loops.graph.closures),
            pitch_off_deg=self._pitch_off_deg,
        )

    @property
    def _pitch_off_deg(self) -> float | None:
        pitch = self.mapper.pitch
        return math.degrees(pitch.offset_rad) if pitch.sigma_rad <= SURE_RAD else None

    def _add(self, result: Result, wheels: Motion | None) -> bool:
        drive = _drive(result)
        if drive is None:
            self.skipped += 1
            return False
        frame = result.frame
        if self._straighten:
            self._straighten.check((frame.image.shape[0], frame.image.shape[1]))
            frame = replace(frame, image=self._straighten(frame.image))
            way = None if drive.way is None else self._straighten(drive.way)
            drive = replace(drive, free_space=self._straighten(drive.free_space), way=way)
        self.mapper.update(frame, drive, wheels)
        self._say_pitch()
        return True

    def _say_pitch(self) -> None:
        """Say once that the camera is not mounted as it was told."""
        off_deg, told_deg = self._pitch_off_deg, self.mapper.geometry.pitch_deg
        if self._said or off_deg is None or abs(off_deg) < SAID_DEG:
            return
        self._said = True
        log.warning(
            "the camera looks %.1f degrees %s than its geometry says, as the floor goes by: %.1f degrees down are used "
            "in place of %.1f; give that with --geometry",
            abs(off_deg),
            "lower" if off_deg > 0 else "higher",
            told_deg + off_deg,
            told_deg,
        )


def _drive(result: Result) -> Drive | None:
    """What the network said of this same frame, in numbers."""
    reading = result.readings.get("navigate")
    if reading is None or reading.frame_index != result.frame.index or not isinstance(reading.record, Drive):
        return None
    return reading.record if reading.record.finite else None
