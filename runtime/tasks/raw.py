"""A model whose outputs helmsight does not decode: its record says how large they are, and nothing is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import UsageError
from ..backends import Feeds, Outputs
from ..bundle import Manifest
from ..results import Image
from ._picture import resize


@dataclass(frozen=True, slots=True)
class Raw:
    """The outputs as they came, by name."""

    outputs: Outputs

    def to_json(self) -> dict[str, Any]:
        return {
            name: {"shape": list(values.shape), "mean": round(float(np.mean(values)), 6)}
            for name, values in self.outputs.items()
        }


class RawTask:
    """Feeds a picture input of any layout, colour and dtype from the frame.

    uint8 stays as it is; elsewhere black and white become the ends of the manifest's range, or else 0 and 1.
    """

    name = "raw"

    def __init__(self, manifest: Manifest) -> None:
        if len(manifest.inputs) != 1 or not manifest.inputs[0].layout:
            raise UsageError(
                f"bundle {manifest.name} has no task and no single picture input, so frames cannot be fed to it; "
                "export it again with a picture input (NHWC or NCHW)"
            )
        self._input = manifest.inputs[0]
        batch = self._input.shape[0]
        if isinstance(batch, int) and batch != 1:
            raise UsageError(
                f"bundle {manifest.name} takes {batch} pictures at once (input {self._input.name} "
                f"{self._input.shape}), frames come one at a time; export it again with a batch of 1"
            )

    def prepare(self, image: Image) -> Feeds:
        import cv2

        spec = self._input
        picture = resize(image, spec.image_hw)
        if spec.colour == "RGB":
            picture = picture[:, :, ::-1]
        elif spec.colour == "GREY":
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[:, :, None].astype(np.uint8, copy=False)
        if spec.layout == "NCHW":
            picture = picture.transpose(2, 0, 1)
        values = picture[None]
        if spec.dtype == "uint8":
            return {spec.name: np.ascontiguousarray(values)}
        return {spec.name: np.ascontiguousarray(_scale(values, np.dtype(spec.dtype), spec.range or (0, 1)))}

    def decode(self, outputs: Outputs, image_hw: tuple[int, int]) -> Raw:
        return Raw(outputs)

    def draw(self, image: Image, record: Any) -> None:
        return


def _scale(picture: Image, dtype: np.dtype[Any], limits: tuple[float, float]) -> NDArray[Any]:
    """0..255 into `limits`, computed in float32 whatever the dtype: one byte would wrap on the way."""
    low, high = limits
    values = picture.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)
    if dtype.kind in "iu":
        values = np.clip(np.rint(values), np.iinfo(dtype).min, np.iinfo(dtype).max)
    return values.astype(dtype)
