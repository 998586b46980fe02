"""Textures drawn from a seed: checks, stripes, tiles, bricks, speckles, clouds, stones and grain in any colours.

Training courses use them beside MiniWorld's photographs, of which there are too few to learn from that a floor may
have any pattern (domain randomisation, Tobin et al. 2017).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import need
from ..results import Image

SIZE = 512
"""Texels of a side: one metre, as MiniWorld's textures are meant."""
PREFIX = "pattern:"

Mask = NDArray[np.float64]
"""(SIZE, SIZE) in 0..1: how much of the second colour."""


def pattern(name: str) -> Image:
    """The texture (SIZE, SIZE, 3) uint8 BGR of `pattern:SEED`; it repeats without a seam but for clouds' edges."""
    rng = np.random.default_rng((int(name.removeprefix(PREFIX)), 53))
    kinds = BOLD if rng.random() < BOLD_SHARE else FINE
    mask = kinds[rng.integers(len(kinds))](rng)
    dark, light = np.sort(rng.uniform(10, 250, 2))
    first, second = (np.clip(level * rng.uniform(0.75, 1.1, 3), 0, 255) for level in rng.permutation([dark, light]))
    image = first + mask[..., None] * (second - first)
    if rng.random() < 0.4:  # worn or veined
        image *= 1 + rng.uniform(0.1, 0.5) * (_clouds(rng)[..., None] - 0.5)
    image += rng.normal(0, rng.uniform(0, 14), (SIZE, SIZE, 1))
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def _grid(rng: np.random.Generator, most: int) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Row and column of each texel, counted in cells, and the cells along a side."""
    cells = int(rng.integers(1, most + 1))
    y, x = np.mgrid[0:SIZE, 0:SIZE] * (cells / SIZE)
    return y, x, cells


def _checks(rng: np.random.Generator) -> Mask:
    y, x, _ = _grid(rng, 3)
    return np.asarray((np.floor(2 * x) + np.floor(2 * y)) % 2)


def _stripes(rng: np.random.Generator) -> Mask:
    y, x, _ = _grid(rng, 6)
    along = x if rng.random() < 0.5 else y
    return np.asarray((along % 1 < rng.uniform(0.1, 0.9)).astype(float))


def _tiles(rng: np.random.Generator) -> Mask:
    y, x, cells = _grid(rng, 5)
    shade = rng.uniform(0, 0.4, (cells, cells))[np.floor(y).astype(int), np.floor(x).astype(int)]
    joint = rng.uniform(0.02, 0.1)
    return np.asarray(np.where((x % 1 < joint) | (y % 1 < joint), 1.0, shade))


def _bricks(rng: np.random.Generator) -> Mask:
    y, x, _ = _grid(rng, 3)
    row = np.floor(3 * y)
    joint = rng.uniform(0.04, 0.12)
    shifted = x + (row % 2) / 2
    return np.asarray(((3 * y % 1 < joint) | (shifted % 1 < joint / 2)).astype(float))


def _speckles(rng: np.random.Generator) -> Mask:
    cells = int(rng.choice([64, 128, 256]))
    dots = (rng.random((cells, cells)) < rng.uniform(0.05, 0.5)).astype(float)
    return np.asarray(np.kron(dots, np.ones((SIZE // cells, SIZE // cells))))


def _clouds(rng: np.random.Generator) -> Mask:
    """Noise in octaves, each half as strong as the one before; sharp at times, like cracks and stains."""
    cv2, total = need("cv2", "cpu"), np.zeros((SIZE, SIZE))
    for octave in range(2, 8):
        cells = 2**octave
        layer = cv2.resize(rng.random((cells, cells)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        total += layer / 2 ** (octave * 0.7)
    total = (total - total.min()) / np.ptp(total)
    sharp = rng.uniform(1, 8)
    return np.asarray(1 / (1 + np.exp(-sharp * (total - 0.5) * 4)))


def _stones(rng: np.random.Generator) -> Mask:
    """Cells around random points, each of its own shade, with joints at times (Worley 1996)."""
    cv2 = need("cv2", "cpu")
    side = SIZE // 2
    count = int(rng.integers(6, 80))
    apart = np.ones((side, side), np.uint8)
    apart.flat[rng.choice(side * side, count, replace=False)] = 0
    labels = cv2.distanceTransformWithLabels(np.tile(apart, (3, 3)), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1][
        side : 2 * side, side : 2 * side
    ]
    mask = rng.uniform(0, 0.6, int(labels.max()) + 1)[labels]
    if rng.random() < 0.7:
        edges = (labels != np.roll(labels, 1, 0)) | (labels != np.roll(labels, 1, 1))
        width = int(rng.integers(1, 5))
        mask[cv2.dilate(edges.astype(np.uint8), np.ones((width, width), np.uint8)) > 0] = 1.0
    return np.asarray(np.kron(mask, np.ones((2, 2))))


def _grain(rng: np.random.Generator) -> Mask:
    """Lines along one side, bent by slow noise: wood, brushed metal, veins."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    bend = rng.uniform(0, 0.15) * np.sin(2 * np.pi * (rng.integers(1, 4) * y + rng.random()))
    lines = rng.random(SIZE)
    fine = np.interp(((x + bend) % 1) * SIZE, np.arange(SIZE), np.convolve(lines, np.ones(5) / 5, "same"))
    wide = np.sin(2 * np.pi * (rng.integers(1, 8) * (x + bend))) / 2 + 0.5
    mask = fine + rng.uniform(0, 1.5) * wide
    mask = (mask - mask.min()) / np.ptp(mask)
    return np.asarray(mask if rng.random() < 0.5 else mask.T)


BOLD, FINE = (_checks, _tiles, _clouds, _stones), (_stripes, _bricks, _speckles, _grain)
BOLD_SHARE = 0.9
"""Share of patterns that are of large shapes, whose edges look like the end of a floor or like a way."""
