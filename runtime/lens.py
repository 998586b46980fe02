"""A calibrated camera: its lens, the file that holds it, and pictures as they would be without distortion.

The file is JSON: {"schema_version": 1, "image_size": [width, height], "camera_matrix": 3 x 3, "distortion": [k1, k2,
p1, p2, k3], "rms_px", "fov_y_deg", "pictures", "height_m", "pitch_deg"}; the last two are null while the mount is not
known. How the figures are measured is in `calibration.py`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import BadArtefact, HelmsightError, UsageError, need

SCHEMA_VERSION = 1
MATTERS_PX = 0.5
"""A lens that moves no point of the picture's edge by more than this counts as free of distortion."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lens:
    """Pixels of a picture of `image_hw` and the rays to them: OpenCV's pinhole with the Brown-Conrady distortion.

    Focal lengths and the principal point are in pixels, whole numbers being pixel centres; `distortion` is (k1, k2, p1,
    p2, k3) of cv2.calibrateCamera.
    """

    image_hw: tuple[int, int]
    focal_px: tuple[float, float]
    centre_px: tuple[float, float]
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)

    @property
    def fov_y_deg(self) -> float:
        """Vertical field of view of the pinhole in degrees: 2 atan(height / 2 focal length)."""
        return math.degrees(2 * math.atan(self.image_hw[0] / 2 / self.focal_px[1]))

    @property
    def matrix(self) -> Matrix:
        """The camera matrix, (3, 3) float64."""
        (fx, fy), (cx, cy) = self.focal_px, self.centre_px
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])

    def scaled(self, image_hw: tuple[int, int]) -> Lens:
        """The same lens for a raster of another size that covers the same picture; another aspect stretches it."""
        sy, sx = image_hw[0] / self.image_hw[0], image_hw[1] / self.image_hw[1]
        (fx, fy), (cx, cy) = self.focal_px, self.centre_px
        centre = ((cx + 0.5) * sx - 0.5, (cy + 0.5) * sy - 0.5)
        return Lens(image_hw, (fx * sx, fy * sy), centre, self.distortion)

    def straight(self) -> Lens:
        """The pinhole with square pixels and its axis in the middle that shows the most and nothing unseen.

        That is `self` when no point of the edge differs by more than MATTERS_PX from where such a pinhole of the same
        focal length has it.
        """
        height, width = self.image_hw
        middle = ((width - 1) / 2, (height - 1) / 2)
        rays = self._edge_rays()
        moved = rays * self.focal_px[1] + middle - _edge(self.image_hw)
        if np.hypot(*moved.T).max() <= MATTERS_PX:
            return self
        across, down = np.abs(rays.reshape(4, -1, 2)[:2, :, 1]).min(), np.abs(rays.reshape(4, -1, 2)[2:, :, 0]).min()
        focal = float(max(middle[1] / across, middle[0] / down))
        return Lens(self.image_hw, (focal, focal), middle)

    def _edge_rays(self) -> Matrix:
        """Rays (x, y, 1) through the edge's pixels, (N, 2)."""
        cv2 = need("cv2", "cpu")
        rays = cv2.undistortPoints(_edge(self.image_hw).reshape(-1, 1, 2), self.matrix, np.array(self.distortion))
        return np.asarray(rays, np.float64).reshape(-1, 2)


def _edge(image_hw: tuple[int, int], points: int = 33) -> Matrix:
    """Pixels (4 `points`, 2) along the top, the bottom, the left and the right edge."""
    right, bottom = image_hw[1] - 1, image_hw[0] - 1
    x, y = np.linspace(0, right, points), np.linspace(0, bottom, points)
    sides = [(x, 0 * x), (x, 0 * x + bottom), (0 * y, y), (0 * y + right, y)]
    return np.concatenate([np.stack(side, axis=1) for side in sides])


