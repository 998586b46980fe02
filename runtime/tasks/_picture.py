"""Fitting a frame into a network's input."""

from __future__ import annotations

import numpy as np

from ..results import Image


def resize(image: Image, hw: tuple[int, int]) -> Image:
    """`image` at height and width `hw`: averaged over areas when it shrinks, linear when it grows."""
    import cv2

    height, width = hw
    if image.shape[:2] == hw:
        return image
    shrinks = height < image.shape[0] or width < image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how).astype(np.uint8, copy=False)


class Letterbox:
    """Fits frames of any size into `hw`, keeping their aspect: top left, the rest black.

    A call returns a buffer of its own (H x W x 3 uint8): it is the caller's until the next call.
    """

    def __init__(self, hw: tuple[int, int]) -> None:
        self.hw = hw
        self._buffer = np.zeros((*hw, 3), np.uint8)
        self._filled = hw

    def scale(self, image_hw: tuple[int, int]) -> float:
        """Pixels of the input per pixel of the frame."""
        return min(self.hw[0] / image_hw[0], self.hw[1] / image_hw[1])

    def __call__(self, image: Image) -> Image:
        scale = self.scale(image.shape[:2])
        height = max(1, min(self.hw[0], round(image.shape[0] * scale)))
        width = max(1, min(self.hw[1], round(image.shape[1] * scale)))
        if (height, width) == self.hw:
            return resize(image, self.hw)
        if (height, width) != self._filled:
            self._buffer[:] = 0
            self._filled = (height, width)
        self._buffer[:height, :width] = resize(image, (height, width))
        return self._buffer
