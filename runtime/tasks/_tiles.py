"""Which parts of a frame a network is fed with: the whole frame scaled down, and tiles of it at its own size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np

from ..results import Floats, Image
from ._picture import Letterbox

OVERLAP = 0.25
"""Share of a tile that the next one repeats: what is smaller than that is whole in one of them."""

HW = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Views:
    """Parts of a frame of the size `image_hw`, the first one being all of it.

    `origin` (T, 2) float32 is the x, y of a part's top left corner in pixels of the frame, `size` (T,) float32 the
    pixels of the frame per pixel of the network's input. `inner` (T, 4) float32 are a part's left, top, right and
    bottom edges in pixels of the frame where the frame goes on beyond them; infinite where it ends.
    """

    input_hw: HW
    origin: Floats
    size: Floats
    inner: Floats

    def cut(self, image: Image) -> Image:
        """The parts, (T, H, W, 3) uint8, each in the top left corner of the network's input, the rest black."""
        whole = Letterbox(self.input_hw)(image)
        if len(self.origin) == 1:
            return whole[None]
        height, width = self.input_hw
        parts = np.zeros((len(self.origin), height, width, 3), np.uint8)
        parts[0] = whole
        for part, (x, y) in zip(parts[1:], self.origin[1:].astype(int), strict=True):
            tile = image[y : y + height, x : x + width]
            part[: tile.shape[0], : tile.shape[1]] = tile
        return parts


@lru_cache(maxsize=8)
def views(image_hw: HW, input_hw: HW, tile: bool) -> Views:
    """The whole frame, and with `tile` the tiles of the input's size that cover it, unless it fits in as it is."""
    size = 1 / Letterbox(input_hw).scale(image_hw)
    corners = [(x, y) for y in _starts(image_hw[0], input_hw[0]) for x in _starts(image_hw[1], input_hw[1])]
    if not tile or size <= 1:
        corners = []
    origin = np.array([(0, 0), *corners], np.float32)
    ends = np.concatenate([origin, origin + np.array(input_hw[::-1], np.float32)], axis=1)
    frame = np.array([0, 0, image_hw[1], image_hw[0]], np.float32)
    outer = np.array([-np.inf, -np.inf, np.inf, np.inf], np.float32)
    goes_on = np.concatenate([ends[:, :2] > frame[:2], ends[:, 2:] < frame[2:]], axis=1)
    goes_on[0] = False
    return Views(
        input_hw,
        origin,
        np.array([size, *[1.0] * len(corners)], np.float32),
        np.where(goes_on, ends, outer).astype(np.float32),
    )


def _starts(size: int, tile: int) -> list[int]:
    """Where the tiles begin along a side, evenly spread from end to end."""
    if size <= tile:
        return [0]
    overlap = tile * OVERLAP
    return [int(at) for at in np.linspace(0, size - tile, ceil((size - overlap) / (tile - overlap))).round()]
