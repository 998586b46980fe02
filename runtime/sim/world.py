"""Distances in a course: everything solid is a set of segments in the plane, and these are questions to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .layout import Points

Segments = NDArray[np.float64]
"""(S, 4) metres: x0, y0, x1, y1."""


def clearance_m(points: Points, solids: Segments) -> NDArray[np.float64]:
    """Distance (N,) from each point (N, 2) to the nearest segment."""
    return nearest(points, solids)[1]


def nearest(points: Points, solids: Segments) -> tuple[Points, NDArray[np.float64]]:
    """The nearest point on any segment, (N, 2), and its distance, (N,)."""
    start, end = solids[:, :2], solids[:, 2:]
    along = end - start
    squared = np.maximum((along**2).sum(1), 1e-12)
    offset = points[:, None] - start  # N S 2
    share = np.clip((offset * along).sum(2) / squared, 0, 1)
    feet = start + share[..., None] * along  # N S 2
    distance = np.linalg.norm(points[:, None] - feet, axis=2)
    best = distance.argmin(1)
    rows = np.arange(len(points))
    return feet[rows, best], distance[rows, best]


def close_to(points: Points, solids: Segments, reach_m: float) -> Segments:
    """The segments whose bounding boxes come within `reach_m` of the bounding box of the points (N, 2)."""
    low, high = points.min(0) - reach_m, points.max(0) + reach_m
    starts, ends = np.minimum(solids[:, :2], solids[:, 2:]), np.maximum(solids[:, :2], solids[:, 2:])
    return np.asarray(solids[((starts <= high) & (ends >= low)).all(1)])


def free_ahead_m(position: Points, heading_rad: float, radius_m: float, solids: Segments, limit_m: float) -> float:
    """How far a disc of `radius_m` can go straight on from `position` (2,) before it touches; at most `limit_m`."""
    solids = close_to(position[None], solids, limit_m + radius_m)
    if not len(solids):
        return limit_m
    steps = np.arange(0, limit_m + 1e-9, 0.04)
    ahead = position + steps[:, None] * np.array([np.cos(heading_rad), np.sin(heading_rad)])
    touching = np.flatnonzero(clearance_m(ahead, solids) < radius_m)
    return float(steps[touching[0]]) if len(touching) else limit_m


def crosses(start: Points, end: Points, solids: Segments) -> bool:
    """True when the straight way from `start` to `end`, both (2,), cuts a segment."""
    a, b = solids[:, :2], solids[:, 2:]
    way, wall = end - start, b - a

    def side(direction: Points, offset: Points) -> NDArray[np.float64]:
        return np.asarray(direction[..., 0] * offset[..., 1] - direction[..., 1] * offset[..., 0])

    from_way = side(way, a - start) * side(way, b - start)
    from_wall = side(wall, start - a) * side(wall, end - a)
    return bool(((from_way < 0) & (from_wall < 0)).any())


def polygon_segments(corners: Points) -> Segments:
    """The closed outline of a polygon (K, 2) as (K, 4) segments."""
    return np.concatenate([corners, np.roll(corners, -1, axis=0)], axis=1)


def relax(line: Points, solids: Segments, wanted_m: float, rounds: int = 120) -> Points:
    """An elastic band (Quinlan and Khatib, 1993): the closed `line` kept `wanted_m` from solids, and smooth."""
    band = line.copy()
    pieces = [np.arange(at, min(at + 40, len(line))) for at in range(0, len(line), 40)]
    # A band goes astray by less than a metre, so what is farther from where a piece began never pushes it.
    around = [close_to(line[piece], solids, wanted_m + 1.5) for piece in pieces]
    for _ in range(rounds):
        push = np.zeros_like(band)
        for piece, some in zip(pieces, around, strict=True):
            if len(some):
                feet, distance = nearest(band[piece], some)
                away = (band[piece] - feet) / np.maximum(distance, 1e-6)[:, None]
                push[piece] = np.maximum(wanted_m - distance, 0)[:, None] * away
        pull = (np.roll(band, 1, axis=0) + np.roll(band, -1, axis=0)) / 2 - band
        home = line - band
        band = band + 0.35 * push + 0.6 * pull + 0.02 * home
    return band
