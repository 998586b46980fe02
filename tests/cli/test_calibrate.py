"""The calibrate command as a user runs it: what it prints, what it writes, and its exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmsight.runtime.bundle import Bundle
from helmsight.runtime.lens import CalibratedCamera, Lens, Mount, load_camera, save_camera

from ..chessboards import LENS, on_floor, picture, poses, write_pictures

MOUNT = Mount(0.3, 20.0)
SIZES = ("--board", "9x6", "--square", "0.025")


def helmsight(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "helmsight", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The pattern of four pictures of a board."""
    return write_pictures(tmp_path_factory.mktemp("pictures"), [poses()[n] for n in (0, 4, 7, 11)])


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    path = tmp_path / "camera.json"
    save_camera(path, CalibratedCamera(LENS, 0.2, 12))
    return path


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """What went wrong, the progress left out."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("helmsight: picture ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_pictures_to_a_camera_file(boards: str, tmp_path: Path) -> None:
    out = tmp_path / "camera.json"
    cv2.imwrite(str(tmp_path / "floor.png"), picture(*on_floor(MOUNT, 0.6), LENS.scaled((480, 640))))
    done = helmsight("calibrate", boards, *SIZES, "--floor", tmp_path / "floor.png", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["camera"] == json.loads(out.read_text())
    assert set(record) == {"camera", "focal_sd_px", "coverage", "seen", "left_out", "warnings"}
    assert [seen["name"] for seen in record["seen"]] == ["00.png", "01.png", "02.png", "03.png"]
    camera = load_camera(out)
    assert camera.pictures == 4
    assert camera.lens.fov_y_deg == pytest.approx(LENS.fov_y_deg, rel=0.02)
    assert camera.mount is not None
    assert camera.mount.height_m == pytest.approx(0.3, rel=0.02)
    assert camera.mount.pitch_deg == pytest.approx(20, abs=1)
    assert "helmsight: picture 4 of 4: 03.png" in done.stderr
    assert "helmsight: 4 views are few; take 10 or more" in done.stderr
    assert str(tmp_path) not in out.read_text()


def test_a_video_gives_the_views_and_the_table_names_them(tmp_path: Path) -> None:
    video = tmp_path / "boards.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for number in (0, 4, 7, 11):
        writer.write(picture(*poses()[number]))
    writer.release()
    done = helmsight("calibrate", "--source", video, "--shots", 3, *SIZES)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 views: frame 2 taken" in done.stderr
    assert "RMS reprojection error" in done.stdout
    assert "frame 2" in done.stdout
    assert "nothing was written; --out camera.json does" in done.stdout


def test_a_mount_is_added_to_a_camera(camera: Path, tmp_path: Path) -> None:
    done = helmsight("calibrate", camera, "--mount", "0.31,12.5", "--out", camera)
    assert done.returncode == 0, done.stderr
    assert load_camera(camera) == CalibratedCamera(LENS, 0.2, 12, Mount(0.31, 12.5))
    assert "0.310 m over the floor, 12.50 degrees down" in done.stdout
    cv2.imwrite(str(tmp_path / "floor.png"), picture(*on_floor(MOUNT, 0.6), LENS.scaled((480, 640))))
    done = helmsight("calibrate", camera, "--floor", tmp_path / "floor.png", *SIZES, "--out", camera)
    assert done.returncode == 0, done.stderr
    mount = load_camera(camera).mount
    assert mount is not None
    assert mount.height_m == pytest.approx(0.3, rel=0.01)
    assert mount.pitch_deg == pytest.approx(20, abs=0.5)


def test_a_picture_of_the_floor_that_shows_no_board_loses_nothing(camera: Path, tmp_path: Path) -> None:
    before = camera.read_text()
    cv2.imwrite(str(tmp_path / "floor.png"), np.full((240, 320, 3), 90, np.uint8))
    done = helmsight("calibrate", camera, "--floor", tmp_path / "floor.png", *SIZES, "--out", camera)
    assert done.returncode == 4
    assert "--floor floor.png shows no whole board of 9x6 inner corners; take another" in one_line(done)
    assert camera.read_text() == before


def test_another_board_is_offered(boards: str) -> None:
    one = boards.replace("*", "00")
    done = helmsight("calibrate", one, "--board", "8x6", "--square", "0.025")
    assert done.returncode == 4
    expected = "no picture shows a board of 8x6 inner corners, there is one of 9x6; give --board 9x6"
    assert one_line(done) == f"helmsight: {expected}"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "expected either pictures of a board"),
        (("a.png", "--source", "0"), 2, "expected either pictures of a board"),
        (("a.png",), 2, "--board and --square are needed"),
        (("a.png", "--board", "9", "--square", "0.02"), 2, "--board 9: expected COLUMNSxROWS of inner corners"),
        (("a.png", "--board", "9x6", "--square", "25"), 2, "--square 25: expected the side of a square in metres"),
        (("a.png", *SIZES, "--mount", "high"), 2, "--mount high: expected HEIGHT_M or HEIGHT_M,PITCH_DEG"),
        (("a.png", *SIZES, "--mount", "nan"), 2, "--mount nan: expected HEIGHT_M"),
        (("a.png", *SIZES, "--mount", "1", "--floor", "f.png"), 2, "expected one of them"),
        (("a.png", *SIZES, "--out", "none/camera.json"), 2, "expected a .json in a folder that is there"),
        (("a.png", "camera.json"), 2, "expected pictures, or one camera.json alone"),
        (("absent.json", "--mount", "1"), 4, "absent.json does not exist"),
        (("none/*.jpg", *SIZES), 6, "none/*.jpg: no picture matches"),
        (("--source", "97", *SIZES), 6, "97: cannot be opened; cameras here"),
    ],
)
def test_what_cannot_be_meant_is_one_line(arguments: tuple[str, ...], code: int, message: str) -> None:
    done = helmsight("calibrate", *arguments)
    assert done.returncode == code, done.stderr
    assert message in one_line(done)


def test_a_camera_alone_is_asked_what_to_add(camera: Path) -> None:
    done = helmsight("calibrate", camera)
    assert done.returncode == 2
    assert "is calibrated; expected --floor or --mount to add to it" in one_line(done)


def test_a_map_takes_a_camera_file(navigate_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    """Frames of the clip have 64x48: the same shape as the calibration's."""
    camera = tmp_path / "camera.json"
    save_camera(camera, CalibratedCamera(LENS, 0.2, 12, MOUNT))
    run = ("camera", navigate_bundle.path, "--source", clip, "--device", "fake", "--map", tmp_path / "map.png")
    done = helmsight(*run, "--geometry", camera)
    assert done.returncode == 0, done.stderr
    assert "has no mount" not in done.stderr
    assert (tmp_path / "map.png").exists()
    save_camera(camera, CalibratedCamera(LENS, 0.2, 12))
    done = helmsight(*run, "--geometry", camera)
    assert done.returncode == 0, done.stderr
    assert "has no mount; taken to be 0.25 m over the floor and level" in done.stderr
    save_camera(camera, CalibratedCamera(Lens((180, 320), (300.0, 300.0), (159.5, 89.5)), 0.2, 12, MOUNT))
    done = helmsight(*run, "--geometry", camera)
    assert done.returncode == 2
    assert "a frame has 64x48, the camera was calibrated at 320x180; expected the same shape" in done.stderr


def test_a_map_of_a_camera_of_which_nothing_is_known_says_what_is_taken(
    navigate_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    done = helmsight("camera", navigate_bundle.path, "-s", clip, "--device", "fake", "--map", tmp_path / "map.png")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("taken to be 45 degrees high, 0.25 m over the floor and level") == 1
    assert "helmsight calibrate 'boards/*.jpg'" in done.stderr
    assert (tmp_path / "map.png").exists()
