"""Faces over frames: an id for each face that lasts, and boxes that do not flicker.

Which face is which is the work of ByteTrack (Zhang et al. 2022) as the package `trackers` has it; the boxes are
smoothed by the One Euro filter (Casiez et al. 2012). Both count time in seconds, not in calls, so frames may be
missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import UsageError, need
from .bundle import Bundle
from .pipeline import Sink
from .results import Faces, Reading, Result
from .sources import Source
from .tasks.face import check_decoding

WEAK = 0.5
"""Share of a bundle's score threshold from which a face that is already followed is still taken for one."""
LOST_AFTER_S = 1.0
"""A face that was out of sight for longer comes back with another id: where it went is then anyone's guess."""
REACH = 0.5
"""How far boxes are widened, in box sizes to each side, before their overlap is taken (Yang et al. 2023, buffered IoU):
a face that moved by its own size between two frames that were looked at still meets itself.
"""
USUAL_FPS = 30.0
MIN_CUTOFF_HZ = 1.0
BETA = 8.0
"""Cutoff added for each face size a second: a steady motion lags 1 / (2 pi BETA), 2 % of the face, at most."""
SPEED_CUTOFF_HZ = 2.0

Values = NDArray[np.float64]


def follow_weak_faces(bundles: Sequence[Bundle]) -> list[Bundle]:
    """The bundles, with the face detector's set to report what is only good enough to go on following a face.

    Raises UsageError when there is none.
    """
    if not any(bundle.manifest.task == "face" for bundle in bundles):
        raise UsageError("--track: only faces are followed; add a face bundle, such as face")
    return [_weaker(bundle) if bundle.manifest.task == "face" else bundle for bundle in bundles]


def score_threshold(bundles: Sequence[Bundle]) -> float:
    """The score from which the face detector among `bundles` means a face."""
    return next(float(b.manifest.decoding["score_threshold"]) for b in bundles if b.manifest.task == "face")


class FaceTracker:
    """Gives faces their ids and smooths their boxes and landmarks. One object a video; not for several threads.

    A face with a score of `threshold` or more begins a track; a weaker one only continues one. The first frame of a
    face has id -1, since many a false face lasts for one; faces of the present frame alone come out, so one that is
    gone leaves nothing behind. Ids count from 0 and are not used again.
    """

    def __init__(self, threshold: float, smooth: bool = True) -> None:
        """Raises MissingExtra without the package `trackers`."""
        self._supervision = need("supervision", "track")
        trackers = need("trackers", "track")
        self._tracker = trackers.ByteTrackTracker(
            lost_track_buffer=round(LOST_AFTER_S * 30),  # its unit is a frame of 30 a second
            frame_rate=USUAL_FPS,
            track_activation_threshold=threshold,
            high_conf_det_threshold=threshold,
            iou=trackers.BIoU(REACH),
        )
        self._threshold = threshold
        self._smooth = smooth
        self._states: dict[int, _Smoothed] = {}
        self._last_s = -np.inf

    def __call__(self, faces: Faces, time_s: float) -> Faces:
        """`faces` with ids, best first; `time_s`, when they were seen, grows from call to call (else ValueError)."""
        if not time_s > self._last_s:
            raise ValueError(f"time_s is {time_s}, expected more than that of the frame before, {self._last_s}")
        self._last_s = time_s
        ids = self._ids(faces, time_s)
        kept = (ids >= 0) | (faces.score >= self._threshold)
        xyxy, landmarks = faces.xyxy[kept], faces.landmarks[kept]
        if self._smooth:
            xyxy, landmarks = xyxy.copy(), landmarks.copy()
            self._states = {i: s for i, s in self._states.items() if time_s - s.time_s <= LOST_AFTER_S}
            for row, i in enumerate(ids[kept].tolist()):
                if i >= 0:
                    seen = np.concatenate([xyxy[row], landmarks[row].ravel()]).astype(np.float64)
                    state = _smoothed(self._states.get(i), seen, time_s)
                    self._states[i] = state
                    xyxy[row], landmarks[row] = state.values[:4], state.values[4:].reshape(5, 2)
        return Faces(xyxy, faces.score[kept], landmarks, ids[kept])

    def _ids(self, faces: Faces, time_s: float) -> NDArray[np.int64]:
        """(N,) ids in the order of `faces`, -1 where there is none."""
        n = len(faces.score)
        seen = self._supervision.Detections(
            xyxy=faces.xyxy.reshape(-1, 4), confidence=faces.score, data={"row": np.arange(n)}
        )
        found: Any = self._tracker.update(seen, timestamp=time_s)
        ids = np.full(n, -1, np.int64)
        if n:
            ids[found.data["row"]] = found.tracker_id
        return ids


class TrackedSinks:
    """A sink that gives results with tracked faces to sinks; a reading that comes twice is tracked once."""

    def __init__(self, tracker: FaceTracker, source: Source, sinks: Sequence[Sink]) -> None:
        self._tracker = tracker
        self._source = source
        self._sinks = sinks
        self._latest: Reading | None = None

    def __call__(self, result: Result) -> None:
        reading = result.readings.get("face")
        if reading is not None:
            if self._latest is None or reading.captured_ns > self._latest.captured_ns:
                assert isinstance(reading.record, Faces)
                self._latest = replace(reading, record=self._tracker(reading.record, self._time_s(reading)))
            result = replace(result, readings={**result.readings, "face": self._latest})
        for sink in self._sinks:
            sink(result)

    def _time_s(self, reading: Reading) -> float:
        """When the frame was captured; a file is read at any pace, so there its place in the file tells the time."""
        if self._source.live:
            return reading.captured_ns / 1e9
        return reading.frame_index / (self._source.fps or USUAL_FPS)


@dataclass(frozen=True, slots=True)
class _Smoothed:
    """The One Euro filter's state of one face: `values` and `speed`, pixels and pixels a second, at `time_s`."""

    values: Values
    speed: Values
    time_s: float


def _smoothed(last: _Smoothed | None, seen: Values, time_s: float) -> _Smoothed:
    """The next state of the One Euro filter, whose speed is in face sizes a second.

    `seen` (14,) is x1, y1, x2, y2 and five points x, y. The cutoff follows the speed of the box as a whole, so that its
    sides and the points keep together.
    """
    if last is None:
        return _Smoothed(seen, np.zeros_like(seen), time_s)
    passed_s = time_s - last.time_s
    speed = last.speed + _gain(SPEED_CUTOFF_HZ, passed_s) * ((seen - last.values) / passed_s - last.speed)
    size = max(1.0, float(seen[2:4].sum() - seen[:2].sum()) / 2)
    cutoff_hz = MIN_CUTOFF_HZ + BETA * float(np.abs(speed[:4]).max()) / size
    return _Smoothed(last.values + _gain(cutoff_hz, passed_s) * (seen - last.values), speed, time_s)


def _gain(cutoff_hz: float, passed_s: float) -> float:
    """Share of the news that a low-pass filter of first order takes over; equation 6 of the paper."""
    return 1 / (1 + 1 / (2 * pi * cutoff_hz * passed_s))


def _weaker(bundle: Bundle) -> Bundle:
    manifest = bundle.manifest
    check_decoding(manifest)
    decoding = {**manifest.decoding, "score_threshold": WEAK * float(manifest.decoding["score_threshold"])}
    return replace(bundle, manifest=replace(manifest, decoding=decoding))
