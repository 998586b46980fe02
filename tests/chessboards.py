"""Pictures of a chessboard as a camera with a known lens and a known place would take them."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from helmsight.runtime.boards import Board
from helmsight.runtime.lens import Lens, Mount

BOARD = Board(9, 6, 0.025)
LENS = Lens((240, 320), (300.0, 300.0), (162.0, 117.0), (-0.25, 0.08, 0.001, -0.0005, 0.0))
FINE = 3
"""A pixel is the mean of FINE x FINE rays."""


@lru_cache(maxsize=4)
def _rays(lens: Lens) -> np.ndarray:
    """(FINE H, FINE W, 3) float64, z 1."""
    height, width = lens.image_hw
    x, y = ((np.arange(side * FINE) + 0.5) / FINE - 0.5 for side in (width, height))
    pixels = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 1, 2)
    rays = cv2.undistortPoints(pixels, lens.matrix, np.array(lens.distortion)).reshape(height * FINE, width * FINE, 2)
    return np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1)


def picture(turn: np.ndarray, shift: np.ndarray, lens: Lens = LENS, board: Board = BOARD) -> np.ndarray:
    """(H, W, 3) uint8: the board, with a white margin, before grey; `turn` (3, 3) and `shift` (3,) as of solvePnP."""
    to_board = np.linalg.inv(np.stack([turn[:, 0], turn[:, 1], shift], axis=1))
    u, v, w = np.moveaxis(_rays(lens) @ to_board.T, -1, 0)
    in_front = w > 1e-9
    u, v = (np.divide(side, w * board.square_m, where=in_front, out=np.full_like(w, 1e6)) for side in (u, v))
    paper = in_front & (u > -2) & (u < board.columns + 1) & (v > -2) & (v < board.rows + 1)
    squares = paper & (u > -1) & (u < board.columns) & (v > -1) & (v < board.rows)
    dark = squares & ((np.floor(u) + np.floor(v)) % 2 == 0)
    grey = np.where(dark, 30, np.where(paper, 230, 120)).astype(np.uint8)
    return cv2.cvtColor(cv2.resize(grey, lens.image_hw[::-1], interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2BGR)


def pose(column: float, row: float, tilts_deg: tuple[float, float, float], distance_m: float = 0.36):
    """Turn and shift of a board whose middle is seen at that share of the picture, turned about x, y and z."""
    about_x, about_y, about_z = (
        cv2.Rodrigues(np.radians(t) * axis)[0] for t, axis in zip(tilts_deg, np.eye(3), strict=True)
    )
    turn = about_x @ about_y @ about_z
    height, width = LENS.image_hw
    middle = np.array([(column - 0.5) * width / 300, (row - 0.5) * height / 300, 1.0]) * distance_m
    return turn, middle - turn @ BOARD.points.mean(axis=0)


def poses(flat: bool = False) -> list[tuple[np.ndarray, np.ndarray]]:
    """Twelve places over the whole picture, the board tilted to all sides; `flat`: facing the camera everywhere."""
    found = []
    for number in range(12):
        column, row = 0.36 + 0.28 * (number % 3) / 2, 0.33 + 0.34 * (number // 3) / 3
        angle = math.radians(number * 137.5)
        tilts = (0.0, 0.0, 4.0 * (number % 2)) if flat else (30 * math.cos(angle), 30 * math.sin(angle), 10.0)
        found.append(pose(column, row, tilts, 0.42 if flat else 0.38))
    return found


def on_floor(mount: Mount, ahead_m: float = 0.5, left_m: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Turn and shift of the board lying on the floor, its middle there, seen by a camera that is mounted so."""
    pitch, roll = math.radians(mount.pitch_deg), math.radians(mount.roll_deg)
    level = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])  # robot to camera: right, down, forward
    pitched = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    rolled = np.array([[math.cos(roll), math.sin(roll), 0], [-math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    to_camera = rolled @ pitched @ level
    board_axes = np.array(
        [[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]
    )  # columns: x right, y towards us, down
    turn = to_camera @ board_axes
    middle = to_camera @ (np.array([ahead_m, left_m, 0.0]) - [0.0, 0.0, mount.height_m])
    return turn, middle - turn @ BOARD.points.mean(axis=0)


def write_pictures(folder: Path, some: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """Write `00.png` and so on; the pattern that matches them."""
    folder.mkdir(exist_ok=True)
    for number, (turn, shift) in enumerate(some):
        cv2.imwrite(str(folder / f"{number:02}.png"), picture(turn, shift))
    return str(folder / "*.png")
