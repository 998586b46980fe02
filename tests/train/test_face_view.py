"""Photographs shown in pictures, and their faces carried along."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from helmsight.train.face.teachers import Labels
from helmsight.train.face.view import SMALLEST, Region, carry, join, show

from .heads import MARKS, labels_of


def test_a_face_is_carried_with_its_picture() -> None:
    region = Region(100, 50, 300, 200)
    matrix = np.array([[2.0, 0, 10], [0, 2, 20]])
    carried = carry(labels_of(), matrix, (64, 64), region)
    assert carried.boxes[0] == pytest.approx([100 + 34, 50 + 30, 100 + 114, 50 + 138])
    assert carried.landmarks[0, 2] == pytest.approx([100 + 74, 50 + 92])
    assert not carried.doubtful[0]


def test_a_mirrored_face_has_its_left_eye_on_the_left() -> None:
    flipped = carry(labels_of(), np.array([[-1.0, 0, 64], [0, 1, 0]]), (64, 64), Region(0, 0, 64, 64))
    assert flipped.landmarks[0, 0, 0] < flipped.landmarks[0, 1, 0]
    assert flipped.landmarks[0, 3, 0] < flipped.landmarks[0, 4, 0]
    assert flipped.landmarks[0, :, 1] == pytest.approx([26, 26, 36, 46, 46])


def test_a_turned_face_has_the_box_around_its_ellipse() -> None:
    turned = carry(labels_of(), np.array([[0.0, -1, 64], [1, 0, 0]]), (64, 64), Region(0, 0, 64, 64))
    assert turned.boxes[0] == pytest.approx([5, 12, 59, 52])


@pytest.mark.parametrize(
    ("scale", "shift", "kept", "doubtful"),
    [(1.0, 0.0, True, False), (1.0, -35.0, True, True), (1.0, -50.0, False, True), (SMALLEST / 60, 0.0, True, True)],
)
def test_what_is_cut_or_tiny_is_doubtful_and_then_gone(scale: float, shift: float, kept: bool, doubtful: bool) -> None:
    matrix = np.array([[scale, 0, shift], [0, scale, 0]])
    carried = carry(labels_of(), matrix, (64, 64), Region(0, 0, 64, 64))
    assert len(carried.boxes) == kept
    assert not kept or carried.doubtful[0] == doubtful


def test_what_is_shown_lies_where_its_label_says() -> None:
    """The oval is white on black, nothing else is: its extent must be that of the box."""
    image = np.zeros((64, 64, 3), np.uint8)
    cv2.ellipse(image, (32, 32), (20, 27), 0, 0, 360, (255, 255, 255), -1)
    labels = Labels(np.array([[11.5, 4.5, 53, 60]], np.float32), np.array([MARKS], np.float32), np.zeros(1, bool))
    seen = 0
    for seed in range(60):
        canvas = np.zeros((200, 240, 3), np.uint8)
        found = show(np.random.default_rng(seed), (image, labels), canvas, Region(20, 10, 200, 180))
        if not len(found.boxes) or found.doubtful[0] or found.boxes[0, 3] - found.boxes[0, 1] < 20:
            continue
        ys, xs = np.nonzero(canvas[..., 0] > 127)
        extent = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        assert found.boxes[0] == pytest.approx(extent, abs=0.05 * (extent[3] - extent[1]) + 1.5)
        seen += 1
    assert seen > 20


def test_a_person_cut_out_leaves_what_is_behind() -> None:
    layers = np.dstack([np.full((64, 64, 3), 255, np.uint8), np.zeros((64, 64), np.uint8)])
    layers[20:44, 20:44, 3] = 255
    canvas = np.full((64, 64, 3), 77, np.uint8)
    show(np.random.default_rng(3), (layers, join([])), canvas, Region(0, 0, 64, 64))
    assert {77, 255} <= set(np.unique(canvas).tolist())
