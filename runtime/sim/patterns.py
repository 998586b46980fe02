"""Textures drawn from a seed: checks, stripes, tiles, bricks, speckles and clouds in any colours.

Training courses use them beside MiniWorld's photographs, of which there are too few to learn from that a floor may
have any pattern (domain randomisation, Tobin et al. 2017).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..results import Image

SIZE = 512
"""Texels of a side: one metre, as MiniWorld's textures are meant."""
PREFIX = "pattern:"

Mask = NDArray[np.float64]
"""(SIZE, SIZE) in 0..1: how much of the second colour."""


def pattern(name: str) -> Image:
    """The texture (SIZE, SIZE, 3) uint8 BGR of `pattern:SEED`; it repeats without a seam but for clouds' edges."""
    rng = np.random.default_rng((int(name.removeprefix(PREFIX)), 53))
    kinds = (_checks, _stripes, _tiles, _bricks, _speckles, _clouds)
    mask = kinds[rng.integers(len(kinds))](rng)
    dark, light = np.sort(rng.uniform(10, 250, 2))
    first, second = (np.clip(level * rng.uniform(0.75, 1.1, 3), 0, 255) for level in rng.permutation([dark, light]))
    image = first + mask[..., None] * (second - first)
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
    total = np.zeros((SIZE, SIZE))
    for octave in range(2, 8):
        cells = 2**octave
        total += np.kron(rng.random((cells, cells)), np.ones((SIZE // cells, SIZE // cells))) / 2 ** (octave * 0.7)
    total = (total - total.min()) / np.ptp(total)
    sharp = rng.uniform(1, 8)
    return np.asarray(1 / (1 + np.exp(-sharp * (total - 0.5) * 4)))
