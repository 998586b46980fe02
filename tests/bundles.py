"""Manifests of bundles that the fake back end runs, and a small network for the real one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from helmsight.runtime.bundle import Bundle, Manifest, TensorSpec, write_bundle

EMPTY_GRAPH = b"\x3a\x00"
"""An ONNX file's outline, of a graph without nodes: for engines that are not real."""


def outline(opset: int) -> bytes:
    """EMPTY_GRAPH in an operator set below 128."""
    return EMPTY_GRAPH + bytes([0x42, 2, 0x10, opset])


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


def open_face_manifest(**decoding: object) -> Manifest:
    """The same for pictures of other multiples of 32 as well."""
    manifest = face_manifest(**decoding)
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


def write_block_finder(path: Path) -> Bundle:
    """A face detector for pictures of any size to which a white block of 8 x 8 pixels in a cell is a face.

    Its box is the cell, its five points lie in the middle of it.
    """
    from onnx import TensorProto, helper, numpy_helper

    numbers = {
        "first": np.array([0]), "second": np.array([1]), "channels": np.array([3]), "row": np.array([1, -1]),
        "white": np.float32(255), "last": np.array([2]), "last_two": np.array([2, 3]),
        "no_reach": np.zeros((1, 1, 4), np.float32), "half": np.float32(0.5),
        "no_points": np.zeros((1, 1, 5, 2), np.float32),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Slice", ["image", "first", "second", "channels"], ["blue"]),
        node("Cast", ["blue"], ["grey"], to=TensorProto.FLOAT),
        node("Transpose", ["grey"], ["plane"], perm=[0, 3, 1, 2]),
        node("AveragePool", ["plane"], ["blocks"], kernel_shape=[8, 8], strides=[8, 8]),
        node("Div", ["blocks", "white"], ["share"]),
        node("Reshape", ["share", "row"], ["scores"]),
        node("Unsqueeze", ["scores", "last"], ["column"]),
        node("Mul", ["column", "no_reach"], ["flat"]),
        node("Add", ["flat", "half"], ["boxes"]),
        node("Unsqueeze", ["scores", "last_two"], ["cube"]),
        node("Mul", ["cube", "no_points"], ["landmarks"]),
    ]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()]
    shapes = {"scores": [1, "n"], "boxes": [1, "n", 4], "landmarks": [1, "n", 5, 2]}
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "height", "width", 3])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "blocks", [image], outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    cells = 30 * 40
    manifest = replace(
        open_face_manifest(strides=[8]),
        outputs=tuple(TensorSpec(name, (1, cells, *shape[2:]), "float32") for name, shape in shapes.items()),
    )
    return write_bundle(path, manifest, {"model.onnx": model.SerializeToString()})
