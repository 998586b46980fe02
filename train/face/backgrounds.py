"""What stands behind the faces: textures, face-free photographs, and drawn clutter that looks a little like faces."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from ...devices.errors import MissingExtra
from ...runtime.fetch import Package, fetch
from ...runtime.pictures import read_picture
from ...runtime.results import Image
from .photographs import shrink

PHOTOS = Package(
    "scikit-image",
    "0.26.0",
    "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    "BSD-3-Clause",
)
FACE_FREE = (
    *("brick", "cell", "chelsea", "chessboard_GRAY", "clock_motion", "coffee", "color", "grass", "gravel", "horse"),
    *("hubble_deep_field", "ihc", "moon", "motorcycle_left", "motorcycle_right", "retina", "rocket", "text"),
)
"""Pictures of scikit-image without a person, looked at one by one; not page.png, of which libpng warns at each load."""
LARGEST = 640
"""Pictures are kept at most this wide or high, in pixels."""


def load_backgrounds(cache: Path) -> list[Image]:
    """MiniWorld's textures, and face-free photographs of scikit-image, in a fixed order.

    Raises MissingExtra without MiniWorld, FetchFailed when a package cannot be fetched.
    """
    found = find_spec("miniworld")
    if found is None or found.origin is None:
        raise MissingExtra("miniworld is not installed; its textures are backgrounds: pip install 'helmsight[sim]'")
    # The sub-folders are left out: they hold letters and portraits.
    textures = sorted((Path(found.origin).parent / "textures").glob("*.png"))
    photos = fetch(PHOTOS, cache) / "skimage" / "data"
    files = textures + [next(photos.glob(f"{name}.*")) for name in FACE_FREE]
    return [_load(file) for file in files]


def draw_background(rng: np.random.Generator, pictures: list[Image], hw: tuple[int, int]) -> Image:
    """A face-free picture of this height and width."""
    kind = rng.random()
    if kind < 0.55:
        image = _crop(rng, pictures[rng.integers(len(pictures))], hw)
        if rng.random() < 0.3:  # a wall and a floor, a table before a wall
            edge = int(hw[0] * rng.uniform(0.3, 0.9))
            image[edge:] = _crop(rng, pictures[rng.integers(len(pictures))], hw)[edge:]
    elif kind < 0.8:
        image = _clouds(rng, hw)
    else:
        image = _gradient(rng, hw)
    _draw_shapes(rng, image, int(rng.integers(0, 14)) if rng.random() < 0.6 else 0)
    return image


def colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """A BGR colour: any, a grey, or near that of skin or hair."""
    kind = rng.random()
    if kind < 0.35:  # from dark brown to pale pink
        light, warm = rng.uniform(40, 245), rng.uniform(0.55, 0.95)
        return int(light * warm**2), int(light * warm), int(light)
    if kind < 0.55:
        grey = int(rng.integers(0, 256))
        return grey, grey, grey
    b, g, r = rng.integers(0, 256, 3)
    return int(b), int(g), int(r)


def _load(file: Path) -> Image:
    return shrink(read_picture(file), LARGEST)


def _crop(rng: np.random.Generator, picture: Image, hw: tuple[int, int]) -> Image:
    """A part of the picture, turned, at a random size, tiled by reflection where it is too small."""
    height, width = picture.shape[:2]
    scale = float(np.exp(rng.uniform(np.log(0.3), np.log(2.5))) * max(hw) / max(height, width))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.normal(0, 12)), scale)
    middle = np.array([hw[1] - width, hw[0] - height], np.float64) / 2
    matrix[:, 2] = matrix[:, 2] + middle + rng.normal(0, 40, 2)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.warpAffine(picture, matrix, hw[::-1], flags=how, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _clouds(rng: np.random.Generator, hw: tuple[int, int]) -> Image:
    """Smooth noise: what is far out of focus."""
    cells = int(rng.integers(2, 12))
    base = np.array(colour(rng), np.float32)
    small = np.clip(base + rng.normal(0, rng.uniform(5, 60), (cells, cells, 3)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(small, hw[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def _gradient(rng: np.random.Generator, hw: tuple[int, int]) -> Image:
    """One colour, or from one to another: a wall, a studio."""
    first = np.array(colour(rng), np.float32)
    last = np.array(colour(rng), np.float32) if rng.random() < 0.5 else first
    steps = np.linspace(0, 1, hw[0], dtype=np.float32)[:, None, None]
    column = first + (last - first) * steps
    return np.broadcast_to(column, (*hw, 3)).astype(np.uint8, order="C")


def _draw_shapes(rng: np.random.Generator, image: Image, count: int) -> None:
    height, width = image.shape[:2]
    for _ in range(count):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = np.exp(rng.uniform(np.log(4), np.log(110), 2)).astype(int)
        fill = -1 if rng.random() < 0.7 else int(rng.integers(1, 5))
        kind = rng.integers(0, 5)
        if kind == 0:
            turn = float(rng.uniform(0, 180))
            cv2.ellipse(image, (x, y), (int(size[0]), int(size[1])), turn, 0, 360, colour(rng), fill)
        elif kind == 1:
            cv2.rectangle(image, (x, y), (x + int(size[0]), y + int(size[1])), colour(rng), fill)
        elif kind == 2:
            end = (int(rng.integers(0, width)), int(rng.integers(0, height)))
            cv2.line(image, (x, y), end, colour(rng), int(rng.integers(1, 8)), cv2.LINE_AA)
        elif kind == 3:
            text = "".join(chr(c) for c in rng.integers(33, 127, int(rng.integers(1, 9))))
            font, large = int(rng.integers(0, 7)), float(rng.uniform(0.3, 2))
            cv2.putText(image, text, (x, y), font, large, colour(rng), 1, cv2.LINE_AA)
        else:
            _draw_dummy(rng, image, (x, y), size)


def _draw_dummy(rng: np.random.Generator, image: Image, at: tuple[int, int], size: Image) -> None:
    """An upright ellipse with a few blobs on it: a clock, a plate, a ball, a flower; no face."""
    w, h = int(size.min()), int(size.min() * rng.uniform(1, 1.4))
    cv2.ellipse(image, at, (w, h), 0, 0, 360, colour(rng), -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 7))):
        spot = (at[0] + int(rng.normal(0, w / 2.5)), at[1] + int(rng.normal(0, h / 2.5)))
        cv2.ellipse(image, spot, (max(1, w // 6), max(1, h // 8)), float(rng.uniform(0, 180)), 0, 360, colour(rng), -1)
