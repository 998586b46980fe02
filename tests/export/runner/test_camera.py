"""The V4L2 source against a camera that answers as the kernel's documentation says; no real one was tried."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from helmsight.export.native import find_tools
from helmsight.runtime.results import Image
from helmsight.runtime.tasks import task_for

from .conftest import PLATFORM, Deployed
from .test_pictures import without_tables

cv2 = pytest.importorskip("cv2")
pytestmark = [pytest.mark.qemu, pytest.mark.slow]

DEVICE = "/dev/video7"
SIZE = (240, 320)


@pytest.fixture(scope="module")
def driver(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fake camera as a library to be preloaded."""
    library = tmp_path_factory.mktemp("driver") / "fake_camera.so"
    source = Path(__file__).with_name("fake_camera.c")
    command = [find_tools().zig, "cc", *PLATFORM.flags, "-shared", "-fPIC", "-s", source, "-o", library]
    subprocess.run(command, check=True, capture_output=True)
    return library


@pytest.fixture(scope="module")
def yuyv(frames: list[Image]) -> list[Image]:
    """Frames (H, W, 2) as a camera gives them."""
    small = [cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_AREA) for image in frames]
    return [cv2.cvtColor(image, cv2.COLOR_BGR2YUV_YUY2) for image in small]


def settings(driver: Path, file: Path, form: str = "YUYV", **more: int) -> list[str]:
    size = {"CAMERA_SIZE": f"{SIZE[1]}x{SIZE[0]}", "CAMERA_FORMAT": form, "CAMERA_FRAMES": file}
    return [f"LD_PRELOAD={driver}", *(f"{name}={value}" for name, value in (size | more).items())]


def stream(tmp_path: Path, frames: list[Image]) -> Path:
    file = tmp_path / "frames.yuyv"
    file.write_bytes(b"".join(frame.tobytes() for frame in frames))
    return file


def test_frames_are_the_newest_and_right(
    deployed: dict[str, Deployed], driver: Path, yuyv: list[Image], tmp_path: Path
) -> None:
    board, shown = deployed["navigate"], tmp_path / "in.ppm"
    environment = settings(driver, stream(tmp_path, yuyv), CAMERA_BYTES=yuyv[0].nbytes)
    options = ("--max-frames", "5", "--max-age-ms", "60000", "--show-input", shown)
    lines = board.lines("--source", DEVICE, *options, environment=environment)
    *seen, last = lines
    assert last["command"] == {"stop": "the run ended"}
    assert [set(line["command"]) for line in seen] == [{"steer", "speed"}] * 5
    indices = [line["frame"] for line in seen]
    assert indices == sorted(set(indices))
    for line in seen:
        # Emulated, a run takes longer than a frame: what came in between was counted, and nothing waits in a queue.
        assert line["overwritten"] >= line["frame"] - seen.index(line)
        assert 0 < line["navigate"]["stage_ms"]["wait"] < line["age_ms"]
    task = task_for(board.bundle.manifest)
    bgr = cv2.cvtColor(yuyv[indices[-1] % len(yuyv)], cv2.COLOR_YUV2BGR_YUYV)
    np.testing.assert_array_equal(cv2.imread(str(shown)), task.prepare(bgr)["image"][0])


