from dataclasses import replace

import cv2
import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, UsageError
from helmsight.runtime.bundle import Manifest, TensorSpec
from helmsight.runtime.results import Drive, Faces
from helmsight.runtime.tasks import resize, task_for

from ..bundles import FACE_CELLS, face_manifest, navigate_manifest

POINTS = [(-1, -1), (1, -1), (0, 0), (-1, 1), (1, 1)]
"""Landmarks from every cell's centre, in strides."""


def face_outputs(*cells: tuple[int, float, tuple[float, float, float, float]]) -> dict[str, np.ndarray]:
    scores = np.zeros((1, FACE_CELLS), np.float32)
    boxes = np.ones((1, FACE_CELLS, 4), np.float32)
    landmarks = np.zeros((1, FACE_CELLS, 5, 2), np.float32)
    landmarks[:] = POINTS
    for cell, score, reach in cells:
        scores[0, cell] = score
        boxes[0, cell] = reach
    return {"scores": scores, "boxes": boxes, "landmarks": landmarks}


def test_face_decodes_cells_of_every_stride() -> None:
    task = task_for(face_manifest())
    first_of_8, second_row_of_16 = 0, 30 * 40 + 20
    outputs = face_outputs((first_of_8, 0.9, (0.5, 0.5, 1, 2)), (second_row_of_16, 0.8, (0, 1, 2, 1)))
    faces = task.decode(outputs, (240, 320))
    np.testing.assert_allclose(faces.xyxy, [[0, 0, 12, 20], [8, 8, 40, 40]])
    np.testing.assert_allclose(faces.score, [0.9, 0.8])


@pytest.mark.parametrize(("image_hw", "factor"), [((480, 640), 2), ((120, 160), 0.5), ((720, 320), 3)])
def test_face_boxes_are_in_pixels_of_the_frame(image_hw: tuple[int, int], factor: float) -> None:
    task = task_for(face_manifest())
    faces = task.decode(face_outputs((0, 0.9, (0, 0, 1, 1))), image_hw)
    np.testing.assert_allclose(faces.xyxy, [[4 * factor, 4 * factor, 12 * factor, 12 * factor]])


def test_face_landmarks_are_in_pixels_of_the_frame_and_end_at_it() -> None:
    task = task_for(face_manifest())
    faces = task.decode(face_outputs((2 * 40 + 3, 0.8, (1, 1, 1, 1)), (0, 0.9, (1, 1, 1, 1))), (480, 640))
    assert faces.landmarks.dtype == np.float32
    np.testing.assert_allclose(faces.landmarks[1], [(40, 24), (72, 24), (56, 40), (40, 56), (72, 56)])
    np.testing.assert_allclose(faces.landmarks[0], [(0, 0), (24, 0), (8, 8), (0, 24), (24, 24)])
    record = faces.to_json()
    assert record["landmarks"][1][2] == [56.0, 40.0]
    assert list(record) == ["xyxy", "score", "landmarks"]


def test_face_draws_its_five_points() -> None:
    task = task_for(face_manifest())
    points = np.array([[(40, 60), (80, 60), (60, 80), (40, 100), (80, 100)]], np.float32)
    picture = np.zeros((150, 150, 3), np.uint8)
    task.draw(picture, Faces(np.array([[20, 30, 120, 130]], np.float32), np.array([0.9], np.float32), points))
    assert all(picture[y, x].any() for x, y in points[0].astype(int))
    assert not picture[70, 60].any(), "the face itself stays as it is"
    with pytest.raises(ValueError, match=r"landmarks is \(1, 4, 2\), expected \(1, 5, 2\)"):
        Faces(np.zeros((1, 4), np.float32), np.zeros(1, np.float32), points[:, :4])


def test_a_face_network_that_the_decoder_does_not_fit_is_refused() -> None:
    whole = face_manifest()
    with pytest.raises(BadArtefact, match="bundle face has no output landmarks"):
        task_for(replace(whole, outputs=whole.outputs[:2]))
    outputs = {name: values[:, :-1] for name, values in face_outputs((0, 0.9, (1, 1, 1, 1))).items()}
    with pytest.raises(BadArtefact, match="answers for 1569 cells, a picture of 320x240 has 1570"):
        task_for(whole).decode(outputs, (240, 320))


