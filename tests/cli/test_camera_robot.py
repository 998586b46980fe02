"""What a robot is told by the camera command, whatever it is fed: always in order, and a stop at the end."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmsight.cli.main import main
from helmsight.runtime.bundle import Bundle, write_bundle
from helmsight.runtime.calibration import DEFAULT_GEOMETRY
from helmsight.runtime.camera import Camera, CameraOptions
from helmsight.runtime.mapping.geometry import FloorView
from helmsight.runtime.mapping.grid import floor_edge
from helmsight.runtime.pipeline import PipelineOptions
from helmsight.runtime.results import Frame
from helmsight.runtime.sources.fake import FakeSource

from ..bundles import navigate_manifest

SI = {"seq", "frame", "captured_ns", "age_ms", "linear_mps", "angular_rps"}


class Receiver:
    """A robot's ear on the loopback."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound
        self.uri = f"udp://127.0.0.1:{bound.getsockname()[1]}"

    def records(self) -> list[dict]:
        """All that has come."""
        self._socket.setblocking(False)
        found = []
        while True:
            try:
                found.append(json.loads(self._socket.recv(2048)))
            except BlockingIOError:
                return found


@pytest.fixture
def robot() -> Iterator[Receiver]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        bound.bind(("127.0.0.1", 0))
        yield Receiver(bound)


def helmsight(*arguments: object, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "helmsight", *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60)


class Frames(FakeSource):
    """A live camera that gives these pictures, then more of the last one."""

    def __init__(self, images: Sequence[np.ndarray], count: int = 1000) -> None:
        super().__init__(count, live=True)
        self._images = images

    def read(self) -> Frame | None:
        frame = super().read()
        return frame and Frame(self._images[min(frame.index, len(self._images) - 1)], frame.index, frame.captured_ns)


def run_here(monkeypatch: pytest.MonkeyPatch, source: FakeSource, *arguments: object) -> int:
    """The command in this process, on a source that no address names; its exit code."""
    monkeypatch.setattr("helmsight.runtime.camera.open_source", lambda _: source)
    monkeypatch.setattr(sys, "argv", ["helmsight", "camera", *map(str, arguments), "-s", "fake", "--device", "fake"])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def navigator(path: Path, **answers: object) -> Bundle:
    """A network that always answers the same."""
    return write_bundle(path / "a.bundle", navigate_manifest(fake_outputs=answers), {"model.onnx": b"not read"})


