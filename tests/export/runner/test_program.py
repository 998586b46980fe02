"""The built program: what it needs, what it answers, how it ends. Emulated: ISA, ABI and numbers, never speed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helmsight.export.artefacts import Order
from helmsight.export.artefacts.ncnn import emulated, make, run_program
from helmsight.export.native import MOST_BYTES, NAME, PLATFORMS, cached_runner, needed_glibc
from helmsight.export.targets import check_targets
from helmsight.runtime.backends import MOST_THREADS, SessionOptions, load
from helmsight.runtime.bundle import Manifest, TensorSpec, write_bundle
from helmsight.runtime.parity import Tolerance
from helmsight.runtime.results import Command, Drive, Image
from helmsight.runtime.tasks import task_for

from .conftest import SHIPPED, Deployed, ppm

pytestmark = [pytest.mark.qemu, pytest.mark.slow]

RECORDS = max(40, int(os.environ.get("HELMSIGHT_FUZZ", "0")) // 10)
"""Of a damaged one the emulated program takes a sixth of a second."""
C_LIBRARY = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "ld-linux-armhf.so.3"}


def test_the_board_can_start_it(built: Path) -> None:
    elffile = pytest.importorskip("elftools.elf.elffile")
    program = built / NAME
    with program.open("rb") as stream:
        elf = elffile.ELFFile(stream)
        assert (elf["e_machine"], elf.elfclass) == ("EM_ARM", 32)
        needed = {t.needed for t in elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")}
        assert needed <= C_LIBRARY
        assert elf.get_section_by_name(".symtab") is None, "not stripped"
        versions = {
            auxiliary.name
            for _, found in elf.get_section_by_name(".gnu.version_r").iter_versions()
            for auxiliary in found
        }
    numbers = {tuple(map(int, v.removeprefix("GLIBC_").split("."))) for v in versions if v.startswith("GLIBC_")}
    assert versions
    assert all(v.startswith("GLIBC_") for v in versions)
    assert max(numbers) <= (2, 19)
    assert max(n[:2] for n in numbers) == needed_glibc(program)
    assert program.stat().st_size < MOST_BYTES


def test_licences_come_with_it(built: Path) -> None:
    text = (built / "LICENCES.txt").read_text()
    for name in ("ncnn", "Tencent", "stb_image", "Sean Barrett", "libc++", "LLVM"):
        assert name in text


@pytest.mark.parametrize("name", SHIPPED)
def test_outputs_are_those_of_onnx_runtime(deployed: dict[str, Deployed], frames: list[Image], name: str) -> None:
    board = deployed[name]
    feeds = [task_for(board.bundle.manifest).prepare(image) for image in frames]
    outputs = board.bundle.manifest.outputs
    found = list(run_program(board.command(), outputs, [dict(feed) for feed in feeds]))
    with load(board.bundle, SessionOptions("cpu")) as session:
        for feed, one in zip(feeds, found, strict=True):
            for key, expected in session.run(feed).items():
                np.testing.assert_allclose(one[key], expected, atol=1e-4, rtol=0, err_msg=f"{name} {key}")
                assert np.ptp(expected) > 0 or expected.size == 1
    assert board.record["max_abs"] < 1e-4
    assert board.record["precision"] == "fp32"
    assert "qemu-arm -cpu cortex-a15 -r 3.10.40" in board.record["checked"]


def expected_record(board: Deployed, image: Image) -> tuple[dict[str, Any], Any]:
    task = task_for(board.bundle.manifest)
    with load(board.bundle, SessionOptions("cpu")) as session:
        record = task.decode(session.run(task.prepare(image)), image.shape[:2])
    return record.to_json(), record


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (90, 60)])
def test_a_record_is_that_of_python(
    deployed: dict[str, Deployed], frames: list[Image], tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    import cv2

    board = deployed[name]
    pictures = [cv2.resize(image, size[::-1]).astype(np.uint8) for image in frames]
    lines = board.lines(*(ppm(tmp_path / f"{i}.ppm", image) for i, image in enumerate(pictures)))
    assert [line["frame"] for line in lines] == list(range(len(pictures)))
    for line, image in zip(lines, pictures, strict=True):
        expected, record = expected_record(board, image)
        found = line[name]
        assert list(found) == [*expected, "of_frame", "stage_ms"]
        assert list(found["stage_ms"]) == ["wait", "prepare", "inference", "decode"]
        assert list(line)[:5] == ["frame", "captured_ns", "age_ms", "overwritten", name]
        for key, value in expected.items():
            step = 0.1 if key in ("xyxy", "landmarks") else 1e-4  # the last digit that is printed
            np.testing.assert_allclose(found[key], value, atol=1.01 * step, err_msg=f"{name} {key}")
        if isinstance(record, Drive):
            command = Command.of(record).to_json()
            assert list(line["command"]) == list(command)
            np.testing.assert_allclose(list(line["command"].values()), list(command.values()), atol=1.01e-4)


def test_the_clip_shows_faces(deployed: dict[str, Deployed], frames: list[Image]) -> None:
    """Else the comparison of records would be one of empty lists."""
    assert sum(len(expected_record(deployed["face"], image)[0]["score"]) for image in frames) >= 2


def test_many_boxes_of_one_face_are_merged_as_in_python(
    deployed: dict[str, Deployed], frames: list[Image], tmp_path: Path
) -> None:
    """With a threshold that lets many cells through, suppression and merging have a hundred boxes to do."""
    board = deployed["face"]
    folder = tmp_path / "low"
    folder.mkdir()
    for file in board.folder.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "model.json").unlink()
    record = json.loads((board.folder / "model.json").read_text())
    record["decoding"]["score_threshold"] = 1e-5
    (folder / "model.json").write_text(json.dumps(record))
    task = task_for(board.bundle.manifest)
    task._threshold = 1e-5
    (line,) = board.lines("--model", folder, ppm(tmp_path / "a.ppm", frames[0]))
    with load(board.bundle, SessionOptions("cpu")) as session:
        expected = task.decode(session.run(task.prepare(frames[0])), frames[0].shape[:2]).to_json()
    assert len(expected["score"]) >= 3
    for key, step in (("score", 1e-4), ("xyxy", 0.1), ("landmarks", 0.1)):
        np.testing.assert_allclose(line["face"][key], expected[key], atol=1.01 * step, err_msg=key)


def test_a_summary_tells_the_tails_and_whether_they_are_supported(
    deployed: dict[str, Deployed], frames: list[Image], tmp_path: Path
) -> None:
    done = deployed["navigate"].run(ppm(tmp_path / "a.ppm", frames[0]), ppm(tmp_path / "b.ppm", frames[1]))
    said = done.stderr.decode().splitlines()
    assert said[0].startswith("navigate: 2 frames, 0 overwritten, 0 damaged; fp32, ")
    stages = {line.split()[0]: line.split()[1:] for line in said[2:7]}
    assert list(stages) == ["wait", "prepare", "inference", "decode", "age"]
    for p50, p90, p99, count in stages.values():
        assert float(p50) <= float(p90) <= float(p99)
        assert count == "2"
    assert "tail not supported" in said[7]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(deployed: dict[str, Deployed], frames: list[Image], sent: signal.Signals) -> None:
    height, width = frames[0].shape[:2]
    command = deployed["navigate"].command("--raw", f"{width}x{height}:bgr")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(frames[0].tobytes())
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["frame"] == 0
        process.send_signal(sent)
        assert process.wait(timeout=20) == 128 + sent
        assert process.stdout.read() == b""
        assert process.stderr.read().startswith(b"navigate: 1 frames")


@pytest.mark.parametrize(
    ("arguments", "sent", "code", "said"),
    [
        ([], b"", 2, "expected one source"),
        (["--raw", "640:bgr"], b"", 2, "expected a width and height"),
        (["--raw", "640x480:nv12"], b"", 2, "bgr, rgb, grey or yuyv"),
        (["--raw", "3x2:yuyv"], b"", 2, "even width"),
        (["--threads", "257", "a.ppm"], b"", 2, f"--threads 257: expected a number of 0 to {MOST_THREADS}"),
        (["--queries=7", "a.ppm"], b"", 2, "--queries has an effect only with --profile; leave it out"),
        (["--duration", "1", "--values"], b"", 2, "--duration has an effect only with --profile; leave it out"),
        (["--size", "640x480", "a.ppm"], b"", 2, "--size has an effect only with a camera"),
        (["--raw", "4x2:bgr", "--max-age-ms", "9"], b"", 2, "--max-age-ms has an effect only with a camera"),
        (["--values", "--max-frames", "1"], b"", 2, "--max-frames has an effect only with frames"),
        (["--profile", "--show-input", "a.ppm"], b"", 2, "--show-input has an effect only with frames"),
        (["--frames", "1", "a.ppm"], b"", 2, "no option --frames"),
        (["--raw", "4x2:bgr", "a.ppm"], b"", 2, "expected one source"),
        (["no-such.ppm"], b"", 6, "none of 1 files is a picture"),
        (["--source", "/dev/null"], b"", 6, "/dev/null is no V4L2 device"),
        (["--source", "/dev/video42"], b"", 6, "/dev/video42 cannot be opened (No such file or directory)"),
        (["--raw", "4x2:bgr"], b"", 6, "stdin has no frame"),
        (["--raw", "4x2:bgr"], b"x" * 30, 6, "stdin ends within frame 1, after 6 of 24 bytes"),
        (["--values"], b"x", 6, "ends within a tensor"),
        (["--model", "/nowhere", "a.ppm"], b"", 4, "/nowhere/model.json cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_code(
    deployed: dict[str, Deployed], arguments: list[str], sent: bytes, code: int, said: str
) -> None:
    done = deployed["navigate"].run(*arguments, sent=sent)
    assert done.returncode == code
    lines = [line for line in done.stderr.decode().splitlines() if line.startswith("helmsight-run:")]
    assert said in lines[-1]
    assert "Traceback" not in done.stderr.decode()


@pytest.mark.parametrize("threads", [0, MOST_THREADS])
def test_it_takes_as_many_threads_as_a_session_in_python(deployed: dict[str, Deployed], threads: int) -> None:
    done = deployed["navigate"].run("--profile", "--threads", str(threads))
    assert (done.returncode, b"no tensor" in done.stderr) == (6, True)


@pytest.mark.parametrize("file", ["model.param", "model.bin"])
def test_a_changed_file_is_refused_before_it_is_parsed(
    deployed: dict[str, Deployed], frames: list[Image], tmp_path: Path, file: str
) -> None:
    board = deployed["navigate"]
    for other in board.folder.iterdir():
        (tmp_path / other.name).write_bytes(other.read_bytes())
    content = bytearray((tmp_path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / file).write_bytes(content)
    done = board.run("--model", tmp_path, ppm(tmp_path / "a.ppm", frames[0]))
    assert done.returncode == 4
    assert f"{file} has SHA-256" in done.stderr.decode()


def test_a_damaged_record_is_refused(deployed: dict[str, Deployed], frames: list[Image], tmp_path: Path) -> None:
    """Cut off, or with one byte changed anywhere: it runs as it says or is refused, and never crashes."""
    board = deployed["navigate"]
    for other in board.folder.iterdir():
        (tmp_path / other.name).symlink_to(other)
    (tmp_path / "model.json").unlink()
    picture = ppm(tmp_path / "a.ppm", frames[0])
    text = (board.folder / "model.json").read_bytes()
    rng = np.random.default_rng(0)
    codes = []
    for _ in range(RECORDS):
        changed = bytearray(text)
        at = int(rng.integers(len(text)))
        if rng.random() < 0.5:
            changed = changed[:at]
        else:
            changed[at] = int(rng.integers(256))
        (tmp_path / "model.json").write_bytes(changed)
        done = board.run("--model", tmp_path, picture)
        codes.append(done.returncode)
        assert done.returncode in (0, 4), (done.returncode, changed, done.stderr)
    print(f"{len(codes)} records for the board: {codes.count(4)} refused, {codes.count(0)} whole")
    assert codes.count(4) > RECORDS // 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "schema_version 2, this program reads 1"),
        ({"task": "sing"}, "this program knows face and navigate"),
        ({"task": "face"}, "has no score_threshold"),
        ({"outputs": []}, "needs an output steer"),
        ({"input": None}, "has no name; copy the whole folder to the board again"),
    ],
)
def test_a_record_of_something_else_is_refused(
    deployed: dict[str, Deployed], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    board = deployed["navigate"]
    for other in board.folder.iterdir():
        (tmp_path / other.name).symlink_to(other)
    record = json.loads((board.folder / "model.json").read_text()) | change
    (tmp_path / "model.json").unlink()
    (tmp_path / "model.json").write_text(json.dumps(record))
    done = board.run("--model", tmp_path, "a.ppm")
    assert done.returncode == 4
    assert said in done.stderr.decode()


@pytest.mark.parametrize("machine", sorted(set(PLATFORMS) - {"armv7l"}))
@pytest.mark.parametrize("name", SHIPPED)
def test_it_runs_on_the_other_processors(
    deployed: dict[str, Deployed], frames: list[Image], machine: str, name: str
) -> None:
    """Where the cache has it: building it takes minutes more."""
    platform, board = PLATFORMS[machine], deployed[name]
    folder, before = cached_runner(platform), emulated(platform)
    if folder is None:
        pytest.skip(f"not built for {machine} yet; make test-runner builds it")
    if before is None:
        pytest.skip(f"{machine} is neither this machine nor emulated here")
    assert needed_glibc(folder / NAME) <= platform.glibc
    assert (folder / NAME).stat().st_size < MOST_BYTES
    feed = task_for(board.bundle.manifest).prepare(frames[0])
    command = [*before, str(folder / NAME), "--model", str(board.folder)]
    (found,) = run_program(command, board.bundle.manifest.outputs, [dict(feed)])
    with load(board.bundle, SessionOptions("cpu")) as session:
        for key, expected in session.run(feed).items():
            np.testing.assert_allclose(found[key], expected, atol=1e-4, rtol=0, err_msg=f"{name} {key}")


@pytest.mark.parametrize(("colour", "layout", "dtype"), [("RGB", "NCHW", "float32"), ("GREY", "NHWC", "uint8")])
def test_a_network_of_the_users_own(
    built: Path, before: tuple[str, ...], frames: list[Image], tmp_path: Path, colour: str, layout: str, dtype: str
) -> None:
    """A classifier without a task: fed as Python feeds it, and told of in the same words."""
    from onnx import helper, numpy_helper

    channels, height, width = (1 if colour == "GREY" else 3), 48, 64
    shape = (1, channels, height, width) if layout == "NCHW" else (1, height, width, channels)
    limits = (-1.0, 1.0) if dtype == "float32" else (0.0, 255.0)
    picture = TensorSpec("photo", shape, dtype, layout, colour, limits)
    weight = np.random.default_rng(3).standard_normal((7, channels, 3, 3)).astype(np.float32) / 20
    turn = [helper.make_node("Transpose", ["photo"], ["t"], perm=[0, 3, 1, 2])] if layout == "NHWC" else []
    nodes = [
        *turn,
        helper.make_node("Cast", ["t" if turn else "photo"], ["x"], to=1),
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["classes"]),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    outputs = [helper.make_tensor_value_info(name, 1, [1, 7]) for name in ("logits", "classes")]
    inputs, weights = [helper.make_tensor_value_info("photo", kind, shape)], [numpy_helper.from_array(weight, "w")]
    graph = helper.make_graph(nodes, "own", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    specs = tuple(TensorSpec(name, (1, 7), "float32") for name in ("classes", "logits"))  # not in the file's order
    manifest = Manifest("own", "", (picture,), specs)
    bundle = write_bundle(tmp_path / "own.bundle", manifest, {"model.onnx": model.SerializeToString()})
    task = task_for(manifest)
    feeds = [dict(task.prepare(image)) for image in frames]
    (target,) = check_targets(["jetson-tk1"], "fp32")
    folder = tmp_path / "board"
    folder.mkdir()
    record = make(Order(bundle, target, folder, feeds, Tolerance(atol=1e-4, rtol=0), print))
    assert record["max_abs"] < 1e-4
    board = Deployed(folder, bundle, dict(record), before)
    (line,) = board.lines(ppm(tmp_path / "a.ppm", frames[1]))
    expected, _ = expected_record(board, frames[1])
    assert {name: one["shape"] for name, one in expected.items()} == {"classes": [1, 7], "logits": [1, 7]}
    for name, one in expected.items():
        assert line["raw"][name]["shape"] == one["shape"]
        assert line["raw"][name]["mean"] == pytest.approx(one["mean"], abs=2e-5)
