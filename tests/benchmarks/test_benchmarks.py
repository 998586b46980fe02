"""The benchmarks run on a tiny input and write sane records. No figure of theirs is judged here."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from benchmarks import precision
from benchmarks.cable import Cable
from benchmarks.ending import whole
from benchmarks.harness import write_clip
from benchmarks.native_runner import compared
from benchmarks.soak import Watch

from helmsight.export.artefacts.ncnn import emulated
from helmsight.export.build import ExportOptions
from helmsight.export.native import PLATFORMS, cached_runner
from helmsight.runtime.bundle import Bundle, open_bundle, write_bundle
from helmsight.runtime.mapping.grid import OccupancyGrid
from helmsight.runtime.mapping.mapfile import save_map

from ..bundles import EMPTY_GRAPH
from ..sshd import make_board

ROOT = Path(__file__).parents[2]


def run(out: Path, name: str, *arguments: object) -> dict:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--out", str(out), *map(str, arguments)]
    # The first that exports draws the validation courses: some minutes on a busy machine.
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    record = json.loads((out / f"{name}.json").read_text())
    assert record["benchmark"] == name
    assert record["machine"]["cpu"]["usable_cores"] >= 1
    for goal in record["goals"]:
        actual, limit = goal["actual"], goal["limit"]
        assert goal["met"] is (actual >= limit if goal["at_least"] else actual <= limit)
        assert goal["figure"] in (out / f"{name}.md").read_text()
    return record


def test_pipeline(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    record = run(tmp_path, "pipeline", "--frames", 12, "--rounds", 2, "--peers", tmp_path / "none")
    names = ["hand-written loop", "loop with a reader thread", "helmsight"]
    names += ["hand-written loop, recording", "helmsight, recording"]
    assert [r["what"] for r in record["rows"]] == names
    assert all(r["frames/s"] > 0 and r["every frame"] for r in record["rows"])
    assert record["rows"][0]["ratio median"] == 1.0
    assert "streamvision was not installed" in record["notes"][-1]


@pytest.mark.qemu
@pytest.mark.slow
def test_native_runner(tmp_path: Path) -> None:
    platform = PLATFORMS["armv7l"]
    if cached_runner(platform) is None or emulated(platform) is None:
        pytest.skip("no built runner in the cache, or nothing to emulate its processor: make test-runner")
    if missing := [name for name in ("pnnx", "miniworld") if find_spec(name) is None]:
        pytest.skip(f"{', '.join(missing)} of the extras tk1 and sim is not here")
    arguments = ("--bundles", "navigate", "--targets", "jetson-tk1", "--pictures", 2)
    (row,) = run(tmp_path, "native_runner", *arguments)["rows"]
    assert (row["processor"], row["inputs"], row["lines"]) == ("armv7l", 2, 2)
    assert 0 < row["from ONNX Runtime"] < 1e-4
    assert 0 < row["from double precision"] < 1e-4
    assert row["equal"] <= row["equal but for the last digit"]


def test_lines_that_differ_are_not_counted_as_equal() -> None:
    right = {"score": [0.9], "xyxy": [[1.0, 2.0, 3.0, 4.0]]}
    near, far = right | {"score": [0.9001]}, right | {"xyxy": [[1.0, 2.0, 3.0, 4.3]]}
    more = {"score": [0.9, 0.8], "xyxy": [[1.0, 2.0, 3.0, 4.0]] * 2}
    expected = {"lines": 4, "equal": 1, "equal but for the last digit": 2, "faces": 4}
    assert compared([right] * 4, [right, near, far, more]) == expected


def test_precision_makes_anew_what_was_made_of_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def export(name: str, options: ExportOptions) -> Bundle:
        source = open_bundle(name)
        assert options.out
        made.append(options.out.name)
        provenance = {"source": {"manifest_sha256": source.manifest_sha256}}
        manifest = replace(source.manifest, provenance=provenance)
        return write_bundle(options.out, manifest, {"model.onnx": EMPTY_GRAPH})

    monkeypatch.setattr(precision, "export", export)
    network = open_bundle("face")
    names = [f"face-{index}.bundle" for index in (1, 2, 3)]
    for expected in (names, []):
        made.clear()
        precision.make(str(network.path), tmp_path)
        assert made == expected
    other = write_bundle(tmp_path / "other.bundle", network.manifest, {"model.onnx": EMPTY_GRAPH})
    made.clear()
    assert precision.make(str(other.path), tmp_path)["int8"].path == tmp_path / names[1]
    assert made == names


@pytest.mark.slow
def test_cpu_engines(tmp_path: Path) -> None:
    for package in ("onnxruntime", "openvino", "torch", "miniworld"):  # the last one cannot be imported without EGL
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    made = tmp_path / "made"
    made.mkdir()
    record = run(tmp_path, "cpu_engines", "--seconds", 0.2, "--frames", 4, "--bundles", "navigate", "--made", made)
    assert [(r["device"], r["asked for"]) for r in record["rows"]][:3] == [
        ("cpu", "fp32"), ("cpu", "int8"), ("openvino", "fp32"),
    ]  # fmt: skip
    # int8 is made with --repair: of the layers that stay in fp32 OpenVINO makes what the file says, ONNX Runtime int8.
    int8 = open_bundle(made / "navigate-int8.bundle").manifest.parity["cpu"]
    layers = int8["real"]["weighted_ops"]
    assert layers["int8"] > 9 * layers.get("fp32", 0)
    for row in record["rows"]:
        as_the_file = (row["device"], row["asked for"]) == ("openvino", "int8")
        assert row["computes in"] == (int8["precision"] if as_the_file else row["asked for"])
        assert row["times as fast"] > 0
    assert list(record["more"]) == ["Settings of ONNX Runtime, as --autotune measures them"]


def test_thread_pools(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    cores = len(os.sched_getaffinity(0))
    record = run(tmp_path, "thread_pools", "--seconds", 0.1, "--frames", 2, "--bundles", "navigate")
    ours = {row["situation"]: row["threads"] for row in record["rows"] if row["pool"] == "helmsight's"}
    assert ours == {"all cores": cores, "all cores, beside a busy process": cores, "held to one core": 1}
    assert all(row["p50 ms"] <= row["p99 ms"] <= row["max ms"] for row in record["rows"])
    assert len(record["goals"]) == 2


@pytest.mark.slow
def test_export_speed(tmp_path: Path) -> None:
    for package in ("torch", "miniworld"):  # the last one cannot be imported without EGL
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    record = run(tmp_path, "export_speed", "--rounds", 1, "--checkpoints", "--bundles", "navigate")
    (row,) = record["rows"]
    assert (row["source"], row["of"]) == ("navigate", "a bundle that ships")
    assert row["CPU s"] > 0
    assert record["goals"][0]["actual"] == row["median s"]


def test_priorities(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    record = run(tmp_path, "priorities", "--seconds", 1, "--rounds", 1, "--face-height", 240, "--others", 0)
    assert [(row["way"], row["phase"]) for row in record["rows"]][:3] == [
        ("as they come", "alone"), ("as they come", "others busy"), ("as they come", "alone again"),
    ]  # fmt: skip
    assert all(row["navigation/s"] > 0 and 0 <= row["navigation late %"] <= 100 for row in record["rows"])
    assert all(row["shed step"] == 0 for row in record["rows"][:3])


def test_profiler_overhead(navigate_bundle: Bundle, tmp_path: Path) -> None:
    arguments = ("--bundle", navigate_bundle.path, "--device", "fake", "--queries", 50, "--rounds", 3)
    rows = {r["what"]: r["median us"] for r in run(tmp_path, "profiler_overhead", *arguments)["rows"]}
    assert rows["bare loop"] > 0
    assert rows["says of itself"] >= rows["of that in a sample"] > 0


def test_layers(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (row,) = run(tmp_path, "layers", "--bundles", "navigate", "--rounds", 2, "--seconds", 0)["rows"]
    assert row["operations found / counted"] == 1
    assert row["with operations, without a module"] == 0
    assert row["without, ms"] > 0
    assert 0 < row["in layers, ms"] < row["with, ms"]


def test_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    board = make_board(tmp_path / "board", monkeypatch)
    board.install()
    try:
        arguments = ("--on", board.uri, "--bundle", "navigate", "--duration", 0.2, "--rounds", 1)
        rows = {r["what"]: r["median"] for r in run(tmp_path, "remote", *arguments)["rows"]}
    finally:
        board.stop()
    assert rows["p50 ms, here"] > 0
    assert rows["over SSH / here, p50 ms"] == pytest.approx(rows["p50 ms, over SSH"] / rows["p50 ms, here"])


def test_memory(face_bundle: Bundle, tmp_path: Path) -> None:
    record = run(tmp_path, "memory", "--bundles", face_bundle.path, "--device", "fake", "--frames", 12)
    assert [r["what"] for r in record["rows"]] == ["camera", "camera, recording"]
    # A Python process with numpy and OpenCV in it has tens of megabytes.
    assert all(10 < r["peak RSS MB"] < 10_000 for r in record["rows"])


@pytest.mark.slow
def test_ending(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    rows = run(tmp_path, "ending", "--rounds", 1)["rows"]
    assert [row["viewers"] for row in rows] == [0, 10] * 4
    assert all(row["end s, min"] > 0 and row["whole"] for row in rows)


def test_startup(tmp_path: Path) -> None:
    record = run(tmp_path, "startup", "--rounds", 2)
    assert record["rows"][0]["loads"] == "none"
    assert 0 < record["rows"][0]["min s"] < 60


def test_overhead(face_bundle: Bundle, tmp_path: Path) -> None:
    arguments = ("--bundle", face_bundle.path, "--device", "fake", "--seconds", 0.5, "--rounds", 2)
    rows = run(tmp_path, "overhead", *arguments)["rows"]
    assert [r["what"] for r in rows] == ["bare loop", "pipeline", "difference in a turn"]
    assert all(0 < r["CPU ms a frame"] < 1e3 for r in rows[:2])


def test_a_return_of_the_camera_after_which_nothing_came_counts() -> None:
    watch = Watch(1.0, 10)
    assert watch.back_s([1.0], 10.0) == [math.inf]
    watch._came_s[:3], watch.results = (0.5, 2.5, 2.6), 3
    assert watch.back_s([], 10.0) == []
    assert watch.back_s([0.0, 2.0, 2.6, 4.0, 9.0], 10.0) == [0.5, 0.5, math.inf, math.inf]


def test_what_an_end_left_behind_is_whole_or_not(tmp_path: Path) -> None:
    log, video, map_ = tmp_path / "log.jsonl", tmp_path / "out.mp4", tmp_path / "map.png"
    assert [whole(path) for path in (log, video, map_, tmp_path / "run")] == [False] * 4
    log.write_text("")
    assert not whole(log)
    log.write_text('{"frame": 1}\n')
    write_clip(video, 2)
    save_map(OccupancyGrid(), map_)
    assert [whole(path) for path in (log, video, map_)] == [True] * 3
    log.write_text('{"frame": 1}\n{"fra')
    video.write_bytes(video.read_bytes()[:100])
    map_.unlink()
    assert [whole(path) for path in (log, video, map_)] == [False] * 3


def test_a_cable_that_cannot_be_had_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def ip(*words: str) -> None:
        done.append(words[0])
        if words[0] == "addr":
            raise FileNotFoundError("ip addr: no")

    monkeypatch.setattr("benchmarks.cable._ip", ip)
    monkeypatch.setattr("benchmarks.cable.os.geteuid", lambda: 0)
    monkeypatch.setattr("benchmarks.cable.shutil.which", lambda _: "ip")
    monkeypatch.setattr(Cable, "_remove", lambda _: done.append("removed"))
    cable = Cable(1)
    monkeypatch.setattr(cable.server, "kill", lambda: done.append("killed"))
    with pytest.raises(FileNotFoundError, match="ip addr: no"):
        cable.__enter__()
    assert done == ["removed", "netns", "link", "addr", "killed", "removed"]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_the_soak_does_not_grow(navigate_bundle: Bundle, tmp_path: Path) -> None:
    """The real pipeline with a back end that costs nothing: a frame kept by mistake is a megabyte.

    A minute's frames in 24 s, in which the camera is lost four times, each way once or more.
    """
    arguments = ("--bundles", navigate_bundle.path, "--device", "fake", "--minutes", 0.4, "--fps", 90)
    record = run(tmp_path, "soak", *arguments, "--every", 6, "--away", 2)
    parts = record["rows"]
    back_s = record["goals"][-1]["actual"]
    assert (back_s or 0) > 0, "the camera was lost and came back"
    assert record["notes"][1].startswith("3 returns of the camera"), "the fourth is at the end"
    assert sum(part["results"] for part in parts) > 500
    assert parts[-1]["RSS MB"] - parts[2]["RSS MB"] < 8  # 1,200 frames of 0.9 MB went by meanwhile


def test_training_speed(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs the extra train")
    rows = run(tmp_path, "training_speed", "--rounds", 1)["rows"]
    assert [(row["precision"], row["threads"]) for row in rows] == [
        (precision, threads) for precision in ("float32", "mixed (bfloat16)") for threads in (1, 2)
    ]
    assert all(row["looks/s"] > 0 for row in rows)
