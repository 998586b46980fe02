"""The records that travel through the runtime: a frame, what a task read from it, and the result for sinks."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .mapping.view import MapView

Image = NDArray[np.uint8]
"""A picture: H x W x 3, uint8, BGR, 0..255."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture from a source.

    `image` is H x W x 3 uint8 BGR and is not written to by anyone after capture. `index` counts the frames
    that the source produced, from 0, those that were overwritten included. `captured_ns` is
    `time.perf_counter_ns()` when the source handed the picture over, for an RTSP stream less what the network held it
    back.
    """

    image: Image
    index: int
    captured_ns: int


class Record(Protocol):
    """What a task reads from one frame."""

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, strings, lists: one line of a log."""
        ...


@dataclass(frozen=True, slots=True)
class Faces:
    """Faces in a frame, best first: boxes, scores in 0..1, and five points in a face.

    `xyxy` (N, 4) and `landmarks` (N, 5, 2), x and y, are float32 in pixels of the frame, `score` is (N,) float32. The
    points, in RetinaFace's order: the eye on the picture's left, the eye on its right, the tip of the nose, the corner
    of the mouth on the picture's left, the one on its right. `id` (N,) int64 says which face over frames it is, -1
    where that is not known yet; None where nobody follows faces.
    """

    xyxy: Floats
    score: Floats
    landmarks: Floats
    id: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n = len(self.score)
        for name, values, expected in (("xyxy", self.xyxy, (n, 4)), ("landmarks", self.landmarks, (n, 5, 2))):
            if values.shape != expected:
                raise ValueError(f"{name} is {values.shape}, expected {expected} for {n} scores")
        if self.id is not None and self.id.shape != (n,):
            raise ValueError(f"id is {self.id.shape}, expected {(n,)} for {n} scores")

    def to_json(self) -> dict[str, Any]:
        plain = {
            "xyxy": _plain(self.xyxy, 1),
            "score": _plain(self.score, 4),
            "landmarks": _plain(self.landmarks, 1),
        }
        return plain if self.id is None else plain | {"id": self.id.tolist()}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Faces:
        """What `to_json` made, as precise as that is. KeyError, TypeError or ValueError where it did not."""
        n = len(said["score"])
        xyxy = np.array(said["xyxy"], np.float32).reshape(n, 4)
        points = np.array(said["landmarks"], np.float32).reshape(n, 5, 2)
        ids = np.array(said["id"], np.int64) if "id" in said else None
        return cls(xyxy, np.array(said["score"], np.float32), points, ids)


@dataclass(frozen=True, slots=True)
class Drive:
    """What the navigation network says about one frame.

    `steer` is -1..1, positive to the left (counter-clockwise, REP 103), 1 being the robot's largest turn rate.
    `collision_probability` is 0..1: something is so near ahead that going on would hit it.
    `free_space` (h, w) float32 in 0..1 is the probability that the floor is visible in that cell; the grid covers the
    whole frame, row 0 at the top. `way`, of the same shape and range, is the probability that the floor in that cell
    lies on the way on; None of a network that does not say.
    """

    steer: float
    collision_probability: float
    free_space: Floats
    way: Floats | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "steer": _rounded(self.steer),
            "collision_probability": _rounded(self.collision_probability),
            "free_share": round(float((self.free_space > 0.5).mean()), 4),
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Drive:
        """What a recording has: that of `to_json`, and `free_space` and perhaps `way` in per cent. KeyError, TypeError
        or ValueError where it is something else."""
        steer, collision = (math.nan if said[k] is None else float(said[k]) for k in ("steer", "collision_probability"))
        free = np.array(said["free_space"], np.float32) / np.float32(100)
        if free.ndim != 2:
            raise ValueError(f"free_space has {free.ndim} dimensions; expected 2")
        way = np.array(said["way"], np.float32) / np.float32(100) if "way" in said else None
        if way is not None and way.shape != free.shape:
            raise ValueError(f"way is {way.shape}, expected {free.shape} as of free_space")
        return cls(steer, collision, free, way)

    @property
    def finite(self) -> bool:
        """False when the network answered NaN anywhere, which must neither move a robot nor get into its map."""
        figures = math.isfinite(self.steer) and math.isfinite(self.collision_probability)
        rasters = (self.free_space, self.way)
        return figures and all(raster is None or bool(np.isfinite(raster).all()) for raster in rasters)


def _plain(values: Floats, digits: int) -> list[Any]:
    """Rounded as float64: a float32 would print its nine digits."""
    plain: list[Any] = values.astype(np.float64).round(digits).tolist()
    return plain


def _rounded(value: float) -> float | None:
    """JSON has no NaN."""
    return round(value, 4) if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Command:
    """What a robot is told: `steer` -1..1 of its largest turn rate, positive left; `speed` 0..1 of its top speed."""

    steer: float
    speed: float

    @classmethod
    def of(cls, drive: Drive) -> Command:
        """What the network alone would do: its steering, slower the likelier a collision is (DroNet, section III-D)."""
        return cls(drive.steer, 1 - drive.collision_probability)

    def to_json(self) -> dict[str, Any]:
        return {"steer": _rounded(self.steer), "speed": _rounded(self.speed)}


@dataclass(frozen=True, slots=True)
class Stop:
    """The command to stand still, with the reason; sent in place of a `Command` that cannot be trusted."""

    reason: str

    def to_json(self) -> dict[str, Any]:
        return {"stop": self.reason}


@dataclass(frozen=True, slots=True)
class Reading:
    """One task's record with the frame it was read from, so that its age is known wherever it is used.

    `stage_ms` maps a stage (`wait`, `prepare`, `inference`, `decode`) to milliseconds. `frame` is the frame itself, for
    a recording of what a slower model looked at.
    """

    task: str
    record: Record
    frame_index: int
    captured_ns: int
    done_ns: int
    stage_ms: Mapping[str, float]
    frame: Frame | None = field(default=None, repr=False, compare=False)

    def age_ms(self, now_ns: int) -> float:
        """Milliseconds from the capture of the frame to `now_ns` (`time.perf_counter_ns()`)."""
        return (now_ns - self.captured_ns) / 1e6


@dataclass(frozen=True, slots=True)
class Result:
    """What a sink receives: a frame, the newest reading of every task, and the command for a robot.

    `readings` may hold a reading of an earlier frame when that task runs at a lower rate: compare its
    `frame_index`. `overwritten` counts the frames, so far, that have no result. `command` is None when no task drives.
    `made_ns` is `time.perf_counter_ns()` when it came out: later than the capture by the age, and a Stop
    for silence has an old frame. `map` is the map so far, for those who draw it, where one is made.
    """

    frame: Frame
    readings: Mapping[str, Reading]
    command: Command | Stop | None = None
    overwritten: int = 0
    made_ns: int = field(default_factory=time.perf_counter_ns)
    map: MapView | None = None