def test_face_threshold_and_suppression() -> None:
    task = task_for(face_manifest())
    same = face_outputs((0, 0.9, (1, 1, 4, 4)), (1, 0.8, (2, 1, 3, 4)), (20, 0.49, (1, 1, 1, 1)))
    faces = task.decode(same, (240, 320))
    assert len(faces.score) == 1
    assert faces.score[0] == pytest.approx(0.9)
    assert task.decode(face_outputs(), (240, 320)).xyxy.shape == (0, 4)


def test_a_face_is_the_mean_of_what_was_found_of_it_by_the_scores() -> None:
    task = task_for(face_manifest())
    outputs = face_outputs((0, 0.9, (1, 1, 4, 4)), (1, 0.6, (2, 1, 3, 5)), (20, 0.9, (1, 1, 1, 1)))
    outputs["landmarks"][0, 1] += 1
    faces = task.decode(outputs, (240, 320))
    alone = [
        task.decode(face_outputs(cell), (240, 320)).xyxy[0] for cell in ((0, 0.9, (1, 1, 4, 4)), (1, 0.9, (2, 1, 3, 5)))
    ]
    assert faces.score[0] == pytest.approx(0.9)
    assert faces.xyxy[0] == pytest.approx((0.9 * alone[0] + 0.6 * alone[1]) / 1.5)
    nose = np.array([[4.0, 4.0], [12.0 + 8, 4.0 + 8]])  # centre of each cell, moved by its landmark
    assert faces.landmarks[0, 2] == pytest.approx((0.9 * nose[0] + 0.6 * nose[1]) / 1.5)
    assert faces.xyxy[1] == pytest.approx(task.decode(face_outputs((20, 0.9, (1, 1, 1, 1))), (240, 320)).xyxy[0])


def test_face_letterbox_keeps_the_aspect_and_clears_what_was_there() -> None:
    task = task_for(face_manifest())
    wide = task.prepare(np.full((100, 400, 3), 200, np.uint8))["image"]
    assert wide.shape == (1, 240, 320, 3)
    assert (wide[0, :80] == 200).all()
    assert (wide[0, 80:] == 0).all()
    tall = task.prepare(np.full((400, 100, 3), 200, np.uint8))["image"]
    assert (tall[0, :, :60] == 200).all()
    assert (tall[0, :, 60:] == 0).all()
    assert task.prepare(np.zeros((1, 1, 3), np.uint8))["image"].shape == (1, 240, 320, 3)


def test_navigate_decodes_and_limits() -> None:
    task = task_for(navigate_manifest())
    free = np.zeros((1, 36, 48), np.float32)
    free[0, 18:] = 1
    outputs = {"steer": np.array([[-1.5]], np.float32), "collision": np.array([[0.25]], np.float32), "free_space": free}
    drive = task.decode(outputs, (480, 640))
    assert drive.steer == -1
    assert drive.collision_probability == 0.25
    assert drive.to_json()["free_share"] == 0.5
    picture = np.zeros((480, 640, 3), np.uint8)
    task.draw(picture, drive)
    assert picture[400, 100].any(), "the floor is tinted"
    assert not picture[100, 100].any(), "the wall is not"


def test_navigate_may_say_where_the_way_leads() -> None:
    whole = navigate_manifest()
    with_way = replace(whole, outputs=(*whole.outputs, TensorSpec("way", (1, 36, 48), "float32")))
    figure, raster = np.zeros((1, 1), np.float32), np.zeros((1, 36, 48), np.float32)
    outputs = {"steer": figure, "collision": figure, "free_space": raster, "way": raster + 0.5}
    assert task_for(whole).decode(outputs, (480, 640)).way is None
    drive = task_for(with_way).decode(outputs, (480, 640))
    assert drive.way is not None
    assert drive.way.shape == (36, 48)
    assert drive.finite
    leads = np.zeros((36, 48), np.float32)
    leads[24:, 20:28] = 1
    pictures = [np.zeros((480, 640, 3), np.uint8) for _ in range(2)]
    for picture, way in zip(pictures, (leads, None), strict=True):
        task_for(with_way).draw(picture, Drive(0.0, 0.0, np.ones((36, 48), np.float32), way))
    differs = (pictures[0] != pictures[1]).any(2)
    assert differs[380, 290], "the way is drawn on the floor"
    assert not differs[380, 100]
    assert not differs[100].any()
    assert not task_for(with_way).decode(outputs | {"way": raster + np.nan}, (480, 640)).finite
    other = replace(whole, outputs=(*whole.outputs, TensorSpec("way", (1, 18, 24), "float32")))
    with pytest.raises(BadArtefact, match=r"output way is float32 \(1, 18, 24\), expected float32 1 x 36 x 48"):
        task_for(other)


