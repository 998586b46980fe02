"""Fitting a frame into a network's input."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...devices.errors import BadArtefact
from ..bundle import Manifest, TensorSpec
from ..results import Image


def camera_picture(manifest: Manifest) -> TensorSpec:
    """The one input of a network that takes frames as a camera gives them. Raises BadArtefact for any other."""
    shown = ", ".join(f"{spec.name} {spec.dtype} {spec.layout} {spec.shape}" for spec in manifest.inputs) or "nothing"
    picture = manifest.inputs[0] if len(manifest.inputs) == 1 else None
    if picture is None or (picture.dtype, picture.layout, picture.shape[3:]) != ("uint8", "NHWC", (3,)):
        raise BadArtefact(
            f"bundle {manifest.name} takes {shown}; expected one picture, uint8 NHWC (1, H, W, 3): export it again"
        )
    return picture


def check_outputs(manifest: Manifest, expected: Mapping[str, tuple[int | str | None, ...]]) -> None:
    """Raises BadArtefact where an output is missing, or of another shape; None is a dimension of any size."""
    found = {spec.name: spec for spec in manifest.outputs}
    if missing := [name for name in expected if name not in found]:
        raise BadArtefact(
            f"bundle {manifest.name} has no output {', '.join(missing)}; its task of this helmsight has "
            f"{', '.join(expected)}: train and export it again"
        )
    for name, shape in expected.items():
        spec = found[name]
        same = len(spec.shape) == len(shape) and all(
            None in (wanted, real) or isinstance(real, str) or wanted == real
            for wanted, real in zip(shape, spec.shape, strict=True)
        )
        if not same or spec.dtype != "float32":
            sizes = " x ".join("any" if side is None else str(side) for side in shape)
            raise BadArtefact(
                f"bundle {manifest.name}: output {name} is {spec.dtype} {spec.shape}, expected float32 {sizes}; "
                "train and export it again"
            )


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
