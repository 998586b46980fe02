"""Views of a chessboard: found in pictures and in a live camera's frames, and which of them are of no use and why."""

from __future__ import annotations

import glob
import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import BadArtefact, CameraUnavailable, UsageError, need
from .pictures import picture_hw, read_picture
from .results import Image
from .sources import open_source

log = logging.getLogger(__name__)

BLURRED = 0.0075
"""Edges that take a larger share of the picture's diagonal to rise from dark to light are blurred: 6 px at 640x480."""
ALIKE = 0.01
"""Views whose corners lie, on average, within this share of the picture's diagonal of each other say the same."""
ALIKE_LIVE = 0.05
"""The same for a live camera, of which there are views to choose from."""
NOT_MEASURED_PX = 9999.0
"""What OpenCV gives for the sharpness of squares that are too small to tell."""
SAY_EVERY_S = 2.0

Corners = NDArray[np.float64]
"""(N, 2) float64 pixels, row by row of the board."""


@dataclass(frozen=True, slots=True)
class Board:
    """A chessboard: its inner corners in a row, rows of them, and the side of a square in metres."""

    columns: int
    rows: int
    square_m: float

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < 3:
            raise UsageError(f"--board {self}: expected 3 or more inner corners each way, such as 9x6")
        if not 0 < self.square_m <= 1:
            raise UsageError(f"--square {self.square_m:g}: expected the side of a square in metres, such as 0.025")

    def __str__(self) -> str:
        return f"{self.columns}x{self.rows}"

    @property
    def points(self) -> NDArray[np.float32]:
        """Corners on the board, (N, 3) float32 in metres: x along a row, y down the rows, z 0."""
        x, y = np.meshgrid(np.arange(self.columns), np.arange(self.rows))
        return np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1).astype(np.float32) * self.square_m


