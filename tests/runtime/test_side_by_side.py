"""A replay beside its recording: what is drawn, what is said of it, and a recording that does not fit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2", reason="opencv-python is not installed")

from helmsight.devices.errors import BadArtefact, UsageError
from helmsight.runtime.camera import Camera, CameraOptions
from helmsight.runtime.recording import RESULTS, open_recording
from helmsight.runtime.results import Drive, Faces, Frame, Reading, Result
from helmsight.runtime.sinks.side_by_side import SideBySide
from helmsight.runtime.sinks.take import _line
from helmsight.runtime.tasks import task_for

from ..bundles import open_face_manifest

FACES = Faces(
    np.array([[10.5, 20, 40, 60]], np.float32), np.array([0.9], np.float32), np.full((1, 5, 2), 30, np.float32)
)


@pytest.fixture
def recorded(tmp_path: Path, face_bundle, clip: Path) -> Path:
    Camera(CameraOptions([str(face_bundle.path)], str(clip), device="fake", record=tmp_path / "run")).run()
    return tmp_path / "run"


def test_records_come_back_from_their_lines() -> None:
    again = Faces.from_json(FACES.to_json())
    assert again.to_json() == FACES.to_json()
    assert again.landmarks.shape == (1, 5, 2)
    none = Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))
    assert Faces.from_json(none.to_json()).xyxy.shape == (0, 4)
    followed = Faces(FACES.xyxy, FACES.score, FACES.landmarks, np.array([7]))
    assert Faces.from_json(followed.to_json()).to_json()["id"] == [7]
    drive = Drive(0.25, math.nan, np.array([[0.0, 1.0], [0.5, 0.25]], np.float32))
    line = drive.to_json() | {"free_space": (drive.free_space * 100).round().astype(int).tolist()}
    back = Drive.from_json(line)
    assert back.steer == 0.25
    assert math.isnan(back.collision_probability)
    assert np.array_equal(back.free_space, drive.free_space)
    assert back.way is None
    finite = Drive(0.25, 0.5, drive.free_space, drive.free_space)
    frame = Frame(np.zeros((4, 4, 3), np.uint8), 0, 0)
    written = _line(Result(frame, {"navigate": Reading("navigate", finite, 0, 0, 0, {})}))["navigate"]
    assert written["way"] == written["free_space"] == [[0, 100], [50, 25]]
    with_way = Drive.from_json(line | {"way": written["way"]})
    assert np.array_equal(with_way.way, drive.free_space)
    with pytest.raises(ValueError, match=r"way is \(1, 2\), expected \(2, 2\)"):
        Drive.from_json(line | {"way": [[0, 100]]})


def test_left_is_what_was_recorded_and_right_what_is_said_now(recorded: Path) -> None:
    lines = [json.loads(line) for line in (recorded / RESULTS).read_text().splitlines()]
    for line in lines[1:]:  # as if another bundle had been recorded, but for the first frame
        line["face"] |= FACES.to_json()
    (recorded / RESULTS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    then = {line["face"]["of_frame"]: line["face"] for line in lines}
    task = task_for(open_face_manifest())
    drawn = SideBySide([task], open_recording(recorded))
    black = np.zeros((240, 320, 3), np.uint8)

    def look(index: int, faces: Faces) -> tuple[np.ndarray, np.ndarray]:
        frame = Frame(black, index, 0)
        reading = Reading("face", faces, index, 0, 0, {"inference": 1.0}, frame)
        both = drawn(Result(frame, {"face": reading}))
        assert both.shape == (240, 640, 3)
        return both[:, :320], both[:, 320:]

    first, second = sorted(then)[:2]
    left, right = look(second, Faces.from_json(then[first]))
    alone = black.copy()
    task.draw(alone, FACES)
    assert np.array_equal(left[22:], alone[22:]), "the recorded faces and nothing else"
    assert not np.array_equal(right[22:], alone[22:])
    assert left[2, 300, 2] > 100, "red where it is different"
    left, right = look(second, FACES)
    assert np.array_equal(left[22:], right[22:])
    assert left[2, 300, 2] < 60
    left, _ = look(10_000, FACES)
    assert not left[22:].any(), "a frame that was not recorded"


def test_a_recording_with_other_results_is_refused(recorded: Path) -> None:
    file = recorded / RESULTS
    file.write_text(file.read_text().replace('"landmarks"', '"marks"'))
    with pytest.raises(BadArtefact, match="its results have no face record of frame 0"):
        SideBySide([], open_recording(recorded))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "sample://corridor"}, "sample://corridor is no recording; expected --source replay://NAME"),
        ({"source": "replay://{run}"}, "--side-by-side draws nothing by itself; add --record VIDEO.mp4"),
        ({"source": "replay://{run}", "record": Path("again")}, "draws nothing by itself"),
    ],
)
def test_a_comparison_that_nobody_would_see(changes: dict, said: str, recorded: Path, face_bundle) -> None:
    changes = changes | {"source": changes["source"].format(run=recorded)}
    with pytest.raises(UsageError, match=said):
        Camera(CameraOptions([str(face_bundle.path)], **changes, device="fake", side_by_side=True)).run()


def test_the_video_is_twice_as_wide(recorded: Path, face_bundle, tmp_path: Path) -> None:
    import cv2

    video = tmp_path / "beside.mkv"
    options = {"device": "fake", "record": video, "side_by_side": True}
    report = Camera(CameraOptions([str(face_bundle.path)], f"replay://{recorded}", **options)).run()
    capture = cv2.VideoCapture(str(video))
    ok, image = capture.read()
    width = cv2.VideoCapture(str(recorded / "frames.mkv")).read()[1].shape[1]
    assert ok
    assert image.shape[1] == 2 * width
    assert report.replay["face"].different == 0
