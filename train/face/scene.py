"""One training picture: a background, people of whom only the face is known, and what a camera does to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ...runtime.results import Floats, Image
from .backgrounds import colour, draw_background
from .pool import Head
from .teachers import Labels
from .view import Region, between_pixels, carry, draw_height, join
from .wear import dress

Matrix = NDArray[np.float64]
"""(2, 3), from pixels of a picture to those of another."""
Scene = tuple[Image, Labels]
"""A picture and its faces."""
COUNTS = (0.14, 0.38, 0.2, 0.12, 0.08, 0.05, 0.03)
"""Probability of 0, 1, ... 6 faces in a picture."""


def compose(rng: np.random.Generator, heads: list[Head], backgrounds: list[Image], hw: tuple[int, int]) -> Scene:
    """A picture `hw` (H, W, 3) uint8 BGR and its faces, the same for one `rng`."""
    image = draw_background(rng, backgrounds, hw)
    region = Region(0, 0, hw[1], hw[0])
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.3 else 0):
        head = _scrambled(rng, heads)
        _paste(rng, image, head, _matrix(head.box, _place(rng, hw)))
    people = _people(rng, heads, region)
    for _, _, labels in people:  # all bodies before all faces: none hides a face that is labelled
        _draw_person(rng, image, labels.boxes[0])
    for head, matrix, labels in people:
        _paste(rng, image, _relight(rng, head), matrix)
        dress(rng, image, labels.boxes[0], labels.landmarks[0])
    return image, join([labels for _, _, labels in people])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a face goes: centre of its box and height in pixels, turn in degrees, stretch of its width, mirrored."""

    centre: tuple[float, float]
    height: float
    turn_deg: float
    stretch: float
    mirrored: bool


def _people(rng: np.random.Generator, heads: list[Head], region: Region) -> list[tuple[Head, Matrix, Labels]]:
    """Which heads, where, and their faces in the picture; those that would lie on another are left out."""
    people: list[tuple[Head, Matrix, Labels]] = []
    for _ in range(rng.choice(len(COUNTS), p=COUNTS)):
        head = heads[rng.integers(len(heads))]
        matrix = _matrix(head.box, _place(rng, (region.height, region.width)))
        alone = Labels(head.box[None], head.landmarks[None], np.zeros(1, bool))
        labels = carry(alone, matrix, head.image.shape[:2], region)
        if len(labels.boxes) and all(_overlap(labels.boxes[0], other.boxes[0]) <= 0.02 for _, _, other in people):
            people.append((head, matrix, labels))
    return people


def _place(rng: np.random.Generator, hw: tuple[int, int]) -> Place:
    height = draw_height(rng, hw[0])
    x = rng.uniform(0.3 * height, max(0.31 * height, hw[1] - 0.3 * height))
    y = rng.uniform(0.4 * height, max(0.41 * height, hw[0] - 0.4 * height))
    turn = float(np.clip(rng.normal(0, 13), -40, 40))
    return Place((float(x), float(y)), height, turn, float(rng.uniform(0.9, 1.12)), bool(rng.random() < 0.5))


def _matrix(box: Floats, place: Place) -> Matrix:
    """From pixels of the head to those of the picture."""
    scale = place.height / float(box[3] - box[1])
    turn = np.deg2rad(place.turn_deg)
    across = scale * place.stretch * (-1 if place.mirrored else 1)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([across, scale])
    middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    return np.column_stack([linear, np.array(place.centre) - linear @ middle])


def _overlap(a: Floats, b: Floats) -> float:
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(shared / min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))