@dataclass(frozen=True, slots=True)
class View:
    """A picture that shows the whole board sharply."""

    name: str
    image_hw: tuple[int, int]
    corners: Corners


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A picture that is not used."""

    name: str
    reason: str


def views_of_pictures(patterns: Sequence[str], board: Board) -> tuple[list[View], list[LeftOut]]:
    """The views in the pictures that match, in the order of their names, and the pictures that are left out.

    Raises CameraUnavailable when nothing matches.
    """
    files = _files(patterns)
    left_out: list[LeftOut] = []
    sizes: dict[Path, tuple[int, int]] = {}
    for file in files:
        try:
            sizes[file] = picture_hw(file)
        except BadArtefact as error:
            left_out.append(LeftOut(file.name, str(error).removeprefix(f"{file} ")))
    usual = Counter(sizes.values()).most_common(1)[0][0] if sizes else (0, 0)
    views: list[View] = []
    for number, (file, image_hw) in enumerate(sizes.items(), 1):
        log.info("picture %d of %d: %s", number, len(sizes), file.name)
        if image_hw != usual:
            left_out.append(
                LeftOut(file.name, f"is {image_hw[1]}x{image_hw[0]}, most pictures are {usual[1]}x{usual[0]}")
            )
            continue
        try:
            found = find_board(read_picture(file), board, file.name)
        except BadArtefact as error:
            found = LeftOut(file.name, str(error).removeprefix(f"{file} "))
        if isinstance(found, View):
            found = alike(found, views, ALIKE) or found
        (views if isinstance(found, View) else left_out).append(found)  # type: ignore[arg-type]
    return views, left_out


def views_of_camera(uri: str, board: Board, shots: int) -> list[View]:
    """Sharp views that differ, out of a camera or a video, as they come; what is seen is logged at INFO.

    Ends after `shots` views, at the end of the source, or at Ctrl-C.
    """
    views: list[View] = []
    seen = ""
    said_s = time.monotonic()
    with open_source(uri) as source:
        try:
            while len(views) < shots and (frame := source.read()) is not None:
                found = find_board(frame.image, board, f"frame {frame.index}", thorough=False)
                if isinstance(found, View):
                    found = alike(found, views, ALIKE_LIVE) or found
                if isinstance(found, View):
                    views.append(found)
                    seen = f"{found.name} taken; move and tilt the board"
                else:
                    seen = f"{found.name} {found.reason}"
                now_s = time.monotonic()
                if isinstance(found, View) or now_s - said_s > SAY_EVERY_S:
                    log.info("%d of %d views: %s", len(views), shots, seen)
                    said_s = now_s
        except KeyboardInterrupt:
            log.warning("ended by Ctrl-C with %d of %d views", len(views), shots)
            return views
    if not seen:
        raise CameraUnavailable(f"--source {source.uri}: gives no frames; expected a camera or a video of the board")
    if len(views) < shots:
        log.warning("--source %s ended with %d of %d views; the last: %s", source.uri, len(views), shots, seen)
    return views


def find_board(image: Image, board: Board, name: str, *, thorough: bool = True, small: bool = False) -> View | LeftOut:
    """The view in `image` (H, W, 3) uint8 BGR, or why there is none.

    cv2.findChessboardCornersSB: Duda and Frese, Accurate detection and localization of checkerboard corners for
    calibration, BMVC 2018. `thorough` takes a second where the board is hard to find or absent, `small` four more: it
    looks again at twice the size, where squares of 6 px are found.
    """
    cv2: Any = need("cv2", "cpu")
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    size = (board.columns, board.rows)
    corners = _corners(grey, size, thorough)
    if corners is None and small:
        twice = _corners(cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), size, thorough)
        corners = None if twice is None else (twice + 0.5) / 2 - 0.5
    if corners is None:
        return LeftOut(name, f"shows no whole board of {board} inner corners")
    rise_px = _rise_px(grey, size, corners)
    limit_px = BLURRED * math.hypot(*grey.shape)
    if rise_px > limit_px:
        return LeftOut(name, f"is blurred: edges take {rise_px:.1f} px, at most {limit_px:.1f} are used")
    return View(name, (grey.shape[0], grey.shape[1]), corners)


def _corners(grey: Image, size: tuple[int, int], thorough: bool) -> Corners | None:
    import cv2

    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | (cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY if thorough else 0)
    found, corners = cv2.findChessboardCornersSB(grey, size, flags=flags)
    return np.asarray(corners, np.float64).reshape(-1, 2) if found else None


def _rise_px(grey: Image, size: tuple[int, int], corners: Corners) -> float:
    """How far the edges of the squares take from dark to light, the worse of both directions; 0 when not measurable."""
    import cv2

    points = corners.astype(np.float32).reshape(-1, 1, 2)
    told = [np.asarray(cv2.estimateChessboardSharpness(grey, size, points, vertical=v)[0]) for v in (False, True)]
    return max((float(one[0]) for one in told if one[0] < NOT_MEASURED_PX), default=0.0)


def other_board(image: Image) -> str | None:
    """The size, such as `8x6`, of a board of any size in `image`."""
    cv2: Any = need("cv2", "cpu")
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_LARGER
    found, _, squares = cv2.findChessboardCornersSBWithMeta(grey, (3, 3), flags)
    return "{}x{}".format(*sorted(squares.shape[:2], reverse=True)) if found else None


def board_in_pictures(patterns: Sequence[str], most: int = 5) -> str | None:
    """The size of a board in the first pictures that match."""
    for image in _readable(_files(patterns)[:most]):
        if size := other_board(image):
            return size
    return None


def alike(view: View, others: Sequence[View], share: float) -> LeftOut | None:
    """`view` as left out when one of `others` says the same."""
    limit_px = share * math.hypot(*view.image_hw)
    for other in others:
        # The order of the corners may begin at the board's other end.
        apart = min(np.hypot(*(c - other.corners).T).mean() for c in (view.corners, view.corners[::-1]))
        if apart < limit_px:
            return LeftOut(view.name, f"is too much like {other.name}: corners {apart:.1f} px apart on average")
    return None


def _files(patterns: Sequence[str]) -> list[Path]:
    found: list[Path] = []
    for pattern in patterns:
        # A name may itself contain [ or *.
        matches = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not matches:
            raise CameraUnavailable(f"{pattern}: no picture matches; expected for example 'boards/*.jpg'")
        found += [Path(match) for match in matches]
    return list(dict.fromkeys(found))


def _readable(files: Sequence[Path]) -> Iterator[Image]:
    for file in files:
        try:
            yield read_picture(file)
        except BadArtefact:
            continue
