"""Manifests of bundles that the fake back end runs."""

from __future__ import annotations

from dataclasses import replace

from helmsight.runtime.bundle import Manifest, TensorSpec

FACE_CELLS = 30 * 40 + 15 * 20 + 7 * 10


def face_manifest(**decoding: object) -> Manifest:
    """The manifest of a face detector at 240x320."""
    return Manifest(
        name="face",
        task="face",
        inputs=(TensorSpec("image", (1, 240, 320, 3), "uint8", "NHWC", "BGR", (0, 255)),),
        outputs=(
            TensorSpec("scores", (1, FACE_CELLS), "float32"),
            TensorSpec("boxes", (1, FACE_CELLS, 4), "float32"),
            TensorSpec("landmarks", (1, FACE_CELLS, 5, 2), "float32"),
        ),
        decoding={"strides": [8, 16, 32], "score_threshold": 0.5, "nms_iou": 0.45} | decoding,
    )


def open_face_manifest() -> Manifest:
    """The same for pictures of other multiples of 32 as well."""
    manifest = face_manifest()
    return replace(manifest, inputs=(replace(manifest.inputs[0], multiple=32),))


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