def test_a_datagram_for_each_result_then_a_stop(navigate_bundle: Bundle, clip: Path, robot: Receiver) -> None:
    done = helmsight(
        "camera", navigate_bundle.path, "--source", clip, "--device", "fake", "--robot", robot.uri,
        "--robot-shape", "0.2,0.5,2", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = robot.records()
    assert [record["seq"] for record in records] == list(range(13))
    assert all(set(record) == SI | {"steer", "speed"} for record in records[:-1])
    assert records[0]["linear_mps"] == 0.5, "the top speed of this robot"
    assert records[-1].items() >= {"stop": "the run ended", "frame": 11, "linear_mps": 0, "angular_rps": 0}.items()
    report = json.loads(done.stdout)["robot"]
    assert report["sent"] == 13
    assert report["stopped"]


def test_standard_output_has_nothing_but_commands(navigate_bundle: Bundle, clip: Path) -> None:
    arguments = ("camera", navigate_bundle.path, "--source", clip, "--device", "fake", "--robot", "-")
    done = helmsight(*arguments)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert "stop" in records[-1]
    assert [record["seq"] for record in records] == sorted(record["seq"] for record in records)
    assert "robot -" in done.stderr, "the report"
    refused = helmsight(*arguments, "--json")
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert "--json: standard output has the commands of --robot -" in refused.stderr


def test_nobody_listens_and_the_run_goes_on_but_is_not_exit_0(
    navigate_bundle: Bundle, clip: Path, robot: Receiver, tmp_path: Path
) -> None:
    robot._socket.close()
    log = tmp_path / "log.jsonl"
    done = helmsight(
        "camera", navigate_bundle.path, "--source", clip, "--device", "fake", "--robot", robot.uri, "--log", log
    )
    assert done.returncode == 1
    said, last = done.stderr.splitlines()
    assert "a command did not get there: connection refused" in said
    assert "the last stop did not get there: connection refused" in last
    assert len(log.read_text().splitlines()) == 12


def test_a_fifo_that_nobody_reads_delays_neither_the_log_nor_the_end(
    navigate_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    fifo, log = tmp_path / "fifo", tmp_path / "log.jsonl"
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDWR)
    try:
        done = helmsight(
            "camera", navigate_bundle.path, "--source", clip, "--device", "fake", "--robot", "-", "--log", log,
            stdout=end,
        )  # fmt: skip
    finally:
        os.close(end)
    assert done.returncode == 1
    assert "nobody has read for 0.5 s" in done.stderr.splitlines()[-1]
    ages = [json.loads(line)["age_ms"] for line in log.read_text().splitlines()]
    assert len(ages) == 12
    assert max(ages) < 1000


SMOOTH = np.full((48, 64, 3), 90, np.uint8)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (SMOOTH[..., 0], "frame 5 is 48 x 64 uint8; expected height x width x 3 uint8"),
        (np.dstack([SMOOTH, SMOOTH[..., 0]]), "frame 5 is 48 x 64 x 4 uint8"),
        (SMOOTH.astype(np.uint16) * 257, "frame 5 is 48 x 64 x 3 uint16"),
        (np.zeros((0, 0, 3), np.uint8), "frame 5 is 0 x 0 x 3 uint8"),
        (np.full((64, 64, 3), 90, np.uint8), "frame 5 is 64x64, those before are 64x48; a robot and a map need one"),
    ],
    ids=["grey", "BGRA", "16 bits", "empty", "another size"],
)
@pytest.mark.parametrize("options", [(), ("--follow",)], ids=["network", "pilot"])
def test_another_kind_of_frame_ends_the_run_with_a_stop(
    bad: np.ndarray, message: str, options: Sequence[str], navigate_bundle: Bundle, robot: Receiver,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    source = Frames([SMOOTH] * 5 + [bad])
    code = run_here(monkeypatch, source, navigate_bundle.path, "--robot", robot.uri, *options)
    said = capsys.readouterr()
    assert code == 6
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    assert message in said.err
    records = robot.records()
    assert "speed" in records[0]
    assert message in records[-1]["stop"]
    assert sum("stop" in record for record in records) == 1


def test_pictures_of_any_colour_drive_and_of_two_sizes_do_not(
    navigate_bundle: Bundle, robot: Receiver, tmp_path: Path
) -> None:
    kinds = (SMOOTH[..., 0], np.dstack([SMOOTH, SMOOTH[..., 0]]), SMOOTH.astype(np.uint16) * 257, SMOOTH)
    for number, picture in enumerate(kinds):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    arguments = ("camera", navigate_bundle.path, "-s", tmp_path / "*.png", "--device", "fake", "--robot", robot.uri)
    assert helmsight(*arguments).returncode == 0
    assert ["stop" in record for record in robot.records()] == [False] * 4 + [True]
    cv2.imwrite(str(tmp_path / "4.png"), np.zeros((100, 64, 3), np.uint8))
    done = helmsight(*arguments)
    assert done.returncode == 6
    assert "frame 4 is 64x100, those before are 64x48" in done.stderr
    assert "frame 4 is 64x100" in robot.records()[-1]["stop"]
    assert helmsight(*arguments[:-2]).returncode == 0, "no robot, no map: any size"


@pytest.mark.parametrize("output", ["steer", "collision", "free_space"])
@pytest.mark.parametrize("options", [(), ("--follow",)], ids=["network", "pilot"])
def test_what_is_no_number_is_a_stop_said_once(
    output: str, options: Sequence[str], clip: Path, robot: Receiver, tmp_path: Path
) -> None:
    bundle = navigator(tmp_path, **{output: "nan"})
    video = tmp_path / "o.avi"
    done = helmsight(
        "camera", bundle.path, "-s", clip, "--device", "fake", "--robot", robot.uri, "--record", video,
        "--geometry", "60,0.3,5", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("STOP: the network's output is not finite") == 1
    assert len(done.stderr.splitlines()) == 1
    assert [record.get("stop") for record in robot.records()] == ["the network's output is not finite"] * 12


def walled(tmp_path: Path) -> tuple[Bundle, str, float]:
    """A network that sees a wall across the way, pictures of one place, and how far the wall is."""
    free = np.zeros((36, 1))
    free[28:] = 1
    rng = np.random.default_rng(3)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (240, 320, 3), np.uint8), (0, 0), 2)
    for number in range(24):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), picture)
    edge = floor_edge(np.broadcast_to(free, (36, 48)), FloorView(DEFAULT_GEOMETRY, (240, 320), (36, 48)), 0.25)
    return navigator(tmp_path, free_space=free.tolist()), str(tmp_path / "*.png"), float(edge.depth_m[24])


