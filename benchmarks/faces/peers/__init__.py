"""The detectors that people use today, one small file each, all with the surface of `Peer`.

These files run in a virtual environment of their own (`environment.py` makes it) and so import nothing of helmsight:
numpy, OpenCV 4 and the peer's own package, the latter only when the peer is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FLOOR = 0.02
"""Where a detector takes a threshold, it ranks what is above this one: the floor of `train/face/evaluate.py`."""


@dataclass(frozen=True)
class Found:
    """Detections in one picture, best first: `xyxy` (n, 4) and `landmarks` (n, k, 2) in its pixels, `score` (n,).

    k is 5 in RetinaFace's order, 4 where a detector has the mouth's centre in place of its corners, 0 where there are
    none.
    """

    xyxy: NDArray[np.float32]
    score: NDArray[np.float32]
    landmarks: NDArray[np.float32]


class Peer(Protocol):
    """A detector, loaded, for one thread."""

    package: str
    """The distribution whose version names it."""
    threshold: float
    """The one that its own documentation or signature gives."""
    probability: bool
    """Its score is in 0..1 and means one."""

    work: tuple[int, float] | None
    """Parameters and MFLOPs (two a multiply-accumulate) that are known from elsewhere than an ONNX file."""

    def detect(self, image: NDArray[np.uint8], threshold: float) -> Found:
        """The faces in a picture (H, W, 3) uint8 BGR, in the detector's own way."""
        ...

    def network(self) -> tuple[bytes, dict[str, list[int]]] | None:
        """Its ONNX file and the inputs' shapes for a picture of 320x240, where there is one."""
        ...


PEERS = {
    "MediaPipe short range": ("google", "ShortRange"),
    "MediaPipe full range": ("google", "FullRange"),
    "BlazeFace front": ("blazeface", "Front"),
    "BlazeFace back": ("blazeface", "Back"),
    "libfacedetection": ("libfacedetection", "LibFaceDetection"),
    "RetinaFace-mnet0.25": ("retinaface", "RetinaFace"),
    "CenterFace": ("centerface", "CenterFace"),
    "dlib HOG": ("hog", "Hog"),
    "dlib HOG, picture doubled": ("hog", "HogDoubled"),
    "Haar alt2": ("haar", "Alt2"),
    "Haar default": ("haar", "Default"),
}
"""Name in the table to module and class here."""


def source_of(name: str) -> Path:
    """The file that adapts a peer: what it finds depends on it as well."""
    return Path(__file__).with_name(f"{PEERS[name][0]}.py")


def make(name: str) -> Peer:
    """Load a peer; raises ImportError where its package is not installed."""
    module, kind = PEERS[name]
    made: Any = getattr(import_module(f"{__name__}.{module}"), kind)()
    peer: Peer = made
    return peer


def found(xyxy: Any, score: Any, landmarks: Any, points: int) -> Found:
    """A `Found` of anything array-like, sorted by score."""
    scores = np.asarray(score, np.float32).reshape(-1)
    order = np.argsort(-scores, kind="stable")
    boxes = np.asarray(xyxy, np.float32).reshape(-1, 4)
    marks = np.asarray(landmarks, np.float32).reshape(len(scores), points, 2)
    return Found(boxes[order], scores[order], marks[order])