def _paste(rng: np.random.Generator, image: Image, head: Head, matrix: Matrix) -> None:
    """Blend the head in, with soft edges, as much of its surroundings as a random mask leaves."""
    picture, side = head.image, len(head.image)
    corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1]]) @ matrix.T
    x1, y1 = np.clip(np.floor(corners.min(axis=0)), 0, image.shape[1::-1]).astype(int)
    x2, y2 = np.clip(np.ceil(corners.max(axis=0)), 0, image.shape[1::-1]).astype(int)
    if x2 - x1 < 2 or y2 - y1 < 2:
        return
    matrix = matrix.copy()
    matrix[:, 2] -= (x1, y1)
    size = (int(x2 - x1), int(y2 - y1))
    warp, scale = between_pixels(matrix), float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 1:  # averaged first: a linear warp skips pixels when it shrinks
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.35 / scale), np.uint8)
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    warped = np.asarray(cv2.warpAffine(picture, warp, size, flags=how, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    if scale > 1.5 and rng.random() < 0.6:
        warped = _sharpen(rng, warped, scale)
    mask = cv2.warpAffine(_mask(rng, head.box, side), warp, size, flags=cv2.INTER_LINEAR)[..., None]
    under = image[y1:y2, x1:x2]
    image[y1:y2, x1:x2] = under + (warped.astype(np.float32) - under) * mask


def _mask(rng: np.random.Generator, box: Floats, side: int) -> Floats:
    """Weight (side, side) of the head over what lies behind: an ellipse, or the whole square with its own background.

    The ellipse is often wider than the face, or the outline of the head would pass for that of the face.
    """
    mask = np.zeros((side, side), np.float32)
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    unit = side / 64
    if rng.random() < 0.5:
        axes = half * rng.uniform(1.0, 1.7)
        cv2.ellipse(mask, (tuple(map(float, centre)), tuple(map(float, axes * 2)), 0.0), 1.0, -1)
        soft = rng.uniform(0.8, 3) * unit
    else:
        edge = round(int(rng.integers(1, 4)) * unit)
        mask[edge : side - edge, edge : side - edge] = 1
        soft = rng.uniform(0.3, 3) * unit
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32)


def _sharpen(rng: np.random.Generator, face: Image, scale: float) -> Image:
    """Give an enlarged face the edges and the grain that a near one has in a real picture."""
    soft = cv2.GaussianBlur(face, (0, 0), 0.6 * scale)
    amount = float(rng.uniform(0.2, 1.3))
    out = cv2.addWeighted(face, 1 + amount, soft, -amount, 0).astype(np.float32)
    grain = rng.normal(0, rng.uniform(0, 6), (face.shape[0] // 2 + 1, face.shape[1] // 2 + 1, 1)).astype(np.float32)
    out += cv2.resize(grain, face.shape[1::-1])[..., None]
    return np.clip(out, 0, 255).astype(np.uint8)


def _relight(rng: np.random.Generator, head: Head) -> Head:
    """Another exposure, white balance and side light on one face; the GAN's are often dark."""
    out, side = head.image.astype(np.float32), len(head.image)
    goal = rng.uniform(60, 190)
    quarter = side // 4
    out *= np.clip(goal / max(8.0, float(out[quarter:-quarter, quarter:-quarter].mean())), 0.6, 2.5)
    out *= 1 + rng.normal(0, 0.05, 3).astype(np.float32)
    slope = np.linspace(-1, 1, side, dtype=np.float32) * rng.normal(0, 0.25)
    out *= 1 + (slope[None, :, None] if rng.random() < 0.7 else slope[:, None, None])
    return replace(head, image=np.clip(out, 0, 255).astype(np.uint8))


def _scrambled(rng: np.random.Generator, heads: list[Head]) -> Head:
    """A face cut into squares that are shuffled: its colours and edges, but no face."""
    head = heads[rng.integers(len(heads))]
    cells = int(rng.choice([4, 8]))
    side = len(head.image) // cells
    whole = head.image[: side * cells, : side * cells]
    parts = whole.reshape(cells, side, cells, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    mixed = rng.permutation(parts).reshape(cells, cells, side, side, 3).swapaxes(1, 2).reshape(whole.shape)
    return replace(head, image=np.ascontiguousarray(mixed))


def _draw_person(rng: np.random.Generator, image: Image, box: Floats) -> None:
    """Hair behind the face and a body below it, as flat shapes."""
    x, y = (box[:2] + box[2:]) / 2
    w, h = box[2:] - box[:2]
    if rng.random() < 0.55:
        hair = (float(w * rng.uniform(1.1, 2.0)), float(h * rng.uniform(1.1, 1.7)))
        oval = ((float(x), float(y - 0.1 * h)), hair, float(rng.normal(0, 8)))
        cv2.ellipse(image, oval, colour(rng), -1, cv2.LINE_AA)
    if rng.random() < 0.6:
        neck, body = float(rng.uniform(0.4, 0.7) * w), float(rng.uniform(1.6, 3.2) * w)
        cv2.rectangle(image, (int(x - neck / 2), int(y)), (int(x + neck / 2), int(y + 0.9 * h)), colour(rng), -1)
        centre = (float(x + rng.normal(0, 0.1) * w), float(y + rng.uniform(1.5, 1.8) * h))
        cv2.ellipse(image, (centre, (body, 2 * h), 0.0), colour(rng), -1, cv2.LINE_AA)


def photograph(rng: np.random.Generator, image: Image, smallest: float) -> Image:
    """What lens, sensor and file do: light, colour, grey, blur, low resolution, noise, JPEG.

    `smallest` is the height of the smallest face: where it is small, little is done to the details, since a face that
    nobody could tell from a spot teaches the network to take spots for faces.
    """
    harsh = float(np.clip((smallest - 12) / 40, 0.1, 1))
    out = image.astype(np.float32)
    gain, offset = rng.uniform(0.75, 1.25), rng.normal(0, 10)
    out = out * (gain * (1 + rng.normal(0, 0.04, 3))).astype(np.float32) + np.float32(offset)
    if rng.random() < 0.3:
        out = out.clip(0, 255) ** np.float32(rng.uniform(0.7, 1.4)) * np.float32(1)
        out *= 255 / max(1.0, float(out.max()))
    if rng.random() < 0.4:
        grey = out.mean(axis=2, keepdims=True)
        out = grey + (out - grey) * np.float32(0 if rng.random() < 0.4 else rng.uniform(0.3, 1.3))
    if rng.random() < 0.35:
        noise = rng.standard_normal(out.shape[:2], dtype=np.float32)[..., None]
        out = out + noise * np.float32(harsh * rng.uniform(2, 14))
    picture = np.clip(out, 0, 255).astype(np.uint8)
    kind = rng.random()
    if kind < 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), float(harsh * rng.uniform(0.5, 1.8)))
    elif kind < 0.5:  # a small picture shown large, as many portraits are
        share = float(1 - harsh * rng.uniform(0.2, 0.75))
        small = np.asarray(cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), np.uint8)
        if rng.random() < 0.5:
            small = _jpeg(rng, small)
        how = cv2.INTER_LINEAR if rng.random() < 0.6 else cv2.INTER_CUBIC
        picture = cv2.resize(small, picture.shape[1::-1], interpolation=how)
    if rng.random() < 0.4:
        picture = _jpeg(rng, np.asarray(picture, np.uint8))
    return np.asarray(picture, np.uint8)


def _jpeg(rng: np.random.Generator, picture: Image) -> Image:
    _, file = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))])
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)
