"""The map's file, a PNG and a YAML as ROS's map_server reads them (wiki.ros.org/map_server, "Map format")."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import UsageError, need
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
    picture = np.full(odds.shape, UNKNOWN, np.uint8)
    picture[odds > math.log(OCCUPIED_ABOVE / (1 - OCCUPIED_ABOVE))] = OCCUPIED
    picture[odds < math.log(FREE_BELOW / (1 - FREE_BELOW))] = FREE
    step = grid.options.resolution_m
    return picture, (grid.origin[0] + (bounds[1][0] - 1) * step, grid.origin[1] + (bounds[0][0] - 1) * step)


def save_map(grid: OccupancyGrid, png: Path) -> tuple[Path, Path]:
    """Write `png` and a `.yaml` beside it, each whole or not at all; both paths.

    Raises UsageError when they cannot be written.
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
    ]
    yaml = png.with_suffix(".yaml")
    _write(png, encoded.tobytes())
    _write(yaml, ("\n".join(lines) + "\n").encode())
    return png, yaml


def _write(file: Path, content: bytes) -> None:
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_bytes(content)
        part.replace(file)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; expected a file that can be written") from error
