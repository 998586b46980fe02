"""The record of a marked picture, folders with `boxes.json`, and what is wrong with annotations."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from helmsight.devices.errors import BadArtefact
from helmsight.train.face.annotations import NAMED, Face, Troubles, labelled, read_folder
from helmsight.train.face.wider import wider_training_set

POINTS = [[22, 30], [40, 31], [31, 40], [25, 50], [39, 51]]


def folder_of(path: Path, *items: dict, **rest: object) -> Path:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(path / name), np.full((120, 160, 3), 90, np.uint8))
    (path / "boxes.json").write_text(json.dumps({"images": list(items), **rest}))
    return path


def test_a_folder_gives_boxes_what_to_ignore_and_landmarks(tmp_path: Path) -> None:
    boxes = [[20, 20, 60, 70], [150, 100, 170, 130]]
    marked = {"file": "a.png", "xyxy": boxes, "ignore": [False, True], "landmarks": [POINTS, None]}
    first, empty = read_folder(folder_of(tmp_path, marked, negatives=[{"file": "b.png"}]))
    assert first.file == tmp_path / "a.png"
    assert first.boxes.dtype == np.float32
    assert first.boxes.tolist() == [[20, 20, 60, 70], [150, 100, 160, 120]], "cut to the picture"
    assert first.ignore.tolist() == [False, True]
    assert first.landmarks[0].tolist() == POINTS
    assert np.isnan(first.landmarks[1]).all()
    assert (empty.boxes.shape, empty.ignore.shape, empty.landmarks.shape) == ((0, 4), (0,), (0, 5, 2))


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"file": "a.png", "xyxy": [[1, 2, 3]]}, r"images\[0\] has a box of 3 numbers"),
        ({"file": "a.png", "xyxy": [[1, 2, 3, 4]], "ignore": [True, False]}, "1 boxes, 2 in ignore"),
        ({"xyxy": []}, "KeyError: 'file'"),
        ({"file": "a.png", "xyxy": [[1, 2, "x", 4]]}, "ValueError"),
    ],
)
def test_a_list_that_cannot_be_meant_is_one_line(tmp_path: Path, item: dict, said: str) -> None:
    with pytest.raises(BadArtefact, match=said) as caught:
        read_folder(folder_of(tmp_path, item))
    assert "\n" not in str(caught.value)


def test_a_missing_picture_ends_a_score_and_is_left_out_of_training(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"file": "gone.png", "xyxy": []}, {"file": "b.png", "xyxy": []})
    with pytest.raises(BadArtefact, match=r"gone\.png cannot be opened.*boxes\.json lists it"):
        read_folder(folder)
    troubles = Troubles()
    assert [item.file.name for item in read_folder(folder, troubles)] == ["b.png"]
    assert troubles.summary() == "1 time a picture that cannot be read"


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ((10, 10, 10, 30), "a box without a size"),
        ((10, 30, 20, 10), "a box without a size"),
        ((-9, -9, 0, 0), "a box outside of its picture"),
        ((160, 0, 170, 9), "a box outside of its picture"),
        ((0, float("nan"), 9, 9), "a box that is not finite"),
        ((0, 0, float("inf"), 9), "a box that is not finite"),
    ],
)
def test_boxes_that_cannot_be_used_are_left_out(tmp_path: Path, box: tuple[float, ...], kind: str) -> None:
    folder_of(tmp_path)
    troubles = Troubles()
    item = labelled(tmp_path / "a.png", [Face("x:1", box), Face("x:2", (1, 2, 3, 4))], "x", troubles)
    assert item is not None
    assert item.boxes.tolist() == [[1, 2, 3, 4]]
    assert troubles.counts == {kind: 1}


def test_the_first_few_troubles_are_named_and_all_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles()
    with caplog.at_level(logging.WARNING):
        for line in range(100):
            troubles.add(f"list.txt:{line}", "a line that is no face")
    assert len(caplog.messages) == NAMED + 1
    assert caplog.messages[0] == "list.txt:0: a line that is no face"
    assert troubles.summary() == "100 times a line that is no face"


def test_retinafaces_own_folders_do(tmp_path: Path) -> None:
    images = tmp_path / "train/images/0--Parade"
    images.mkdir(parents=True)
    cv2.imwrite(str(images / "p.jpg"), np.zeros((48, 64, 3), np.uint8))
    five = " ".join(f"{x} {y} 0.0" for x, y in POINTS)
    (tmp_path / "train/label.txt").write_text(f"# 0--Parade/p.jpg\n20 20 30 25 {five} 0.8\n1 2 3 4\n")
    (item,) = wider_training_set(tmp_path)
    assert item.boxes.tolist() == [[20, 20, 50, 45], [1, 2, 4, 6]]
    assert item.landmarks[0].tolist() == POINTS
    assert np.isnan(item.landmarks[1]).all()


@pytest.mark.parametrize(
    ("text", "boxes", "trouble"),
    [
        ("p.jpg\n0\n0 0 0 0 0 0 0 0 0 0\n", 0, None),
        ("p.jpg\n0\n", 0, None),
        ("\ufeffp.jpg\r\n1\r\n1 2 3 4 0 0 0 0 0 0 \r\n", 1, None),
        ("p.jpg\n3\n1 2 3 4 0 0 0 0 0 0\n", 1, "p.txt:1: another number of faces than promised (3 promised, 1 follow)"),
        ("p.jpg\n1 2 3 4 0 0 0 0 0 0\n", 1, "another number of faces than promised (no number promised, 1 follow)"),
        ("7\np.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n", 1, "p.txt:1: a line before the first picture's name (7)"),
        ("p.jpg\n1\n1 2 3 4\n", 0, "p.txt:3: a line that is no face (expected 10 numbers: 1 2 3 4)"),
    ],
)
def test_lists_that_are_not_quite_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, boxes: int, trouble: str | None
) -> None:
    images = tmp_path / "WIDER_train/images"
    images.mkdir(parents=True)
    cv2.imwrite(str(images / "p.jpg"), np.zeros((48, 64, 3), np.uint8))
    file = tmp_path / "wider_face_train_bbx_gt.txt"
    file.write_text(text, encoding="utf-8", newline="")
    (item,) = wider_training_set(tmp_path)
    assert len(item.boxes) == boxes
    warned = caplog.text.replace(file.name, "p.txt")
    assert (trouble in warned) if trouble else not caplog.messages
