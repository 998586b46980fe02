"""The train and evaluate commands: what they refuse, and a bundle evaluated on a folder of two pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmsight.runtime.bundle import Bundle

pytest.importorskip("torch")


def helmsight(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "helmsight", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cat"], "task 'cat' cannot be trained or evaluated here; expected face or navigate"),
        (["face", "--optimizer", "rmsprop"], "--optimizer is rmsprop; expected sgd or adamw"),
        (["face", "--size", "0"], "--size is 0; expected 1 or more"),
        (["face", "--workers", "-1"], "--workers is -1; expected 0 (none beside this one) to 256"),
        (["face", "--schedule", "step"], "--schedule is step; expected plateau or cosine"),
        (
            ["face", "--schedule", "cosine", "--min-gain", "0.1"],
            "--min-gain has no effect with --schedule cosine; leave one of them out",
        ),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = helmsight("train", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == f"helmsight: {said}"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), np.full((120, 160, 3), 90, np.uint8))
    record = {"images": [{"file": "a.png", "xyxy": [[20, 20, 60, 70]]}], "negatives": [{"file": "b.png"}]}
    (folder / "boxes.json").write_text(json.dumps(record))
    return folder


def test_a_folder_is_evaluated(tmp_path: Path, face_bundle: Bundle, photos: Path) -> None:
    arguments = [str(face_bundle.path), "--device", "fake", "--data", str(photos)]
    done = helmsight("evaluate", *arguments, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["task"] == "face"
    assert set(record["metrics"]) == {"ap50", "precision", "recall"}
    assert record["metrics"]["ap50"]["n"] == 2
    assert "ap50" in helmsight("evaluate", *arguments, cwd=tmp_path).stdout


def test_a_folder_for_navigation_is_refused(tmp_path: Path, navigate_bundle: Bundle, photos: Path) -> None:
    done = helmsight("evaluate", str(navigate_bundle.path), "--device", "fake", "--data", str(photos), cwd=tmp_path)
    assert done.returncode == 2
    assert "only faces take a folder" in done.stderr