def test_mjpeg_is_taken_where_there_is_no_yuyv(
    deployed: dict[str, Deployed], driver: Path, frames: list[Image], tmp_path: Path
) -> None:
    image = cv2.resize(frames[0], SIZE[::-1], interpolation=cv2.INTER_AREA)
    data = without_tables(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    file, shown = tmp_path / "frame.jpg", tmp_path / "in.ppm"
    file.write_bytes(data)
    environment = settings(driver, file, "MJPG", CAMERA_BYTES=len(data))
    board = deployed["navigate"]
    board.lines("--source", "7", "--max-frames", "1", "--show-input", shown, environment=environment)
    difference = np.abs(cv2.imread(str(shown)).astype(int) - task_for(board.bundle.manifest).prepare(image)["image"][0])
    assert difference.mean() < 2


def test_a_broken_frame_is_counted_and_left_out(
    deployed: dict[str, Deployed], driver: Path, frames: list[Image], tmp_path: Path
) -> None:
    good = cv2.imencode(".jpg", cv2.resize(frames[0], SIZE[::-1]))[1].tobytes()
    file = tmp_path / "frames"
    file.write_bytes(good + bytes(len(good)))
    environment = settings(driver, file, "MJPG", CAMERA_BYTES=len(good))
    done = deployed["navigate"].run("--source", DEVICE, "--max-frames", "2", environment=environment)
    assert done.returncode == 0
    damaged = int(done.stderr.decode().split(" damaged")[0].split()[-1])
    assert damaged >= 1


def test_another_format_is_refused(
    deployed: dict[str, Deployed], driver: Path, yuyv: list[Image], tmp_path: Path
) -> None:
    environment = settings(driver, stream(tmp_path, yuyv), "NV12", CAMERA_BYTES=100)
    done = deployed["navigate"].run("--source", DEVICE, environment=environment)
    assert done.returncode == 6
    assert f"{DEVICE} offers neither YUYV nor MJPEG" in done.stderr.decode()


@pytest.mark.parametrize(
    "case",
    [
        ("CAMERA_OPEN", errno.EACCES, "cannot be opened (Permission denied); add your user to its group: sudo usermod"),
        ("CAMERA_OPEN", errno.EBUSY, "cannot be opened (Device or resource busy); end the program that uses it"),
        (
            "CAMERA_OPEN",
            errno.ENOENT,
            "cannot be opened (No such file or directory); list cameras with: ls /dev/video*",
        ),
        ("CAMERA_SET", errno.EBUSY, "cannot be set up (Device or resource busy); end the program that uses it"),
        ("CAMERA_SET", errno.EINVAL, "offers neither YUYV nor MJPEG; list cameras with: ls /dev/video*"),
    ],
)
def test_a_camera_that_is_refused_says_what_to_do(
    deployed: dict[str, Deployed],
    driver: Path,
    yuyv: list[Image],
    tmp_path: Path,
    case: tuple[str, int, str],
) -> None:
    setting, error, said = case
    environment = settings(driver, stream(tmp_path, yuyv), CAMERA_BYTES=yuyv[0].nbytes, **{setting: error})
    done = deployed["navigate"].run("--source", DEVICE, environment=environment)
    assert (done.returncode, done.stdout) == (6, b"")
    assert done.stderr.decode().splitlines()[-1].startswith(f"helmsight-run: {DEVICE} {said}")


def test_a_lost_camera_is_opened_again(
    deployed: dict[str, Deployed], driver: Path, yuyv: list[Image], tmp_path: Path
) -> None:
    environment = settings(driver, stream(tmp_path, yuyv), CAMERA_BYTES=yuyv[0].nbytes, CAMERA_LOST=3)
    done = deployed["navigate"].run("--source", DEVICE, "--max-frames", "4", environment=environment)
    assert done.returncode == 0
    said = done.stderr.decode()
    assert said.index("the camera is lost") < said.index("the camera is back")
    assert json.loads(done.stdout.splitlines()[-2])["frame"] > 3


def test_a_silent_camera_stops_the_robot_once_and_so_does_the_end(
    deployed: dict[str, Deployed], driver: Path, yuyv: list[Image], tmp_path: Path
) -> None:
    environment = settings(driver, stream(tmp_path, yuyv), CAMERA_BYTES=yuyv[0].nbytes, CAMERA_SILENT=3)
    command = deployed["navigate"].command("--source", DEVICE, "--max-age-ms", "8000", environment=environment)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        while not lines or "stop" not in lines[-1]["command"]:
            lines.append(json.loads(process.stdout.readline()))
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(timeout=20) == 143
    assert lines[-1]["age_ms"] > 8000
    assert lines[-1]["command"]["stop"].startswith("camera is silent, last frame 8")
    assert rest == "", "the robot stands already: one stop is enough"


def test_an_error_stops_the_robot(
    deployed: dict[str, Deployed], driver: Path, yuyv: list[Image], tmp_path: Path
) -> None:
    shown = tmp_path / "shown"
    shown.mkdir()
    environment = settings(driver, stream(tmp_path, yuyv), CAMERA_BYTES=yuyv[0].nbytes)
    command = deployed["navigate"].command(
        *("--source", DEVICE, "--max-age-ms", "60000", "--show-input", shown / "in.ppm"), environment=environment
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "steer" in json.loads(process.stdout.readline())["command"]
        shown.rename(tmp_path / "gone")
        *_, last = process.stdout.read().splitlines()
        said = process.stderr.read()
        assert process.wait(timeout=20) == 2
    assert json.loads(last)["command"]["stop"].startswith("the run ended with an error: ")
    assert said.splitlines()[-1].endswith("in.ppm cannot be written; expected a file in a folder that is there")
    assert f" frames, {json.loads(last)['overwritten']} overwritten, 0 damaged" in said


def test_an_old_result_is_a_stop(
    deployed: dict[str, Deployed], driver: Path, yuyv: list[Image], tmp_path: Path
) -> None:
    environment = settings(driver, stream(tmp_path, yuyv), CAMERA_BYTES=yuyv[0].nbytes)
    lines = deployed["navigate"].lines(
        *("--source", DEVICE, "--max-frames", "2", "--max-age-ms", "1"), environment=environment
    )
    assert len(lines) == 2
    for line in lines:
        assert line["command"]["stop"].startswith("result is ")
