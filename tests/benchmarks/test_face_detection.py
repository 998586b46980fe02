"""The face benchmark's measures on cases whose figures are known, and a run of it on pictures of noise."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmsight.runtime.bundle import write_bundle
from helmsight.train.face.landmarks import landmark_error

from ..bundles import face_manifest, open_face_manifest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.faces import measures, worker  # noqa: E402
from benchmarks.faces.ours import Ours  # noqa: E402
from benchmarks.faces.peers import PEERS, found, source_of  # noqa: E402
from benchmarks.faces.peers.blazeface import _blend  # noqa: E402
from benchmarks.faces.pictures import Picture, mosaics, read_sets  # noqa: E402
from benchmarks.faces.timing import in_turns  # noqa: E402

FACE = np.array([[10, 10, 50, 60]], np.float32)
EMPTY = np.empty((0, 4), np.float32)
MARKS = np.array([[20, 25], [40, 25], [30, 38], [22, 50], [38, 50]], np.float32)


def seen(boxes, scores, marks=()):
    return found(boxes, scores, marks, len(marks[0]) if len(marks) else 0)


def test_counts_at_the_threshold():
    shown = [seen([FACE[0], [70, 70, 90, 90]], [0.9, 0.8]), seen([[0, 0, 9, 9]], [0.7]), seen([], [])]
    counts = measures.at_threshold(shown, [np.concatenate([FACE, FACE + 100]), EMPTY, EMPTY])
    assert counts.precision == pytest.approx(1 / 3)
    assert counts.recall == 0.5
    assert counts.false_per_50 == 25  # one box in two pictures without a face


def test_calibration_error_is_the_gap_between_score_and_share():
    boxes = [FACE[0]]
    sure = [seen(boxes, [0.95])] * 4 + [seen([[70, 70, 90, 90]], [0.95])] * 4
    assert measures.calibration_error(sure, [FACE] * 8) == pytest.approx(0.95 - 0.5)
    assert measures.calibration_error([seen(boxes, [0.05])], [FACE]) == 0  # below what is looked at


def test_a_detector_with_other_boxes_is_put_right():
    wide = measures.BoxFit(0.0, 0.1, 1.6, 1.3)(FACE)
    ranked, truth = [seen(wide, [0.9])], [FACE]
    assert measures.precision_over_recall(ranked, truth) == 0
    fit = measures.fit_boxes(ranked, truth)
    assert measures.precision_over_recall(ranked, truth, fit) == 1
    assert fit(wide) == pytest.approx(FACE, abs=1e-3)


def test_landmarks_are_judged_where_two_teachers_agree():
    teachers = [[seen(FACE, [0.9], [MARKS + shift])] for shift in (0, 1, 9)]
    taught = measures.teach_landmarks(teachers, [FACE])
    assert taught[0][0] == pytest.approx(MARKS + 0.5)  # the third is nine pixels off and is left out
    error, faces = landmark_error([seen(FACE, [0.5], [MARKS + np.array([2.5, 0.5])])], [FACE], taught)
    assert (error, faces) == (pytest.approx(2 / 20), 1)
    four = np.concatenate([MARKS[:3], [[30, 50]]]) + 0.5
    assert landmark_error([seen(FACE, [0.5], [four])], [FACE], taught)[0] == pytest.approx(0)
    alone = measures.teach_landmarks([teachers[0], teachers[2]], [FACE])
    assert np.isnan(alone[0]).all()


def test_mosaics_show_each_picture_once_a_round_with_its_faces():
    rng = np.random.default_rng(0)
    pictures = [Picture(rng.integers(1, 255, (120, 160, 3), dtype=np.uint8), FACE) for _ in range(9)]
    made = mosaics(pictures, 3, 2)
    assert [picture.image.shape for picture in made] == [(240, 320, 3)] * 2
    boxes = np.concatenate([picture.boxes for picture in made])
    assert len(boxes) == 18
    height = boxes[:, 3] - boxes[:, 1]
    assert height == pytest.approx(50 * 0.62 * 80 / 120, abs=0.6)
    assert all((p.image[int(b[1]) + 2, int(b[0]) + 2] > 0).all() for p in made for b in p.boxes)
    again = mosaics(pictures, 3, 2)
    assert all((a.image == b.image).all() for a, b in zip(made, again, strict=True))


def test_blending_means_boxes_by_their_scores():
    values = np.array([[0, 0, 10, 10], [0, 0, 12, 10], [50, 50, 60, 60]], np.float32)
    boxes, scores = _blend(values, np.array([0.6, 0.3, 0.9], np.float32))
    assert scores == pytest.approx([0.9, 0.6])
    assert boxes[1] == pytest.approx([0, 0, 32 / 3, 10], abs=1e-4)


def test_the_worker_runs_what_it_loaded_and_keeps_what_it_found(tmp_path, monkeypatch):
    class Bright:
        threshold = 0.5

        def detect(self, image, threshold):
            return seen(FACE, [0.8], [MARKS]) if image.mean() > 255 * threshold else found([], [], [], 5)

    monkeypatch.setitem(worker._loaded, "bright", Bright())
    images = tmp_path / "images.npy"
    np.save(images, np.stack([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 200, np.uint8)]))
    out = tmp_path / "out.npz"
    worker.detect({"peer": "bright", "images": str(images), "threshold": 0.5, "out": str(out)})
    dark, bright = worker.load(out)
    assert dark.landmarks.shape == (0, 5, 2)
    assert (bright.xyxy == FACE).all()
    assert (bright.landmarks == MARKS).all()
    assert worker.open_peer({"peer": "dlib HOG", "network": ""})["missing"].startswith(("ModuleNotFound", "Import"))


def test_ratios_are_of_the_same_round():
    calls = {"base": iter([2.0, 2.0, 4.0]), "other": iter([2.0, 4.0, 8.0])}  # the first is the warm-up
    runs = {name: lambda n, it=it: [(ms := next(it), ms)] * n for name, it in calls.items()}
    timings, _ = in_turns(runs, "base", 2)
    assert timings["other"].ratio == 2
    assert timings["other"].cpu_ms == 6
    assert in_turns({"other": lambda n: [(1.0, 1.0)] * n}, "base", 1)[0]["other"].ratio is None


def test_a_bundle_of_any_size_takes_the_size_of_the_pictures(tmp_path):
    fixed, open_ = (
        write_bundle(tmp_path / f"{name}.bundle", manifest, {"model.onnx": b"not read"})
        for name, manifest in (("fixed", face_manifest()), ("open", open_face_manifest()))
    )
    assert Ours(fixed, "fake").input_hw((320, 320)) == (240, 320)
    assert Ours(open_, "fake").input_hw((310, 320)) == (320, 320)
    assert Ours(open_, "fake").input_hw((240, 320)) == (240, 320)


def test_every_peer_has_its_file():
    assert all(source_of(name).is_file() for name in PEERS)


def test_a_run_without_peers_says_so(tmp_path, face_bundle):
    rng = np.random.default_rng(0)
    record = {"images": [], "negatives": []}
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i}.png"), rng.integers(0, 255, (96, 128, 3), dtype=np.uint8))
        part, boxes = ("images", FACE.tolist()) if i < 2 else ("negatives", [])
        record[part].append({"file": f"{i}.png", "xyxy": boxes})
    (tmp_path / "boxes.json").write_text(json.dumps(record))
    assert [len(s.pictures) for s in read_sets(tmp_path).values()] == [4, 1, 2, 2]
    command = [sys.executable, "-m", "benchmarks.face_detection", str(tmp_path), "--peers", str(tmp_path / "none")]
    options = ["--bundle", str(face_bundle.path), "--device", "fake", "--rounds", "2", "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "so no peers" in done.stderr
    result = json.loads((tmp_path / "out" / "face_detection.json").read_text())
    assert [row["detector"] for row in result["rows"][1:]] == [f"{name}: not installed" for name in PEERS]
    assert result["more"]["Cost"][0]["ms of 640x480"] > 0
    assert result["more"]["Pictures"][0]["faces"] == 2
    text = (tmp_path / "out" / "face_detection.md").read_text()
    assert "flattered" in text
    unknown = {g["figure"]: g["met"] for g in result["goals"] if g["actual"] is None}
    assert not any(unknown.values())
    assert {f"AP {name} less that of the best peer" for name in read_sets(tmp_path)} <= unknown.keys()
    assert {"landmark error %", "over MediaPipe's"} <= unknown.keys()
    assert "| landmark error % | unknown | at most | 6 |" in text
