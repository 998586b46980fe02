"""Fitting a frame into a network's input."""

from __future__ import annotations

import numpy as np

from ..results import Image


def resize(image: Image, hw: tuple[int, int]) -> Image:
    """`image` at height and width `hw`: averaged over areas when it shrinks, linear when it grows.

    It is halved as often as that goes first: OpenCV averages two by two pixels several times as fast as areas of
    any other size, and the average of averages is the same but for rounding.
    """
    import cv2

    height, width = hw
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    if image.shape[:2] == hw:
        return image
    shrinks = height < image.shape[0] or width < image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how).astype(np.uint8, copy=False)


class Letterbox:
    """Fits frames of any size into `hw`, keeping their aspect: top left, the rest black.

    A call returns a new array (H x W x 3 uint8), so that the next frame can be fitted while this one is looked at.
    """

    def __init__(self, hw: tuple[int, int]) -> None:
        self.hw = hw

    def scale(self, image_hw: tuple[int, int]) -> float:
        """Pixels of the input per pixel of the frame."""
        return min(self.hw[0] / image_hw[0], self.hw[1] / image_hw[1])

    def __call__(self, image: Image) -> Image:
        scale = self.scale(image.shape[:2])
        height = max(1, min(self.hw[0], round(image.shape[0] * scale)))
        width = max(1, min(self.hw[1], round(image.shape[1] * scale)))
        if (height, width) == self.hw:
            return resize(image, self.hw)
        fitted = np.zeros((*self.hw, 3), np.uint8)
        fitted[:height, :width] = resize(image, (height, width))
        return fitted
