"""The evaluate command as a user runs it, at other sizes and in tiles."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmsight.cli.evaluate import _print

from ..bundles import write_block_finder


@pytest.mark.parametrize(
    ("options", "recall"),
    [((), 0), (("--imgsz", "640x480"), 1), (("--tile",), 1)],
    ids=["usual size", "the picture's size", "tiles"],
)
def test_faces_at_another_size_or_in_tiles(tmp_path: Path, options: tuple[str, ...], recall: float) -> None:
    pytest.importorskip("torch", reason="evaluate needs the train extra")
    faces = [[24, 40, 32, 48], [616, 464, 624, 472]]
    picture = np.zeros((480, 640, 3), np.uint8)
    for x1, y1, x2, y2 in faces:
        picture[y1:y2, x1:x2] = 255
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    (tmp_path / "boxes.json").write_text(json.dumps({"images": [{"file": "a.png", "xyxy": faces}], "negatives": []}))
    bundle = write_block_finder(tmp_path / "b.bundle")
    command = [sys.executable, "-m", "helmsight", "evaluate", str(bundle.path), "--data", str(tmp_path), "--json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["recall"]["value"] == recall


@pytest.mark.parametrize("option", [("--courses", "2"), ("--no-pilot",), ("--late-ms", "50")])
def test_what_is_of_driving_is_refused_for_faces(tmp_path: Path, option: tuple[str, ...]) -> None:
    bundle = write_block_finder(tmp_path / "b.bundle")
    command = [sys.executable, "-m", "helmsight", "evaluate", str(bundle.path), *option]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert f"{option[0]} is of navigation, and" in said


def test_the_table_says_once_what_all_was_measured_on(capsys: pytest.CaptureFixture[str]) -> None:
    def metric(value: float, data: str = "a simulator, 2 laps") -> dict[str, object]:
        return {"value": value, "data": data, "n": 2}

    metrics = {"collisions": metric(1), "expert_collisions": metric(0), "straight_on_collisions": metric(17)}
    _print("navigate", metrics | {"speed_mps": metric(0.5)})
    shown = capsys.readouterr().out
    assert shown.count("2 laps") == 1
    assert "n 2" in shown
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    assert rows == [["collisions", "1", "0", "17"], ["speed_mps", "0.5", "", ""]]
    _print("navigate", {"a": metric(1), "b": metric(2, "photographs")})
    shown = capsys.readouterr().out
    assert "photographs" in shown
    assert "a simulator, 2 laps" in shown
