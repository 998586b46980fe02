"""Bundles, clips and pictures that the runtime's tests share; all made here, in milliseconds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from helmsight.runtime.bundle import Bundle, Manifest, TensorSpec, write_bundle

FACE_CELLS = 30 * 40 + 15 * 20 + 7 * 10


def face_manifest(**decoding: object) -> Manifest:
    """The manifest of a face detector at 240x320."""
    return Manifest(
        name="face",
        task="face",
        inputs=(TensorSpec("image", (1, 240, 320, 3), "uint8", "NHWC", "BGR", (0, 255)),),
        outputs=(TensorSpec("scores", (1, FACE_CELLS), "float32"), TensorSpec("boxes", (1, FACE_CELLS, 4), "float32")),
        decoding={"strides": [8, 16, 32], "score_threshold": 0.5, "nms_iou": 0.45} | decoding,
    )


def navigate_manifest(**decoding: object) -> Manifest:
    """The manifest of a navigation network at 72x96."""
    return Manifest(
        name="navigate",
        task="navigate",
        inputs=(TensorSpec("image", (1, 72, 96, 3), "uint8", "NHWC", "BGR", (0, 255)),),
        outputs=(
            TensorSpec("steer", (1, 1), "float32"),
            TensorSpec("collision", (1, 1), "float32"),
            TensorSpec("free_space", (1, 36, 48), "float32"),
        ),
        decoding=decoding,
    )


@pytest.fixture
def face_bundle(tmp_path: Path) -> Bundle:
    """A bundle for the fake back end."""
    return write_bundle(tmp_path / "f.bundle", face_manifest(), {"model.onnx": b"not read by the fake back end"})


@pytest.fixture
def navigate_bundle(tmp_path: Path) -> Bundle:
    """A bundle for the fake back end."""
    return write_bundle(tmp_path / "n.bundle", navigate_manifest(), {"model.onnx": b"not read by the fake back end"})


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve frames of 64x48 at 20 frames/s; frame i is grey with value 20 i."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
    for i in range(12):
        writer.write(np.full((48, 64, 3), 20 * i, np.uint8))
    writer.release()
    return path
