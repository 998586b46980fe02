"""The camera command as a user runs it: in its own process, with the exit codes that scripts rely on."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmsight.cli._options import source_uri
from helmsight.runtime.bundle import SHIPPED, Bundle, write_bundle

from ..bundles import open_face_manifest, write_block_finder


def helmsight(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "helmsight", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def frame_count(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    return count


def test_a_file_through_two_models_with_recording_and_log(
    face_bundle: Bundle, navigate_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    video, log = tmp_path / "o.mp4", tmp_path / "o.jsonl"
    done = helmsight(
        "camera", face_bundle.path, navigate_bundle.path, "--source", clip, "--device", "fake",
        "--record", video, "--log", log, "--headless", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["results"] == 12
    assert report["summary"]["overwritten"] == {"face": 0, "navigate": 0}
    assert report["models"]["face"] == {"bundle": str(face_bundle.path), "device": "fake", "precision": "fp32"}
    assert report["recorded_frames"] == 12
    assert frame_count(video) == 12
    assert [json.loads(line)["frame"] for line in log.read_text().splitlines()] == list(range(12))


@pytest.mark.parametrize(
    ("uri", "mode", "warned"),
    [
        ("rtsp://me:secret@camera/ball", 0o644, True),
        ("rtsp://me:secret@camera/ball", 0o600, False),
        ("clip.mp4", 0o644, False),
    ],
)
def test_a_file_with_a_streams_address_is_the_users_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, uri: str, mode: int, warned: bool
) -> None:
    file = tmp_path / "uri"
    file.write_text(f"{uri}\n")
    file.chmod(mode)
    assert source_uri(f"@{file}") == uri
    said = f"--source @{file}: other users may open it (mode 644); chmod 600 {file}"
    assert caplog.messages == [said] * warned


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("{tmp}/text.mp4", 6, "cannot read as a video"),
        ("{tmp}/absent.mp4", 6, "no such file"),
        ("{tmp}/none/*.jpg", 6, "no picture matches"),
        ("97", 6, "97: cannot be opened; cameras here"),
        ("sample://nowhere", 2, "no such sample"),
        ("gopher://x", 2, "gopher:// is unknown"),
        ("@{tmp}/uri", 6, "nowhere.mp4: no such file"),
        ("@{tmp}/absent", 2, "expected a file with the source in it"),
        ("@{tmp}/before.jsonl", 2, "expected one line in it, the source"),
    ],
)
def test_a_bad_source_is_one_line_and_its_exit_code(
    face_bundle: Bundle, tmp_path: Path, source: str, code: int, message: str
) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "uri").write_text("nowhere.mp4\n")
    for name in ("before.avi", "before.jsonl"):
        (tmp_path / name).write_text("precious\nlines\n")
    source = source.format(tmp=tmp_path)
    done = helmsight(
        "camera", face_bundle.path, "--device", "fake", "--source", source,
        "--record", tmp_path / "before.avi", "--log", tmp_path / "before.jsonl",
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert message in done.stderr
    for name in ("before.avi", "before.jsonl"):
        assert (tmp_path / name).read_text() == "precious\nlines\n"


def test_outputs_that_cannot_both_be_are_refused_before_the_first_frame(
    face_bundle: Bundle, navigate_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    same, over = tmp_path / "same.avi", clip.read_bytes()
    cases = (
        (["--record", same, "--log", same], "--record and --log name the same file"),
        (["--record", clip], "--record and --source name the same file"),
        (["--map", tmp_path / "m.png"], "made by a navigation bundle"),
    )
    for options, message in cases:
        done = helmsight("camera", face_bundle.path, "--device", "fake", "--source", clip, *options)
        assert done.returncode == 2
        assert message in done.stderr
    assert clip.read_bytes() == over
    assert not same.exists()


def test_a_network_that_is_not_as_its_manifest_says_is_exit_4(clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "wrong.bundle"
    shutil.copytree(SHIPPED / "navigate.bundle", copy)
    manifest = copy / "manifest.json"
    record = json.loads(manifest.read_text())
    record["inputs"][0]["shape"][1] //= 2
    manifest.write_text(json.dumps(record))
    done = helmsight("camera", copy, "--source", clip)
    assert done.returncode == 4
    assert "does not run as its manifest says" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    ("options", "seen"),
    [((), 1), (("--imgsz", "640x480"), 3), (("--tile",), 3), (("--imgsz", "352x480", "--tile"), 3)],
    ids=["usual size", "the frame's size", "tiles", "tiles of another size"],
)
def test_small_faces_at_another_size_or_in_tiles(tmp_path: Path, options: tuple[str, ...], seen: int) -> None:
    # In half the size a block of 8 px is a quarter of a cell; only the last one, of 16, fills one there.
    corners = {(24, 40): 8, (616, 464): 8, (320, 240): 16}
    picture = np.zeros((480, 640, 3), np.uint8)
    for (x, y), side in corners.items():
        picture[y : y + side, x : x + side] = 255
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    bundle, log = write_block_finder(tmp_path / "b.bundle"), tmp_path / "o.jsonl"
    done = helmsight("camera", bundle.path, "--source", tmp_path / "a.png", "--log", log, *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(log.read_text())["face"]
    assert len({tuple(box[:2]) for box in found["xyxy"]} & set(corners)) == seen
    for (x1, y1, x2, y2), points in zip(found["xyxy"], found["landmarks"], strict=True):
        np.testing.assert_allclose(points, [[(x1 + x2) / 2, (y1 + y2) / 2]] * 5, atol=0.11)
        assert picture[round(y1) : round(y2), round(x1) : round(x2)].mean() > 100, "nothing but faces"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--imgsz", "650x480"), "multiples of 32 up to 4096; the nearest is --imgsz 640x480"),
        (("--imgsz", "640"), "--imgsz 640: expected WIDTHxHEIGHT in pixels, such as 640x480"),
        (("--imgsz", "-1x480"), "expected WIDTHxHEIGHT"),
    ],
)
def test_a_size_that_cannot_be_is_one_line(clip: Path, tmp_path: Path, options: tuple[str, str], message: str) -> None:
    bundle = write_bundle(tmp_path / "o.bundle", open_face_manifest(), {"model.onnx": b"not read"})
    done = helmsight("camera", bundle.path, "--device", "fake", "--source", clip, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_tiles_without_faces_to_look_for(navigate_bundle: Bundle, clip: Path) -> None:
    done = helmsight("camera", navigate_bundle.path, "--device", "fake", "--source", clip, "--tile")
    assert done.returncode == 2
    assert "--tile: only faces are looked for in tiles; add a face bundle" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--period", "nose=50"], "--period nose=50: no such model; expected one of face"),
        (["--period", "face"], "--period face: expected MODEL=NUMBER, once a model, milliseconds"),
        (["--period", "face=nan"], "--period face=nan: expected MODEL=NUMBER"),
        (["--period", "face=1e9"], "--period face=1e+09: expected milliseconds from 1 to --max-age-ms 500"),
        (["--priority", "face=1", "--priority", "face=2"], "--priority face=2: expected MODEL=NUMBER, once a model"),
        (["--period", "face=50", "--source", "sample://corridor"], "waits for its models, every frame is looked at"),
    ],
)
def test_a_pace_that_cannot_be_meant(face_bundle: Bundle, options: list[str], message: str) -> None:
    done = helmsight("camera", face_bundle.path, "--source", "test://pattern", "--device", "fake", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_two_models_with_periods_on_the_test_pattern(face_bundle: Bundle, navigate_bundle: Bundle) -> None:
    done = helmsight(
        "camera", face_bundle.path, navigate_bundle.path, "--source", "test://pattern?fps=100&size=64x48",
        "--device", "fake", "--period", "navigate=20", "--period", "face=400", "--max-frames", "40", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)["summary"]
    assert set(summary["late"]) == {"face", "navigate"}
    assert summary["overwritten"]["face"] > summary["overwritten"]["navigate"]


def test_a_camera_that_is_not_there_is_waited_for_until_a_signal(face_bundle: Bundle) -> None:
    absent = ["--source", "rtsp://u:secret@127.0.0.1:9/x", "--device", "fake"]
    done = helmsight("camera", face_bundle.path, *absent)
    assert done.returncode == 6
    command = [sys.executable, "-m", "helmsight", "camera", str(face_bundle.path), *absent, "--wait-for-camera"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = process.stderr.readline()
        process.terminate()
        _, rest = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "rtsp://u:***@127.0.0.1:9/x: cannot be opened; 127.0.0.1:9: connection refused" in said
    assert "waiting for it" in said
    assert "secret" not in done.stderr + said + rest


def test_a_recording_that_fails_is_not_exit_0(face_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    done = helmsight("camera", face_bundle.path, "--device", "fake", "--source", clip, "--log", "/dev/full", "--json")
    assert done.returncode == 1
    assert "--log /dev/full: not recorded whole: [Errno 28] No space left on device" in done.stderr.splitlines()[-1]
    assert json.loads(done.stdout)["summary"]["results"] == 12, "the run itself went on"
    (tmp_path / "o.mp4").mkdir()
    done = helmsight("camera", face_bundle.path, "--device", "fake", "--source", clip, "--record", tmp_path / "o.mp4")
    assert done.returncode == 2
    assert "o.mp4: a folder; expected a file" in done.stderr


def test_a_bad_bundle_is_one_line_and_exit_4(face_bundle: Bundle, clip: Path) -> None:
    manifest = face_bundle.path / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole.replace('"schema_version": 1', '"schema_version": 2'))
    newer = helmsight("camera", face_bundle.path, "--source", clip)
    manifest.write_text(whole)
    face_bundle.model.write_bytes(b"changed")
    changed = helmsight("camera", face_bundle.path, "--source", clip)
    for done, message in ((newer, "schema_version 2, this helmsight reads 1"), (changed, "the manifest says")):
        assert done.returncode == 4
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert message in done.stderr


def test_what_is_written_over_is_named(face_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    log, drawn = tmp_path / "out.jsonl", tmp_path / "map.png"
    drawn.write_bytes(b"kept: a face has no map")
    command = ("camera", face_bundle.path, "--device", "fake", "--source", clip, "--max-frames", 1, "--log", log)
    first, second, mapless = helmsight(*command), helmsight(*command), helmsight(*command, "--map", drawn)
    refused = helmsight("camera", face_bundle.path, "--device", "fake", "--source", clip, "--record", clip)
    assert [first.returncode, second.returncode] == [0, 0]
    assert f"--log {log}: was there already and was written over" in second.stderr
    for done in (mapless, refused):
        assert done.returncode == 2
    for done in (first, mapless, refused):  # what was asked for and not touched is not said to be lost
        assert "written over" not in done.stderr
    assert "kept" in drawn.read_text()


def test_a_network_that_is_none_is_one_line_and_exit_4(face_bundle: Bundle, clip: Path) -> None:
    done = helmsight("camera", face_bundle.path, "--source", clip)
    assert done.returncode == 4
    assert "is no ONNX model" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_show_without_a_screen_and_a_geometry_that_is_none_are_usage_errors(
    navigate_bundle: Bundle, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    for extra, message in (
        (["--show"], "no screen"),
        (["--geometry", "absent.json"], "does not exist"),
        (["--geometry", "1"], "these three"),
        (["--geometry", "200,0.3,5"], "--geometry 200,0.3,5: vertical field of view is 200.0 degrees"),
        (["--geometry", "75,-0.3,5"], "--geometry 75,-0.3,5: camera height is -0.3 m"),
    ):
        done = helmsight("camera", navigate_bundle.path, "--source", clip, "--device", "fake", *extra)
        assert done.returncode == (4 if "absent.json" in extra else 2)
        assert message in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_live_run_with_a_stop_and_a_recording_that_plays(
    face_bundle: Bundle, navigate_bundle: Bundle, tmp_path: Path, number: signal.Signals
) -> None:
    video, log = tmp_path / "o.mkv", tmp_path / "o.jsonl"
    command = [sys.executable, "-m", "helmsight", "camera", str(face_bundle.path), str(navigate_bundle.path)]
    command += ["--source", "test://pattern?size=320x240", "--device", "fake", "--record", str(video)]
    command += ["--log", str(log), "--robot", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for _ in range(20):
            assert "linear_mps" in process.stdout.readline()
        process.send_signal(number)
        told, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number, errors
    assert "stop" in json.loads(told.splitlines()[-1])
    assert json.loads(log.read_text().splitlines()[-1])["command"] == {"stop": "the run ended"}
    assert frame_count(video) > 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_recording_that_plays(face_bundle: Bundle, tmp_path: Path, number: signal.Signals) -> None:
    long = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(long), cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 240))
    for _ in range(3000):
        writer.write(cv2.UMat(240, 320, cv2.CV_8UC3).get())
    writer.release()
    video, log = tmp_path / "o.mp4", tmp_path / "o.jsonl"
    command = [sys.executable, "-m", "helmsight", "camera", str(face_bundle.path), "--source", str(long)]
    command += ["--device", "fake", "--record", str(video), "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while not (log.exists() and log.read_text().count("\n") > 20):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert f"ended by {number.name}" in errors
    assert 20 < frame_count(video) < 3000
    assert frame_count(video) == len(log.read_text().splitlines())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--goal", "1"], "expected numbers X,Y"),
        (["--goal", "1,b"], "expected numbers X,Y"),
        (["--goal", "nan,1"], "expected numbers X,Y"),
        (["--goal", "40,1"], "at most 30 m away"),
        (["--goal", "1,2"], "--goal 1,2: the map is made by a navigation bundle"),
        (["--follow"], "--follow: the map is made by a navigation bundle"),
        (["--robot", "-"], "--robot -: the commands are made by a navigation bundle"),
    ],
)
def test_driving_by_the_map_needs_a_place_and_a_navigation_bundle(
    face_bundle: Bundle, navigate_bundle: Bundle, clip: Path, option: list[str], message: str
) -> None:
    bundle = face_bundle if "navigation" in message else navigate_bundle
    done = helmsight("camera", bundle.path, "--source", clip, "--device", "fake", *option)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pilot_chooses_the_commands(navigate_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    """The same readings, with and without the map."""
    commands = []
    for options in ([], ["--follow"]):
        log = tmp_path / "log.jsonl"
        done = helmsight("camera", navigate_bundle.path, "--source", clip, "--device", "fake", "--log", log, *options)
        assert done.returncode == 0, done.stderr
        commands.append([json.loads(line)["command"] for line in log.read_text().splitlines()])
    alone, piloted = commands
    assert len(alone) == len(piloted) == 12
    assert alone != piloted


def test_a_preview_that_cannot_be_is_one_line_before_the_first_frame(
    face_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    log = tmp_path / "o.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cases = {
            f"127.0.0.1:{taken.getsockname()[1]}": "the port is in use; take another one",
            "8080": "expected HOST:PORT, such as 127.0.0.1:8080",
            "192.0.2.1:8080": "expected an address of this machine",
        }
        for address, message in cases.items():
            done = helmsight(
                "camera", face_bundle.path, "--device", "fake", "--source", clip, "--log", log, "--preview", address
            )
            assert done.returncode == 2
            assert f"--preview {address}: " in done.stderr
            assert message in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not log.exists()


def test_a_signal_ends_a_run_that_is_looked_at(face_bundle: Bundle, tmp_path: Path) -> None:
    long = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(long), cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 240))
    for _ in range(6000):
        writer.write(cv2.UMat(240, 320, cv2.CV_8UC3).get())
    writer.release()
    command = [sys.executable, "-m", "helmsight", "camera", str(face_bundle.path), "--source", str(long)]
    command += ["--device", "fake", "--preview", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split("preview at ")[1].strip()
        with urllib.request.urlopen(f"{address}picture.jpg", timeout=20) as answer:
            assert cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR).shape == (240, 320, 3)
        with urllib.request.urlopen(f"{address}metrics", timeout=20) as answer:
            assert "helmsight_model_info{" in answer.read().decode()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_recording_is_replayed_by_name(face_bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    run = ["camera", face_bundle.path, "--device", "fake", "--json", "--source"]
    done = helmsight(*run, clip, "--record", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["recording"], report["recorded_frames"]) == (str(tmp_path / "run"), 12)
    again = helmsight(*run, f"replay://{tmp_path / 'run'}")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["replay"] == {"face": {"same": 12, "different": 0, "first_frame": None}}


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--record", "{tmp}/absent/run"), 2, "there is no folder {tmp}/absent; make it first"),
        (("--record", "/proc/run"), 2, "--record /proc/run: cannot be written"),
        (("--record", "{tmp}/run.mov"), 2, ".mov is unknown; expected .mp4, .mkv, .avi"),
        (("--source", "replay://{tmp}/absent"), 6, "there is no recording; expected a folder that --record made"),
    ],
)
def test_a_recording_that_cannot_be_is_one_line_before_the_first_frame(
    face_bundle: Bundle, clip: Path, tmp_path: Path, options: tuple[str, str], code: int, message: str
) -> None:
    log = tmp_path / "o.jsonl"
    given = [option.format(tmp=tmp_path) for option in options]
    source = [] if "--source" in given else ["--source", clip]
    done = helmsight("camera", face_bundle.path, "--device", "fake", "--log", log, *source, *given)
    assert done.returncode == code, done.stderr
    assert message.format(tmp=tmp_path) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not log.exists()
