"""Calibration of a camera from views of a chessboard: its lens, how far to trust it, and where it is mounted.

Zhang, A flexible new technique for camera calibration, PAMI 2000, as OpenCV has it. Two radial coefficients and two
tangential ones are fitted, as ROS's camera_calibration does by default: a third radial one follows noise where there
are no corners.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..devices.errors import BadArtefact, need
from .boards import Board, LeftOut, View
from .lens import CalibratedCamera, Lens, Mount
from .sources import CameraGeometry

DEFAULT_GEOMETRY = CameraGeometry(fov_y_deg=45.0, height_m=0.25, pitch_deg=0.0)
"""Taken for a camera of which nothing is known. The field of view lies between those of common cameras: 41.4 degrees
(Raspberry Pi camera 1) and 48.8 (2), after their data sheets, and 43 (Logitech C920: 78 across the diagonal of 16:9).
The mount is that of a small robot."""

FEWEST = 3
"""Views without which nothing is calibrated: two determine it without distortion, without a digit to spare."""
FEW = 10
RMS_PX = 1.0
OUTLIER = 3.0
"""A view whose RMS is more than this many times the median, and more than a pixel, is left out."""
STEEP_DEG = 70.0
LEAST_TILT_DEG = 10.0
TILTED_DEG = 15.0
COVERED = 0.6
FOCAL_SD = 0.01
OFF_CENTRE = 0.1
ROLL_DEG = 3.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A view that was used: its RMS reprojection error in pixels, and how far the board was turned from facing us."""

    name: str
    rms_px: float
    tilt_deg: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibrated camera and how it came about.

    `focal_sd_px` is the standard deviation of the vertical focal length. `coverage` is the share of the picture, 0..1,
    that boards covered. `warnings` say what makes the figures doubtful, a line each.
    """

    camera: CalibratedCamera
    seen: tuple[Seen, ...]
    left_out: tuple[LeftOut, ...]
    focal_sd_px: float
    coverage: float

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(_doubts(self))

    def to_json(self) -> dict[str, Any]:
        """How it came about; the camera itself is in its own record."""
        return {
            "focal_sd_px": self.focal_sd_px,
            "coverage": self.coverage,
            "seen": [asdict(one) for one in self.seen],
            "left_out": [asdict(one) for one in self.left_out],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class _Fit:
    rms_px: float
    lens: Lens
    seen: tuple[Seen, ...]
    focal_sd_px: float


def calibrate(views: Sequence[View], board: Board, left_out: Sequence[LeftOut] = ()) -> Calibration:
    """The camera that took `views`, all of one size. Views that do not fit or are too steep are left out in turn.

    Raises BadArtefact when fewer than FEWEST are of use; `left_out` are pictures that were left out before.
    """
    kept, out = list(views), list(left_out)
    while True:
        if len(kept) < FEWEST:
            raise BadArtefact(_too_few(kept, out))
        fit = _fit(kept, board)
        found = _unfit(fit.seen)
        if not found:
            break
        out += found
        gone = {one.name for one in found}
        kept = [view for view in kept if view.name not in gone]
    if max(seen.tilt_deg for seen in fit.seen) < LEAST_TILT_DEG:
        raise BadArtefact(
            f"the board faces the camera in all {len(kept)} views, which does not determine the focal length; expected "
            "views that are tilted by 20 to 45 degrees to all sides"
        )
    camera = CalibratedCamera(fit.lens, fit.rms_px, len(kept))
    return Calibration(camera, fit.seen, tuple(out), fit.focal_sd_px, _coverage(kept, board))


def mount_over_floor(lens: Lens, view: View, board: Board) -> Mount:
    """Where the camera sits, from a view of the board lying on the floor; heights are over the board's squares.

    Raises BadArtefact when the view has another shape than the calibration, or when no pose explains it.
    """
    cv2: Any = need("cv2", "cpu")
    height, width = view.image_hw
    if abs(height - width * lens.image_hw[0] / lens.image_hw[1]) > 1:
        raise BadArtefact(
            f"--floor {view.name} is {width}x{height}, the calibration {lens.image_hw[1]}x{lens.image_hw[0]}; "
            "expected a picture of the same camera in the same shape"
        )
    here = lens.scaled(view.image_hw)
    found, turn, shift = cv2.solvePnP(board.points, view.corners, here.matrix, np.array(here.distortion))
    if not found:
        raise BadArtefact(f"--floor {view.name}: no place of the camera explains this picture; take another")
    down = cv2.Rodrigues(turn)[0][:, 2]
    height_m = float(down @ shift.ravel())
    if height_m < 0:
        down, height_m = -down, -height_m
    pitch_deg, roll_deg = math.degrees(math.asin(down[2])), math.degrees(math.atan2(down[0], down[1]))
    if pitch_deg > 85 or abs(roll_deg) > 45:
        raise BadArtefact(
            f"--floor {view.name}: the camera would look {pitch_deg:.0f} degrees downwards, turned by {roll_deg:.0f}; "
            "expected the board flat on the floor ahead of the robot"
        )
    return Mount(height_m, pitch_deg, roll_deg)


def mount_doubts(mount: Mount) -> list[str]:
    """What the map does not know of this mount."""
    if abs(mount.roll_deg) <= ROLL_DEG:
        return []
    return [f"the camera is turned by {mount.roll_deg:.1f} degrees about its axis, which the map ignores; level it"]


def geometry_of(camera: CalibratedCamera) -> CameraGeometry:
    """How the camera looks at the floor; DEFAULT_GEOMETRY's mount where its own is not known.

    `fov_y_deg` is that of the picture without distortion, which `lens` makes.
    """
    mount = camera.mount or Mount(DEFAULT_GEOMETRY.height_m, DEFAULT_GEOMETRY.pitch_deg)
    return CameraGeometry(camera.lens.straight().fov_y_deg, mount.height_m, mount.pitch_deg, camera.lens)


def _fit(views: Sequence[View], board: Board) -> _Fit:
    cv2: Any = need("cv2", "cpu")
    height, width = image_hw = views[0].image_hw
    objects = [board.points] * len(views)
    images = [view.corners.astype(np.float32).reshape(-1, 1, 2) for view in views]
    rms, matrix, distortion, turns, _, deviations, _, errors = cv2.calibrateCameraExtended(
        objects, images, (width, height), None, None, flags=cv2.CALIB_FIX_K3
    )
    numbers = [*matrix.flat, *distortion.ravel()[:5]]
    if not np.isfinite([rms, *numbers]).all() or min(matrix[0, 0], matrix[1, 1]) <= 0:
        raise BadArtefact("these views do not determine the camera; take more, tilted to all sides by 20 to 45 degrees")
    fx, _, cx, _, fy, cy, _, _, _, *coefficients = (float(number) for number in numbers)
    tilts = [math.degrees(math.acos(min(1.0, abs(cv2.Rodrigues(turn)[0][2, 2])))) for turn in turns]
    seen = tuple(Seen(v.name, float(e), t) for v, e, t in zip(views, errors.ravel(), tilts, strict=True))
    return _Fit(float(rms), Lens(image_hw, (fx, fy), (cx, cy), tuple(coefficients)), seen, float(deviations[1, 0]))


def _unfit(seen: Sequence[Seen]) -> list[LeftOut]:
    """Views to leave out: first those that are too steep, then, if there are none, the worst outlier."""
    steep = [
        LeftOut(
            s.name, f"is too skewed: the board is turned by {s.tilt_deg:.0f} degrees, at most {STEEP_DEG:.0f} are used"
        )
        for s in seen
        if s.tilt_deg > STEEP_DEG
    ]
    usual_px = float(np.median([s.rms_px for s in seen]))
    worst = max(seen, key=lambda s: s.rms_px)
    if steep or worst.rms_px <= max(1.0, OUTLIER * usual_px):
        return steep
    return [LeftOut(worst.name, f"does not fit the others: RMS {worst.rms_px:.2f} px, their median is {usual_px:.2f}")]


def _coverage(views: Sequence[View], board: Board) -> float:
    """The share of the picture within the outlines of the boards; drawn at 100 cells across."""
    cv2: Any = need("cv2", "cpu")
    height, width = views[0].image_hw
    mask = np.zeros((max(1, round(100 * height / width)), 100), np.uint8)
    for view in views:
        outline = cv2.convexHull((view.corners * 100 / width).astype(np.float32))
        cv2.fillConvexPoly(mask, np.rint(outline).astype(np.int32), 1)
    return float(mask.mean())


def _doubts(found: Calibration) -> list[str]:
    """What makes a calibration doubtful, and what to do about it."""
    lens, views = found.camera.lens, found.seen
    off = max(abs(c - (side - 1) / 2) / side for c, side in zip(lens.centre_px, lens.image_hw[::-1], strict=True))
    share = found.focal_sd_px / lens.focal_px[1]
    tilted = sum(s.tilt_deg >= TILTED_DEG for s in views)
    checks = [
        (len(views) < FEW, f"{len(views)} views are few; take {FEW} or more"),
        (
            tilted < len(views) / 3,
            f"{tilted} of {len(views)} views are tilted by {TILTED_DEG:.0f} degrees or more; the focal length needs "
            "more: tilt the board by 20 to 45 degrees to all sides",
        ),
        (
            found.coverage < COVERED,
            f"boards covered {found.coverage:.0%} of the picture, the rest is a guess: show the board near edges and "
            "in corners",
        ),
        (share > FOCAL_SD, f"the focal length is known to {share:.1%} only; take more views, closer and more tilted"),
        (
            found.camera.rms_px > RMS_PX,
            f"RMS of {found.camera.rms_px:.2f} px is high; expected less than {RMS_PX:g}: is the board flat and "
            "printed to scale?",
        ),
        (
            off > OFF_CENTRE,
            f"the centre of the lens is {off:.0%} of a side from the middle: are pictures cropped, or some of them "
            "mirrored?",
        ),
    ]
    return [line for doubtful, line in checks if doubtful]


def _too_few(kept: Sequence[View], out: Sequence[LeftOut]) -> str:
    reasons = "; ".join(f"{one.name} {one.reason}" for one in out[:3])
    more = f"; and {len(out) - 3} more" if len(out) > 3 else ""
    return (
        f"{len(kept)} of {len(kept) + len(out)} pictures are of use, {FEWEST} are the fewest, {FEW} or more are better"
        + (f": {reasons}{more}" if out else "")
    )
