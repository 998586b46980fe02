"""Is this place known? What was seen of the floor lately is laid over what was seen of it long ago.

Both are small rasters of free floor and of its edges; all shifts and turns within reach are tried, by correlation, as
in Olson, Real-time correlative scan matching, ICRA 2009. A place counts as known only when one shift fits well and no
other fits nearly as well: a corridor without features fits everywhere along itself, and is no place.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from ...devices.errors import need
from ..results import Floats
from .geometry import FloorView, Pose
from .grid import FloorEdge


@dataclass(frozen=True, slots=True)
class PlaceOptions:
    """`cell_m`, `half_m`: the rasters' cell and half their side. `range_m`: how far the floor's edge is believed.

    A fit is taken with a correlation of at least `min_score`, `min_overlap` of the patch on known floor, and every
    other fit more than `apart_m` away at most `max_second` of it.
    """

    cell_m: float = 0.1
    half_m: float = 3.0
    range_m: float = 2.5
    reach_m: float = 1.5
    reach_rad: float = 0.15
    turn_rad: float = 0.03
    free: float = 0.15
    min_score: float = 0.7
    min_overlap: float = 0.7
    apart_m: float = 0.4
    max_second: float = 0.9


@dataclass(frozen=True, slots=True)
class Fit:
    """How a patch lies in another's frame, and how well: `second` is the best score elsewhere, of `score`."""

    pose: Pose
    score: float
    overlap: float
    second: float

    def sure(self, options: PlaceOptions) -> bool:
        """Whether this is one place and no other."""
        good = self.score >= options.min_score and self.overlap >= options.min_overlap
        return good and self.second <= options.max_second


Seen = tuple[Pose, FloorEdge, FloorView]


def patch(seen: Sequence[Seen], half_m: float, options: PlaceOptions) -> Floats:
    """A raster (n, n) float32, rows along y, columns along x, its middle the origin of the poses in `seen`.

    1 at the floor's edges, less beside them, -`free` where there is floor, 0 where nothing is known.
    """
    cv2 = need("cv2", "cpu")
    size = 2 * round(half_m / options.cell_m) + 1
    free, edges = np.zeros((size, size), np.uint8), np.zeros((size, size), np.float32)
    for pose, edge, view in seen:
        reach = np.minimum(edge.depth_m, options.range_m)
        near = float(view.row_depth_m(np.array([view.raster_hw[0] - 0.5]))[0])
        columns = np.arange(len(reach), dtype=np.float64)
        depth = np.concatenate([np.maximum(reach, near), [near, near]])
        outline = view.at_depth(depth, np.append(columns, columns[[-1, 0]]))
        cells = np.rint(pose.to_world(outline) / options.cell_m + (size - 1) / 2).astype(np.int32)
        cv2.fillPoly(free, [cells], 1)
        hits = cells[:-2][edge.hit & (edge.depth_m < options.range_m)]
        hits = hits[((hits >= 0) & (hits < size)).all(axis=1)]
        edges[hits[:, 1], hits[:, 0]] = 1.0
    near_edge = np.minimum(2 * cv2.GaussianBlur(edges, (5, 5), 0.8), 1.0)
    return np.asarray(near_edge - options.free * free * (1 - near_edge), np.float32)


def search(known: Floats, lately: Floats, guess: Pose, options: PlaceOptions) -> Generator[None, None, Fit | None]:
    """Find where the middle of `lately` lies in `known`, near to `guess`; in small steps, for frames come meanwhile.

    `known` is a patch of `half_m` + 2 `reach_m`, `guess` not farther than `reach_m` from its middle. None when nothing
    fits.
    """
    top, left = (round((at + options.reach_m) / options.cell_m) for at in (guess.y_m, guess.x_m))
    side = len(lately) + 2 * round(options.reach_m / options.cell_m)
    window = np.ascontiguousarray(known[top : top + side, left : left + side])
    found: list[tuple[float, float, Floats]] = []
    for angle in np.arange(-options.reach_rad, options.reach_rad + 1e-9, options.turn_rad).tolist():
        scores = _scores(window, _turned(lately, guess.yaw_rad + angle))
        found.append((float(scores.max()), angle, scores))
        yield
    _, coarse, _ = max(found, key=lambda each: each[0])
    for share in (-2 / 3, -1 / 3, 1 / 3, 2 / 3):
        angle = coarse + share * options.turn_rad
        scores = _scores(window, _turned(lately, guess.yaw_rad + angle))
        found.append((float(scores.max()), angle, scores))
        yield
    score, angle, scores = max(found, key=lambda each: each[0])
    row, column = np.unravel_index(int(scores.argmax()), scores.shape)
    template = _turned(lately, guess.yaw_rad + angle)
    under = window[row : row + len(lately), column : column + len(lately)]
    overlap = float((under[template != 0] != 0).mean()) if template.any() else 0.0
    rows, columns = np.indices(scores.shape)
    elsewhere = np.hypot(rows - row, columns - column) * options.cell_m > options.apart_m
    second = max(float(each[elsewhere].max()) for _, _, each in found)
    middle = (len(known) - 1) / 2 - (len(lately) - 1) / 2
    x, y = (
        (start + at + _between(line, at) - middle) * options.cell_m
        for start, at, line in ((left, int(column), scores[row]), (top, int(row), scores[:, column]))
    )
    return Fit(Pose(x, y, guess.yaw_rad + angle), score, overlap, second / score if score > 0 else 1.0)


def _scores(window: Floats, template: Floats) -> Floats:
    """Correlation coefficients at all shifts, of what is known of the template."""
    cv2 = need("cv2", "cpu")
    mask = (template != 0).astype(np.float32)
    scores = cv2.matchTemplate(window, template, cv2.TM_CCORR_NORMED, mask=mask)
    return np.asarray(np.nan_to_num(scores, nan=0.0, posinf=0.0, neginf=0.0), np.float32)


def _turned(raster: Floats, angle_rad: float) -> Floats:
    cv2 = need("cv2", "cpu")
    middle = (len(raster) - 1) / 2
    # Rows grow with y here, so a turn counter-clockwise is one clockwise of the picture.
    turn = cv2.getRotationMatrix2D((middle, middle), -math.degrees(angle_rad), 1.0)
    return np.asarray(cv2.warpAffine(raster, turn, raster.shape[::-1], flags=cv2.INTER_NEAREST), np.float32)


def _between(line: Floats, at: int) -> float:
    """Where the parabola through a peak and its neighbours has its top, -0.5..0.5 from `at`."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, peak, after = (float(value) for value in line[at - 1 : at + 2])
    bend = before - 2 * peak + after
    return 0.5 * (before - after) / bend if bend < -1e-9 else 0.0
