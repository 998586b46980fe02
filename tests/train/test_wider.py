"""WIDER FACE's folders, lists and scores, on a tiny tree in its format with pictures drawn here."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
scipy_io = pytest.importorskip("scipy.io")

from helmsight.devices.errors import BadArtefact, UsageError  # noqa: E402
from helmsight.train.face.data import load_annotated  # noqa: E402
from helmsight.train.face.evaluate import evaluate_data  # noqa: E402
from helmsight.train.face.wider import wider_training_set  # noqa: E402
from helmsight.train.face.wider_protocol import Found, Truth, average_precisions, read_truth  # noqa: E402

from ..bundles import face_manifest  # noqa: E402
from .test_face import answer, truth  # noqa: E402

LIST = """0--Parade/0_Parade_1.jpg
2
40 60 50 65 0 0 0 0 0 0
200 20 40 50 2 0 0 1 2 0
0--Parade/0_Parade_2.jpg
0
0 0 0 0 0 0 0 0 0 0
9--Press/9_Press_1.jpg
5
10 10 0 20 0 0 0 0 0 0
-5 -6 30 36 0 0 0 0 0 0
400 10 20 20 0 0 0 0 0 0
10 10 twenty 20 0 0 0 0 0 0
100 100 24 30 0 0 0 0 0 0
9--Press/9_Press_gone.jpg
1
10 10 20 20 0 0 0 0 0 0
9--Press/9_Press_broken.jpg
1
10 10 20 20 0 0 0 0 0 0
"""
LABELS = """# 0--Parade/0_Parade_1.jpg
40 60 50 65 50 80 0.0 75 80 0.0 62 92 1.0 52 110 0.0 72 110 0.0 0.91
200 20 40 50 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 0.0
"""


def draw(folder: Path, name: str) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    cv2.imwrite(str(file), picture)


@pytest.fixture
def wider(tmp_path: Path) -> Path:
    images = tmp_path / "WIDER_train" / "images"
    for name in ("0--Parade/0_Parade_1.jpg", "0--Parade/0_Parade_2.jpg", "9--Press/9_Press_1.jpg"):
        draw(images, name)
    (images / "9--Press/9_Press_broken.jpg").write_bytes(b"no picture")
    (tmp_path / "wider_face_split").mkdir()
    (tmp_path / "wider_face_split/wider_face_train_bbx_gt.txt").write_text(LIST)
    return tmp_path


def test_the_list_is_read_and_what_is_wrong_is_named_and_left_out(
    wider: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        first, empty, press = wider_training_set(wider)
    assert first.boxes.tolist() == [[40, 60, 90, 125], [200, 20, 240, 70]]
    assert first.ignore.tolist() == [False, True]
    assert np.isnan(first.landmarks).all()
    assert empty.boxes.shape == (0, 4)
    assert press.boxes.tolist() == [[0, 0, 25, 30], [100, 100, 124, 130]], "cut to the picture"
    listed = "wider_face_train_bbx_gt.txt"
    for line, kind in (
        (10, "a box without a size"),
        (12, "a box outside of its picture"),
        (13, "a line that is no face"),
        (15, "a picture that cannot be read"),
        (18, "a picture that cannot be read"),
    ):
        assert f"{listed}:{line}: {kind}" in caplog.text
    assert "3 pictures, 1 of them without a face; 4 faces, 1 of them to be ignored" in caplog.text


def test_landmarks_of_retinaface_are_taken_where_they_are(wider: Path) -> None:
    (wider / "train").mkdir()
    (wider / "train/label.txt").write_text(LABELS)
    first = wider_training_set(wider)[0]
    assert first.landmarks[0].tolist() == [[50, 80], [75, 80], [62, 92], [52, 110], [72, 110]]
    assert np.isnan(first.landmarks[1]).all()


def test_it_can_be_learnt_from(wider: Path) -> None:
    shelf = load_annotated(f"wider:{wider}")
    assert (len(shelf.faces), len(shelf.others)) == (2, 1)
    picture, labels = shelf.pick(np.random.default_rng(0), others=0)
    assert picture.shape == (240, 320, 3)
    assert labels.doubtful.tolist() in ([False, True], [False, False])


@pytest.mark.parametrize("data", ["wider:{}/nowhere", "{}/nowhere", "x wider:{}"])
def test_what_is_no_folder_is_refused(tmp_path: Path, data: str) -> None:
    with pytest.raises(UsageError, match="expected wider:DIR, or a folder"):
        load_annotated(data.format(tmp_path))
    with pytest.raises(UsageError, match="expected wider:DIR, or a folder"):
        evaluate_data(lambda feeds: {}, face_manifest(), data.format(tmp_path))


def test_what_is_not_wider_face_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArtefact, match="is not WIDER FACE as it is published"):
        wider_training_set(tmp_path)
    with pytest.raises(BadArtefact, match="eval_tools"):
        read_truth(tmp_path)


def column(items: list[object]) -> np.ndarray:
    """A MATLAB cell array of one column."""
    cells = np.empty((len(items), 1), object)
    cells[:, 0] = items
    return cells


def write_lists(folder: Path, pictures: dict[str, dict[str, tuple[list, list, list, list]]]) -> None:
    """`wider_face_val.mat` and the three levels: {event: {picture: (boxes, easy, medium, hard)}}, rows from 1."""
    folder.mkdir(parents=True)
    every = [list(event.values()) for event in pictures.values()]
    boxes = column([column([np.array(p[0], float).reshape(-1, 4) for p in event]) for event in every])
    names = column([column(list(event)) for event in pictures.values()])
    whole = {"event_list": column(list(pictures)), "file_list": names, "face_bbx_list": boxes}
    scipy_io.savemat(folder / "wider_face_val.mat", whole)
    for at, level in enumerate(("easy", "medium", "hard"), 1):
        rows = column([column([np.array(p[at], float).reshape(-1, 1) for p in event]) for event in every])
        scipy_io.savemat(folder / f"wider_{level}_val.mat", {**whole, "gt_list": rows})


def test_a_bundle_is_scored_on_the_three_levels(tmp_path: Path) -> None:
    """One face that the network finds counts as easy; a second one, which it does not, as hard only."""
    draw(tmp_path / "WIDER_val/images", "0--Parade/0_Parade_1.jpg")
    boxes = [[100, 60, 50, 65], [200, 20, 12, 14]]
    lists = {"0--Parade": {"0_Parade_1": (boxes, [1], [1], [1, 2])}}
    write_lists(tmp_path / "eval_tools/ground_truth", lists)
    said = answer(truth((100.0, 60.0, 150.0, 125.0)))
    metrics = evaluate_data(lambda feeds: said, face_manifest(), f"wider:{tmp_path}")
    values = {name: m["value"] for name, m in metrics.items()}
    assert values == pytest.approx({"ap_easy": 1.0, "ap_medium": 1.0, "ap_hard": 0.5}, abs=2e-3)
    assert metrics["ap_easy"]["n"] == 1


def best_box(xyxy: np.ndarray, boxes: np.ndarray) -> tuple[float, int]:
    """The largest overlap, as boxoverlap.m counts pixels, and whose it is; 0 and -1 without any."""
    left, top, right, bottom = xyxy
    best, at = 0.0, -1
    for j, (x, y, w, h) in enumerate(boxes):
        wide = min(right, x + w) - max(left, x) + 1
        high = min(bottom, y + h) - max(top, y) + 1
        if wide <= 0 or high <= 0:
            continue
        shared = wide * high
        value = shared / ((right - left + 1) * (bottom - top + 1) + (w + 1) * (h + 1) - shared)
        if value > best:
            best, at = value, j
    return best, at


def published(found: list[Found], truths: list[Truth], level: int) -> float:
    """The procedure of wider_eval.m step by step, threshold by threshold, as slowly as it is written there."""
    every = np.concatenate([f.score for f in found])
    low, high = every.min(), every.max()
    proposals, recalled, faces = np.zeros(1000), np.zeros(1000), 0
    for record, picture in zip(found, truths, strict=True):
        counted = set(picture.counted[level].tolist())
        faces += len(counted)
        if not len(picture.boxes) or not len(record.score):
            continue
        score = (record.score.astype(float) - low) / (high - low)
        order = np.argsort(-score, kind="stable")
        state = dict.fromkeys(range(len(picture.boxes)), 0)
        seen, proposal = [], []
        for d in order:
            best, at = best_box(record.xyxy[d].astype(float), picture.boxes)
            proposal.append(1)
            if best >= 0.5:
                if at not in counted:
                    state[at] = -1
                    proposal[-1] = -1
                elif state[at] == 0:
                    state[at] = 1
            seen.append(sum(v == 1 for v in state.values()))
        for t in range(1000):
            reached = np.flatnonzero(score[order] >= 1 - (t + 1) / 1000)
            if len(reached):
                proposals[t] += sum(p == 1 for p in proposal[: reached[-1] + 1])
                recalled[t] += seen[reached[-1]]
    precision = [r / p if p else 0.0 for r, p in zip(recalled, proposals, strict=True)]
    rec, prec = [0.0, *(recalled / faces), 1.0], [0.0, *precision, 0.0]
    for i in range(len(prec) - 2, -1, -1):
        prec[i] = max(prec[i], prec[i + 1])
    return sum((rec[i + 1] - rec[i]) * prec[i + 1] for i in range(len(rec) - 1))


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_the_published_procedure(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for i in range(12):
        n = int(rng.integers(0, 5)) if i else 3
        boxes = np.concatenate([rng.uniform(0, 200, (n, 2)), rng.uniform(10, 60, (n, 2))], 1)
        levels = tuple(np.flatnonzero(rng.random(n) < share) for share in (0.3, 0.6, 0.9))
        truths.append(Truth(f"p{i}", boxes, levels))
        near = np.repeat(boxes, 2, 0) + rng.normal(0, 3, (2 * n, 4))
        stray = np.concatenate([rng.uniform(0, 200, (3, 2)), rng.uniform(10, 60, (3, 2))], 1)
        xywh = np.concatenate([near, stray])
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        found.append(Found(xyxy, rng.random(len(xyxy))))
    ours = average_precisions(found, truths)
    for level, name in enumerate(("easy", "medium", "hard")):
        assert ours[name] == pytest.approx(published(found, truths, level), abs=1e-9)
