"""Boxes as rows of left, top, right, bottom."""

from __future__ import annotations

import numpy as np

from ...runtime.results import Floats


def overlap(a: Floats, b: Floats) -> Floats:
    """IoU (n, m) of boxes (n, 4) and (m, 4), xyxy."""
    shared = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    inner = np.clip(shared, 0, None).prod(-1)
    areas = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1)[None]
    return np.asarray(inner / np.maximum(areas - inner, 1e-9), np.float32)