class Straightener:
    """Turns what a lens saw into what its `straight` pinhole would see; a table for each size, made when first used."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self._straight = lens.straight()
        self._tables: dict[tuple[int, int], tuple[Any, Any]] = {}

    def check(self, frame_hw: tuple[int, int]) -> None:
        """Raise UsageError for a frame whose aspect is not that of the calibration."""
        height, width = self.lens.image_hw
        if abs(frame_hw[0] - frame_hw[1] * height / width) > 1:
            raise UsageError(
                f"a frame has {frame_hw[1]}x{frame_hw[0]}, the camera was calibrated at {width}x{height}; expected the "
                "same shape; set the camera to it or calibrate at the size that is used"
            )

    def __call__(self, picture: NDArray[Any]) -> NDArray[Any]:
        """`picture` (H, W) or (H, W, C), uint8 or float32, which covers a whole frame: a frame, or a network's grid.

        The same size and dtype; `picture` itself when the lens has no distortion that matters.
        """
        if self._straight is self.lens:
            return picture
        import cv2

        hw = (picture.shape[0], picture.shape[1])
        if hw not in self._tables:
            lens, straight = self.lens.scaled(hw), self._straight.scaled(hw)
            self._tables[hw] = cv2.initUndistortRectifyMap(
                lens.matrix, np.array(lens.distortion), None, straight.matrix, hw[::-1], cv2.CV_16SC2
            )
        # The table is rounded to 1/32 pixel, so a pixel of the edge may reach beyond it by as much.
        return np.asarray(cv2.remap(picture, *self._tables[hw], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a camera sits: metres over the floor, degrees downwards, degrees clockwise about its own axis."""

    height_m: float
    pitch_deg: float = 0.0
    roll_deg: float = 0.0


@dataclass(frozen=True, slots=True)
class CalibratedCamera:
    """What a camera file holds. `rms_px` is that of the reprojection of `pictures` pictures."""

    lens: Lens
    rms_px: float
    pictures: int
    mount: Mount | None = None

    def to_json(self) -> dict[str, Any]:
        height, width = self.lens.image_hw
        return {
            "schema_version": SCHEMA_VERSION,
            "image_size": [width, height],
            "camera_matrix": self.lens.matrix.tolist(),
            "distortion": list(self.lens.distortion),
            "rms_px": self.rms_px,
            "fov_y_deg": self.lens.fov_y_deg,
            "pictures": self.pictures,
            "height_m": self.mount.height_m if self.mount else None,
            "pitch_deg": self.mount.pitch_deg if self.mount else None,
        }

    def with_mount(self, mount: Mount) -> CalibratedCamera:
        """The same camera, mounted there."""
        return replace(self, mount=mount)


def save_camera(path: Path, camera: CalibratedCamera) -> None:
    """Write a camera file; UsageError when it cannot be written, and the file that was there stays."""
    new = path.with_name(path.name + ".new")
    try:
        new.write_text(json.dumps(camera.to_json(), indent=2) + "\n")
        new.replace(path)
    except OSError as error:
        raise UsageError(f"--out {path}: cannot be written: {error.strerror or error}") from error


def load_camera(path: Path) -> CalibratedCamera:
    """Read a camera file; raises BadArtefact when it is missing, broken, of a newer schema, or no camera's."""
    made_by = "expected a file written by `helmsight calibrate --out`"
    try:
        data = json.loads(path.read_text())
        version = data["schema_version"]
        if version != SCHEMA_VERSION:
            raise BadArtefact(
                f"{path} has schema_version {version}, this helmsight reads {SCHEMA_VERSION}; "
                "upgrade helmsight or calibrate again"
            )
        return _camera(data)
    except HelmsightError:
        raise
    except FileNotFoundError:
        raise BadArtefact(f"{path} does not exist; {made_by}") from None
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise BadArtefact(f"{path} is no camera file ({type(error).__name__}: {error}); {made_by}") from error


def _camera(data: dict[str, Any]) -> CalibratedCamera:
    width, height = (int(side) for side in data["image_size"])
    matrix = np.array(data["camera_matrix"], np.float64)
    distortion = tuple(float(k) for k in data["distortion"])
    if matrix.shape != (3, 3) or len(distortion) != 5 or not np.isfinite([*matrix.flat, *distortion]).all():
        raise ValueError("expected a camera matrix of 3 x 3 and five coefficients of distortion, all finite")
    if min(width, height, matrix[0, 0], matrix[1, 1]) <= 0:
        raise ValueError("expected an image size and focal lengths of more than 0")
    focal, centre = (float(matrix[0, 0]), float(matrix[1, 1])), (float(matrix[0, 2]), float(matrix[1, 2]))
    lens = Lens((height, width), focal, centre, distortion)
    mount = None if data["height_m"] is None else Mount(float(data["height_m"]), float(data["pitch_deg"] or 0.0))
    return CalibratedCamera(lens, float(data["rms_px"]), int(data["pictures"]), mount)