def test_raw_feeds_any_picture_input() -> None:
    spec = TensorSpec("x", (1, 3, 4, 6), "float32", "NCHW", "RGB", (0.0, 1.0))
    task = task_for(Manifest("own", "", (spec,), (TensorSpec("y", (1, 2), "float32"),)))
    blue = np.zeros((8, 12, 3), np.uint8)
    blue[..., 0] = 255
    fed = task.prepare(blue)["x"]
    assert fed.shape == (1, 3, 4, 6)
    assert fed.dtype == np.float32
    np.testing.assert_array_equal(fed[0].mean(axis=(1, 2)), [0, 0, 1])
    assert task.decode({"y": np.ones((1, 2), np.float32)}, (8, 12)).to_json() == {"y": {"shape": [1, 2], "mean": 1.0}}


def test_raw_feeds_a_grey_input() -> None:
    spec = TensorSpec("x", (1, 4, 6, 1), "uint8", "NHWC", "GREY", (0, 255))
    task = task_for(Manifest("own", "", (spec,), (TensorSpec("y", (1, 2), "float32"),)))
    fed = task.prepare(np.full((8, 12, 3), (0, 0, 255), np.uint8))["x"]
    assert fed.shape == (1, 4, 6, 1)
    assert (fed == 76).all(), "0.299 of red, ITU-R BT.601"


@pytest.mark.parametrize(
    ("dtype", "limits", "black", "grey", "white"),
    [
        ("int8", (-128.0, 127.0), -128, 0, 127),
        ("int8", (0.0, 127.0), 0, 64, 127),
        ("int8", (-200.0, 200.0), -128, 1, 127),
        ("int32", (0.0, 255.0), 0, 128, 255),
        ("float16", (-1.0, 1.0), -1, 1 / 255, 1),
        ("float32", None, 0, 128 / 255, 1),
    ],
)
def test_raw_scales_before_it_casts(
    dtype: str, limits: tuple[float, float] | None, black: float, grey: float, white: float
) -> None:
    spec = TensorSpec("x", (1, 2, 3, 3), dtype, "NHWC", "BGR", limits)
    task = task_for(Manifest("own", "", (spec,), (TensorSpec("y", (1, 2), "float32"),)))
    for level, expected in ((0, black), (128, grey), (255, white)):
        fed = task.prepare(np.full((2, 3, 3), level, np.uint8))["x"]
        assert fed.dtype == np.dtype(dtype)
        np.testing.assert_allclose(fed, expected, rtol=2e-3)


def test_raw_takes_one_frame_at_a_time() -> None:
    outputs = (TensorSpec("y", (1, 2), "float32"),)
    spec = TensorSpec("x", (4, 3, 8, 8), "float32", "NCHW", "RGB", (0.0, 1.0))
    with pytest.raises(UsageError, match=r"own takes 4 pictures at once .*export it again with a batch of 1"):
        task_for(Manifest("own", "", (spec,), outputs))
    varying = TensorSpec("x", ("batch", 3, 8, 8), "float32", "NCHW", "RGB", (0.0, 1.0))
    fed = task_for(Manifest("own", "", (varying,), outputs)).prepare(np.zeros((8, 8, 3), np.uint8))
    assert fed["x"].shape == (1, 3, 8, 8)


def test_unknown_tasks_and_inputs_are_refused() -> None:
    with pytest.raises(UsageError, match="'fly'; this helmsight knows face, navigate"):
        task_for(Manifest("own", "fly", (), ()))
    with pytest.raises(UsageError, match="no single picture input"):
        task_for(Manifest("own", "", (TensorSpec("x", (1, 3), "float32"),), ()))


@pytest.mark.parametrize("image_hw", [(480, 640), (481, 643), (1080, 1920), (100, 640)])
def test_resize_averages_areas(image_hw: tuple[int, int]) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    image = cv2.resize(coarse, image_hw[::-1], interpolation=cv2.INTER_CUBIC)
    once = cv2.resize(image, (96, 72), interpolation=cv2.INTER_AREA)
    assert np.abs(resize(image, (72, 96)).astype(int) - once).mean() < 1.5
    assert resize(image, image_hw) is image
