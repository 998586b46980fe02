"""How two detectors' answers become labels; the detectors here find what is drawn, nothing is fetched."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helmsight.train.face.teachers import (  # noqa: E402
    AGREE,
    SAME,
    Teachers,
    _agree,
    _landmarks_of,
    _turned_back,
    mean_landmarks,
)

MARKS = np.array([[20, 25], [40, 25], [30, 38], [22, 50], [38, 50]], np.float32)
"""Eyes 20 pixels apart."""
APART = np.array([20, 0], np.float32)
SHARES = np.array([[0.25, 0.3], [0.75, 0.3], [0.6, 0.5], [0.3, 0.8], [0.7, 0.8]])
"""Of a face that looks to the picture's right, in widths and heights of its box."""
BOX = (60, 100, 124, 180)


class Drawn(Teachers):
    """Both see the white rectangle; each puts the landmarks `shifts` pixels too far right in what it is shown."""

    def __init__(self, shifts: tuple[float, float]) -> None:
        self.shifts = shifts

    def _retina(self, image):
        return _white(image, self.shifts[0])

    def _center(self, image):
        return _white(image, self.shifts[1])


def _white(image, shift):
    ys, xs = np.nonzero(image[..., 0] > 191)
    box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
    mirrored = image[ys.min() + 2, xs.max() - 2, 1] == 0  # the corner on the face's left is dark in green
    shares = (np.array([1, 0]) + np.array([-1, 1]) * SHARES)[[1, 0, 2, 4, 3]] if mirrored else SHARES
    marks = box[:2] + shares * (box[2:] - box[:2]) + (shift, 0)
    return box[None], marks[None].astype(np.float32), np.array([0.9], np.float32)


def draw_face() -> np.ndarray:
    """Black with one white face, marked at its upper left so that its mirror image is told apart."""
    left, top, right, bottom = BOX
    image = np.zeros((320, 320, 3), np.uint8)
    image[top:bottom, left:right] = 255
    image[top : top + 16, left : left + 16, 1] = 0
    return image


def found(*rows: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Detections from rows of box and score; all landmarks at the box's upper left."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    return table[:, :4], np.repeat(table[:, None, :2], 5, 1), table[:, 4]


def looks(*shifts: float | None) -> np.ndarray:
    """(looks, 1, 5, 2): MARKS moved by so many distances of the eyes, None where a look shows no face."""
    return np.stack([np.full((1, 5, 2), np.nan) if s is None else (MARKS + s * APART)[None] for s in shifts])


def test_teachers_must_agree() -> None:
    boxes, doubtful = _agree(found((0, 0, 10, 10, 0.9)), found((2, 0, 12, 10, 0.8)))
    assert boxes.tolist() == [[1, 0, 11, 10]]
    assert doubtful.tolist() == [False]
    assert _agree(found((0, 0, 10, 10, 0.9)), found((2, 0, 12, 10, 0.3)))[1].tolist() == [True]
    assert _agree(found((0, 0, 10, 10, 0.9)), found((50, 0, 60, 10, 0.8)))[1].tolist() == [True, True]
    assert _agree(found((0, 0, 10, 10, 0.99)), found())[1].tolist() == [False]
    assert _agree(found(), found())[0].shape == (0, 4)


@pytest.mark.parametrize(
    ("first", "second", "moved"),
    [
        ((0.0,), (0.08,), 0.04),
        ((0.0, 0.06), (0.03,), 0.03),  # a teacher's looks count as one
        ((0.0, 0.02, None), (None, 0.03), 0.02),  # of those that show the face
        ((0.05, None), (None, None), 0.05),  # one teacher alone
        ((None,), (0.05,), 0.05),
        ((0.0,), (AGREE + 0.01,), None),
        ((0.0, 0.4), (0.2,), 0.2),  # apart in a look, together in the mean
        ((None,), (None,), None),
    ],
)
def test_landmarks_are_the_mean_of_teachers_that_agree(
    first: tuple[float | None, ...], second: tuple[float | None, ...], moved: float | None
) -> None:
    mean = mean_landmarks(looks(*first), looks(*second))
    assert mean.dtype == np.float32
    assert mean.shape == (1, 5, 2)
    if moved is None:
        assert np.isnan(mean).all()
    else:
        assert mean[0] == pytest.approx(MARKS + moved * APART, abs=1e-4)


def test_faces_are_averaged_each_for_itself() -> None:
    first = np.concatenate([looks(0.0), looks(0.0), looks(None)], 1)
    second = np.concatenate([looks(0.02), looks(0.5), looks(0.0)], 1)
    mean = mean_landmarks(first, second)
    assert mean[0] == pytest.approx(MARKS + 0.01 * APART, abs=1e-4)
    assert np.isnan(mean[1]).all()
    assert mean[2] == pytest.approx(MARKS)
    assert mean_landmarks(first[:, :0], second[:, :0]).shape == (0, 5, 2)


def test_a_mirror_image_is_turned_back() -> None:
    boxes, scores = np.array([[50, 10, 90, 60]], np.float32), np.array([0.9], np.float32)
    back = _turned_back((boxes, MARKS[None], scores), 100)
    assert back[0].tolist() == [[10, 10, 50, 60]]
    assert back[1][0].tolist() == [[60, 25], [80, 25], [70, 38], [62, 50], [78, 50]], "left and right change places"
    assert back[2] is scores
    again = _turned_back(back, 100)
    assert (again[0] == boxes).all()
    assert (again[1] == MARKS).all()
    assert _turned_back(found(), 100)[1].shape == (0, 5, 2)


def test_a_face_has_the_landmarks_of_the_detection_that_overlaps_it_most() -> None:
    boxes = np.array([[0, 0, 10, 10], [50, 0, 60, 10], [80, 0, 90, 10]], np.float32)
    nearer, near = (1, 0, 11, 10, 0.5), (3, 0, 13, 10, 0.9)
    marks = _landmarks_of(boxes, found(near, nearer, (56, 0, 66, 10, 0.9)))
    assert marks[0].tolist() == [[1, 0]] * 5
    assert np.isnan(marks[1:]).all(), f"the second is overlapped by {4 / 16}, less than {SAME}; the third by none"
    assert np.isnan(_landmarks_of(boxes, found())).all()
    assert _landmarks_of(boxes[:0], found(near)).shape == (0, 5, 2)


def test_what_a_teacher_always_errs_by_is_gone_in_the_mean_with_the_mirror_image() -> None:
    image = draw_face()
    left, top, right, bottom = BOX
    true = np.array([left, top]) + SHARES * (right - left, bottom - top)
    both = Drawn((8.0, 8.0)).label(image, sides=(320,))
    assert both.boxes[0] == pytest.approx(BOX)
    assert both.doubtful.tolist() == [False]
    assert both.landmarks[0] == pytest.approx(true, abs=1e-3)
    alone = Drawn((8.0, 8.0)).label(image, sides=(320,), mirrored=False)
    assert alone.landmarks[0] - true == pytest.approx(np.tile([8, 0], (5, 1)), abs=1e-3)
    twice = Drawn((8.0, 8.0)).label(image, sides=(320, 640), mirrored=False)  # eight pixels of 640 are four of 320
    assert twice.landmarks[0] - true == pytest.approx(np.tile([6, 0], (5, 1)), abs=0.6)


def test_a_face_that_both_see_counts_though_its_landmarks_are_unknown() -> None:
    labels = Drawn((0.0, 8.0)).label(draw_face(), sides=(320,), mirrored=False)
    assert labels.doubtful.tolist() == [False]
    assert np.isnan(labels.landmarks).all()