def test_a_goal_in_a_wall_is_a_stop_said_once_and_exit_1(robot: Receiver, tmp_path: Path) -> None:
    bundle, pictures, wall_m = walled(tmp_path)
    done = helmsight(
        "camera", bundle.path, "-s", pictures, "--device", "fake", "--robot", robot.uri, "--goal", f"{wall_m:.2f},0"
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert "distances are a guess" in lines[0], "no calibration: what is taken is said"
    assert "STOP: goal" in lines[1]
    assert "not reached: there is no way to it" in lines[2]
    assert len(lines) == 3
    assert "something stands there" in robot.records()[-1]["stop"]


def test_a_goal_that_the_run_ends_before_is_exit_1(robot: Receiver, tmp_path: Path) -> None:
    bundle, pictures, _ = walled(tmp_path)
    done = helmsight(
        "camera", bundle.path, "-s", pictures, "--device", "fake", "--robot", robot.uri, "--goal=-3,0", "--json"
    )
    assert done.returncode == 1
    assert "--goal -3,0: not reached: the run ended before" in done.stderr
    report = json.loads(done.stdout)
    assert report["goal"] == "not reached"
    assert report["map"]["frames"] + report["map"]["skipped"] == report["summary"]["results"]
    records = robot.records()
    assert "speed" in records[0]
    assert "stop" in records[-1]


def test_a_goal_where_it_is_ends_the_run_at_once(navigate_bundle: Bundle, clip: Path, robot: Receiver) -> None:
    done = helmsight(
        "camera", navigate_bundle.path, "-s", clip, "--device", "fake", "--robot", robot.uri, "--goal", "0.1,0"
    )
    assert done.returncode == 0, done.stderr
    assert [record.get("stop") for record in robot.records()] == ["goal 0.1,0 reached"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--follow", "--goal", "1,0"), "--goal 1,0 and --follow: a robot drives to a place or along the way"),
        (("--robot", "tcp://1.2.3.4:5"), "--robot tcp://1.2.3.4:5: expected udp://HOST:PORT, or -"),
        (("--robot-shape", "1,2"), "--robot-shape 1,2: expected numbers RADIUS_M,MAX_SPEED_MPS,MAX_YAW_RATE_RPS"),
        (("--robot-shape", "0.2,0.5,0"), "--robot-shape 0.2,0.5,0: expected a radius of 0.01 to 1 m"),
        (("--robot-shape", "0.2,1,1", "--source", "sim://office"), "--robot-shape: the simulator's robot has its own"),
        (("--follow", "--source", "sim://office?driver=expert"), "--follow: sim://office?driver=expert has a driver"),
    ],
)
def test_contradictions_are_one_line(navigate_bundle: Bundle, clip: Path, options: list[str], message: str) -> None:
    done = helmsight("camera", navigate_bundle.path, "--source", clip, "--device", "fake", *options)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert message in done.stderr


def test_a_silent_camera_is_told_at_once(
    navigate_bundle: Bundle, robot: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FakeSource(1000, live=True, silence=(10, 0.6))
    monkeypatch.setattr("helmsight.runtime.camera.open_source", lambda _: source)
    options = CameraOptions(
        [str(navigate_bundle.path)], "fake", device="fake", robot=robot.uri,
        pipeline=PipelineOptions(max_age_ms=100, max_frames=20),
    )  # fmt: skip
    Camera(options).run()
    records = robot.records()
    stops = [record for record in records if "stop" in record]
    assert "camera is silent" in stops[0]["stop"]
    assert 100 < stops[0]["age_ms"] < 250
    assert stops[-1] is records[-1]
