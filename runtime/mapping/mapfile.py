"""The map's file, a PNG and a YAML as ROS's map_server reads them (wiki.ros.org/map_server, "Map format")."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import BadArtefact, UsageError, need
from ..results import Floats
from ..sources import CameraGeometry
from .grid import OccupancyGrid

OCCUPIED, FREE, UNKNOWN = 0, 254, 205
"""Pixels of a trinary map. With `FREE_BELOW`, map_server reads 205 as unknown: (255 - 205) / 255 = 0.19608."""

OCCUPIED_ABOVE, FREE_BELOW = 0.65, 0.196
"""map_server's own defaults, probabilities of occupancy; the grid is cut at the same ones."""


def trinary(grid: OccupancyGrid) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """What is known as a grey picture of one pixel a cell, and the (x, y) in metres of its lower left corner.

    Its first row is the largest y. A border of one unknown cell is around it; of an empty grid only that is left.
    """
    rows, columns = (np.flatnonzero(grid.log_odds.any(axis=axis)) for axis in (1, 0))
    bounds = [(int(at[0]), int(at[-1]) + 1) if len(at) else (0, 0) for at in (rows, columns)]
    odds = np.pad(grid.log_odds[slice(*bounds[0]), slice(*bounds[1])], 1)[::-1]
    step = grid.options.resolution_m
    return shades(odds), (grid.origin[0] + (bounds[1][0] - 1) * step, grid.origin[1] + (bounds[0][0] - 1) * step)


def shades(log_odds: Floats) -> NDArray[np.uint8]:
    """OCCUPIED, FREE or UNKNOWN for each of the log-odds, in their shape."""
    picture = np.full(log_odds.shape, UNKNOWN, np.uint8)
    picture[log_odds > math.log(OCCUPIED_ABOVE / (1 - OCCUPIED_ABOVE))] = OCCUPIED
    picture[log_odds < math.log(FREE_BELOW / (1 - FREE_BELOW))] = FREE
    return picture


def camera_id(geometry: CameraGeometry) -> str:
    """What two runs share whose maps may be laid over each other: how the camera looked at the floor."""
    return f"{geometry.fov_y_deg:.3f},{geometry.height_m:.4f},{geometry.pitch_deg:.3f}"


def save_map(grid: OccupancyGrid, png: Path, geometry: CameraGeometry | None = None) -> tuple[Path, Path]:
    """Write `png` and a `.yaml` beside it, each whole or not at all; both paths.

    With `geometry` the YAML also has the key `helmsight_camera`, which map_server leaves alone, and every file has
    `helmsight_sha256` of the picture. Raises UsageError when they cannot be written.
    """
    cv2 = need("cv2", "cpu")
    picture, (x, y) = trinary(grid)
    _, encoded = cv2.imencode(".png", picture)
    lines = [
        f"image: {png.name}",
        "mode: trinary",
        f"resolution: {grid.options.resolution_m}",
        f"origin: [{x:.6f}, {y:.6f}, 0.0]",
        "negate: 0",
        f"occupied_thresh: {OCCUPIED_ABOVE}",
        f"free_thresh: {FREE_BELOW}",
        f"helmsight_sha256: {sha256(encoded.tobytes()).hexdigest()}",
    ]
    if geometry is not None:
        lines.append(f"helmsight_camera: {camera_id(geometry)}")
    yaml = png.with_suffix(".yaml")
    _write(png, encoded.tobytes())
    _write(yaml, ("\n".join(lines) + "\n").encode())
    return png, yaml


@dataclass(frozen=True, slots=True)
class SavedMap:
    """A map out of its file: `cells` (rows, columns) uint8 of OCCUPIED, FREE, UNKNOWN, rows along y, columns along x;
    `origin` is the (x, y) in metres of the outer corner of cell (0, 0)."""

    cells: NDArray[np.uint8]
    origin: tuple[float, float]
    resolution_m: float
    camera: str | None


def load_map(yaml: Path, geometry: CameraGeometry | None = None, resolution_m: float | None = None) -> SavedMap:
    """What `save_map` wrote. With `geometry` or `resolution_m` it must have been made so.

    Raises BadArtefact for a file that is missing, broken or of another program, and UsageError for a map of another
    run: one made with another camera or other cells.
    """
    entries = _entries(yaml)
    step, (x, y) = _number(yaml, entries, "resolution"), _origin(yaml, entries)
    camera = entries.get("helmsight_camera")
    if geometry is not None and camera != camera_id(geometry):
        raise UsageError(
            f"{yaml}: a map of another run, made with camera {camera or 'unknown'}; expected {camera_id(geometry)} "
            "(field of view, height, pitch); give the geometry that it was made with, or map anew"
        )
    if resolution_m is not None and not math.isclose(step, resolution_m, rel_tol=1e-6):
        raise UsageError(f"{yaml}: a map of another run, with cells of {step} m; expected {resolution_m} m; map anew")
    return SavedMap(_picture(yaml, entries)[::-1].copy(), (x, y), step, camera)


def _entries(yaml: Path) -> dict[str, str]:
    """The keys of a map's YAML, which has one `key: value` a line and nothing else."""
    try:
        lines = yaml.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no text"
        raise BadArtefact(f"{yaml}: {reason}; expected the .yaml of a map that helmsight saved") from error
    pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
    entries = {key.strip(): value.strip() for key, value in pairs}
    absent = [key for key in ("image", "resolution", "origin", "helmsight_sha256") if key not in entries]
    if absent:
        raise BadArtefact(f"{yaml}: has no {', '.join(absent)}; expected the .yaml of a map that helmsight saved")
    return entries


def _number(yaml: Path, entries: Mapping[str, str], key: str) -> float:
    try:
        value = float(entries[key])
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise BadArtefact(f"{yaml}: {key} is {entries[key]!r}; expected a number above 0; map anew")
    return value


def _origin(yaml: Path, entries: Mapping[str, str]) -> tuple[float, float]:
    try:
        x, y, yaw = (float(part) for part in entries["origin"].strip("[]").split(","))
    except ValueError:
        x = y = yaw = math.nan
    if not (math.isfinite(x) and math.isfinite(y) and yaw == 0):
        raise BadArtefact(f"{yaml}: origin is {entries['origin']}; expected [x, y, 0.0] in metres; map anew")
    return x, y


def _picture(yaml: Path, entries: Mapping[str, str]) -> NDArray[np.uint8]:
    png = yaml.parent / Path(entries["image"]).name
    try:
        content = png.read_bytes()
    except OSError as error:
        raise BadArtefact(f"{png}: {error.strerror}; expected the picture that {yaml.name} names beside it") from error
    if sha256(content).hexdigest() != entries["helmsight_sha256"]:
        raise BadArtefact(f"{png}: is not the picture that {yaml.name} was saved with; restore it, or map anew")
    picture = need("cv2", "cpu").imdecode(np.frombuffer(content, np.uint8), -1)
    if picture is None or picture.ndim != 2:
        raise BadArtefact(f"{png}: is no grey PNG; expected the picture of a map that helmsight saved")
    return np.asarray(picture, np.uint8)


def _write(file: Path, content: bytes) -> None:
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_bytes(content)
        part.replace(file)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; expected a file that can be written") from error
