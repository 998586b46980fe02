"""What people wear or hold before their faces: sunglasses, a hat, hair, something that hides a part."""

from __future__ import annotations

import cv2
import numpy as np

from ...runtime.results import Floats, Image
from .backgrounds import colour

SHARE = 0.22
"""How many faces get something."""
SMALLEST = 20.0
"""Height of a face in pixels below which nothing is drawn: nobody could tell it."""


def dress(rng: np.random.Generator, image: Image, box: Floats, marks: Floats) -> None:
    """Now and then draw something over the face in `box` (4,) with landmarks `marks` (5, 2), in place."""
    if rng.random() > SHARE or box[3] - box[1] < SMALLEST:
        return
    kind = rng.random()
    if kind < 0.4 and np.isfinite(marks).all():
        _glasses(rng, image, marks)
    elif kind < 0.55:
        _hat(rng, image, box)
    elif kind < 0.7:
        _hair(rng, image, box)
    else:
        _hide(rng, image, box)


def _glasses(rng: np.random.Generator, image: Image, marks: Floats) -> None:
    """Two dark lenses around the eyes, more or less opaque, a bridge, and temples."""
    left, right = marks[0], marks[1]
    apart = float(np.linalg.norm(right - left))
    turn = float(np.rad2deg(np.arctan2(*(right - left)[::-1])))
    lens = (apart * rng.uniform(0.7, 0.98), apart * rng.uniform(0.45, 0.8))
    tint = tuple(int(v) for v in rng.integers(0, 70, 3))
    frame = colour(rng) if rng.random() < 0.4 else tint
    if apart < 2:
        return
    margin = int(2 * apart) + 2
    x, y = np.clip(((left + right) / 2).astype(int) - margin, 0, None)
    part = image[y : y + 2 * margin, x : x + 2 * margin]
    if not part.size:
        return
    drawn = part.copy()
    shift = np.array([-x, -y])
    for eye, outwards in ((left, left - right), (right, right - left)):
        at = eye + shift + (0, 0.05 * apart)
        oval = (tuple(map(float, at)), tuple(map(float, lens)), turn)
        cv2.ellipse(drawn, oval, tint, -1, cv2.LINE_AA)
        if apart > 12:
            cv2.ellipse(drawn, oval, frame, max(1, int(apart * 0.05)), cv2.LINE_AA)
        end = at + outwards / apart * lens[0] * 0.9
        cv2.line(drawn, _point(at), _point(end), frame, max(1, int(apart * 0.08)), cv2.LINE_AA)
    cv2.line(drawn, _point(left + shift), _point(right + shift), frame, max(1, int(apart * 0.08)), cv2.LINE_AA)
    opaque = float(rng.uniform(0.65, 1))
    cv2.addWeighted(drawn, opaque, part, 1 - opaque, 0, dst=part)


def _hat(rng: np.random.Generator, image: Image, box: Floats) -> None:
    """A brim over the brow and a crown above it, wider or narrower than the face."""
    x, top = float(box[0] + box[2]) / 2, float(box[1])
    w, h = box[2:] - box[:2]
    brim, line = float(w * rng.uniform(1.0, 2.0)), float(top + h * rng.uniform(0.05, 0.22))
    shade = colour(rng)
    crown = float(w * rng.uniform(0.9, 1.2))
    low = (int(x - crown / 2), int(line - h * rng.uniform(0.2, 0.5)))
    cv2.rectangle(image, low, (int(x + crown / 2), int(line)), shade, -1)
    turn = float(rng.normal(0, 6))
    cv2.ellipse(image, ((x, line), (brim, float(h * rng.uniform(0.08, 0.22))), turn), shade, -1, cv2.LINE_AA)


def _hair(rng: np.random.Generator, image: Image, box: Floats) -> None:
    """Strands from above down one side, some across an eye."""
    w, h = box[2:] - box[:2]
    shade = np.array(colour(rng)) * rng.uniform(0.2, 0.8)
    side = rng.choice([-1.0, 1.0])
    root = np.array([box[0] + w / 2 + side * w * rng.uniform(0, 0.3), box[1] - 0.1 * h])
    for _ in range(int(rng.integers(3, 9))):
        tip = np.array([box[0] + w / 2 + side * w * rng.uniform(0.15, 0.6), box[1] + h * rng.uniform(0.5, 1.2)])
        bend = (root + tip) / 2 + (side * w * rng.uniform(0, 0.25), 0)
        t = np.linspace(0, 1, 8)[:, None]
        curve = (1 - t) ** 2 * root + 2 * t * (1 - t) * bend + t**2 * tip
        strand = tuple(int(v) for v in np.clip(shade + rng.normal(0, 8), 0, 255))
        cv2.polylines(
            image, [curve.astype(np.int32)], False, strand, max(1, int(w * rng.uniform(0.03, 0.12))), cv2.LINE_AA
        )


def _hide(rng: np.random.Generator, image: Image, box: Floats) -> None:
    """A bar over the eyes, something before the chin or the brow, a hand."""
    x1, y1 = box[:2]
    w, h = box[2:] - box[:2]
    top, high = (0.32, 0.14) if rng.random() < 0.4 else (rng.choice([-0.1, 0.72]), rng.uniform(0.15, 0.35))
    tall = int(h * high)
    across = float(rng.uniform(0.35, 1.1))
    left = int(x1 + w * rng.uniform(0, max(0.01, 1 - across)))
    from_, to = (left, int(y1 + top * h)), (left + int(across * w), int(y1 + top * h) + tall)
    if rng.random() < 0.6:
        cv2.rectangle(image, from_, to, colour(rng), -1)
    else:
        middle = ((from_[0] + to[0]) // 2, (from_[1] + to[1]) // 2)
        cv2.ellipse(image, middle, (max(1, int(across * w / 2)), max(1, tall // 2)), 0, 0, 360, colour(rng), -1)


def _point(at: Floats) -> tuple[int, int]:
    return round(float(at[0])), round(float(at[1]))
