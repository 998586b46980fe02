"""A model whose outputs helmsight does not decode: its record says how large they are, and nothing is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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
    """Feeds a picture input of any layout, colour and dtype from the frame; float inputs get the manifest's range."""

    name = "raw"

    def __init__(self, manifest: Manifest) -> None:
        if len(manifest.inputs) != 1 or not manifest.inputs[0].layout:
            raise UsageError(
                f"bundle {manifest.name} has no task and no single picture input, so frames cannot be fed to it; "
                "export it again with a picture input (NHWC or NCHW)"
            )
        self._input = manifest.inputs[0]

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
        if spec.dtype != "uint8":
            low, high = spec.range or (0.0, 1.0)
            values = (values.astype(spec.dtype) * ((high - low) / 255) + low).astype(spec.dtype)
        return {spec.name: np.ascontiguousarray(values)}

    def decode(self, outputs: Outputs, image_hw: tuple[int, int]) -> Raw:
        return Raw(outputs)

    def draw(self, image: Image, record: Any) -> None:
        return
