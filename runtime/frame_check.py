"""What every frame of a source must be, so that no model is fed anything else in silence."""

from __future__ import annotations

import numpy as np

from ..devices.errors import CameraUnavailable
from .results import Frame, Image


class FrameCheck:
    """Raises CameraUnavailable for a frame that is not H x W x 3 uint8 and, with `one_size`, of the first one's size.

    A source turns what it reads into such frames; one that does not would show a model other colours than it learnt.
    """

    def __init__(self, uri: str, one_size: bool) -> None:
        self._uri, self._one_size = uri, one_size
        self._hw: tuple[int, int] | None = None

    def __call__(self, frame: Frame) -> None:
        image = frame.image
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise CameraUnavailable(
                f"{self._uri}: frame {frame.index} is {_shape(image.shape)} {image.dtype}; expected height x width x 3 "
                "uint8, blue, green, red; set the camera to an 8-bit colour format"
            )
        hw = (image.shape[0], image.shape[1])
        if self._one_size and self._hw not in (None, hw):
            assert self._hw is not None
            raise CameraUnavailable(
                f"{self._uri}: frame {frame.index} is {hw[1]}x{hw[0]}, those before are {self._hw[1]}x{self._hw[0]}; "
                "a robot and a map need one size; set the camera to it, or start again"
            )
        self._hw = hw


class RepeatCheck:
    """True for a frame of a camera that shows nothing new; `count` is how often in a row, `what` in words.

    Either it is the one before it again (a sensor's noise makes every picture another one), or of one colour all over
    (black, or the green of an empty YUV buffer). Every sixteenth row tells, in 9 microseconds at 640x480. It does not
    hold for pictures that are drawn.
    """

    def __init__(self) -> None:
        self.count = 0
        self.what = ""
        self._rows: Image | None = None

    def __call__(self, frame: Frame) -> bool:
        rows = frame.image[::16].copy()
        same = self._rows is not None and np.array_equal(rows, self._rows)
        blank = _blank(rows[0]) and _blank(rows)
        self._rows = rows
        self.count = self.count + 1 if same or blank else 0
        self.what = "a picture of one colour" if blank else "the same picture"
        return self.count > 0


def _blank(pixels: Image) -> bool:
    """Whether each is the one before it: compared as one run of bytes, a pixel apart."""
    values = pixels.reshape(-1)
    return bool((values[3:] == values[:-3]).all())


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "nothing"
