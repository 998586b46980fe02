"""The profile command as a user runs it, on the fake back end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helmsight.runtime.bundle import Bundle, write_bundle
from helmsight.runtime.profiler import load_profiles

from ..bundles import open_face_manifest


def helmsight(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "helmsight", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


SHORT = ("--device", "fake", "--duration", "0", "--queries", "20")


def test_a_table_a_record_and_a_picture(
    face_bundle: Bundle, navigate_bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    record, picture = tmp_path / "p.json", tmp_path / "p.png"
    done = helmsight(
        "profile", face_bundle.path, navigate_bundle.path, "--stages", "--source", clip, *SHORT,
        "-o", record, "--plot", picture,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for part in ("face", "navigate", "prepare", "inference", "decode", "total", "p50", "p99", "tail not supported"):
        assert part in done.stdout
    assert "measuring face" in done.stderr
    assert [(p.bundle, p.samples.shape) for p in load_profiles(record)] == [("face", (20, 3)), ("navigate", (20, 3))]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_json_is_the_record(face_bundle: Bundle, tmp_path: Path) -> None:
    done = helmsight("profile", face_bundle.path, *SHORT, "--json")
    assert done.returncode == 0, done.stderr
    (tmp_path / "p.json").write_text(done.stdout)
    (found,) = load_profiles(tmp_path / "p.json")
    assert found.samples.shape == (20, 1)
    assert json.loads(done.stdout)["profiles"][0]["summary"][0]["n"] == 20


def test_the_scenario_says_what_came_of_its_queries(face_bundle: Bundle) -> None:
    done = helmsight("profile", face_bundle.path, *SHORT, "--scenario", "camera", "--rate", 200, "--deadline", 5000)
    assert done.returncode == 0, done.stderr
    assert "camera, 200 frames/s, deadline 5000 ms: 20 frames, " in done.stdout
    assert "wait" in done.stdout
    done = helmsight("profile", face_bundle.path, *SHORT, "--scenario", "offline", "--streams", 2)
    assert done.returncode == 0, done.stderr
    assert "face: offline, 2 streams: " in done.stdout
    assert "queries/s" in done.stdout


def test_the_size_that_is_asked_for_is_what_is_measured(navigate_bundle: Bundle, tmp_path: Path) -> None:
    face = write_bundle(tmp_path / "o.bundle", open_face_manifest(), {"model.onnx": b"not read by the fake back end"})
    done = helmsight("profile", face.path, navigate_bundle.path, *SHORT, "--imgsz", "640x480", "--json")
    assert done.returncode == 0, done.stderr
    shapes = [p["inputs"]["image"]["shape"] for p in json.loads(done.stdout)["profiles"]]
    assert shapes == [[1, 480, 640, 3], [1, 72, 96, 3]]
    alone = helmsight("profile", navigate_bundle.path, *SHORT, "--imgsz", "640x480")
    assert alone.returncode == 2
    assert "--imgsz 640x480: input image takes 1x72x96x3 and nothing else" in alone.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nowhere.bundle",), 4, "no bundle at nowhere.bundle"),
        (("{bundle}", "--device", "abacus"), 2, "abacus is unknown"),
        (("{bundle}", "--device", "fake", "--source", "none.mp4"), 6, "none.mp4"),
        (("{bundle}", "--device", "fake", "--source", "@none"), 2, "--source @none: no such file"),
        (("{bundle}", "--device", "fake", "-o", "no/folder/p.json"), 2, "there is no folder no/folder"),
        (("{bundle}", "--device", "fake", "--plot", "no/p.png"), 2, "there is no folder no"),
        (("{bundle}", "--device", "fake", "--plot", "p.xyz"), 2, "expected .png"),
        (("{bundle}", "--device", "cpu"), 4, "is no ONNX model"),
        (("{bundle}", "--scenario", "server"), 2, "--scenario server: expected one of single-stream, offline, camera"),
        (("{bundle}", "--duration", "inf"), 2, "--duration inf: expected seconds"),
        (("{bundle}", "-o", "/tmp"), 2, "--output /tmp: a folder; expected a file in it"),
        (("face", "--on", "t4", "--scenario", "camera"), 2, "leave out --scenario, or that --on"),
        (("face", "--on", "t4", "--scenario", "nonsense"), 2, "--scenario nonsense: expected one of"),
        (("face", "--on", "t4", "--threads", "2"), 2, "leave out --threads, or that --on"),
        (("{bundle}", "--rate", "30"), 2, "--rate is of --scenario camera, and single-stream is asked for"),
        (("{bundle}", "--scenario", "camera", "--streams", "2"), 2, "--streams is of --scenario offline"),
    ],
)
def test_bad_input_is_one_line_and_a_code(
    face_bundle: Bundle, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = helmsight("profile", *(a.format(bundle=face_bundle.path) for a in arguments))
    assert done.returncode == code, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_what_was_measured_is_kept_when_a_later_bundle_fails(
    face_bundle: Bundle, navigate_bundle: Bundle, tmp_path: Path
) -> None:
    record = tmp_path / "p.json"
    manifest = navigate_bundle.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"task": "navigate"', '"task": "cook"'))
    done = helmsight("profile", face_bundle.path, navigate_bundle.path, *SHORT, "-o", record)
    assert done.returncode == 2, done.stderr
    assert [p.bundle for p in load_profiles(record)] == ["face"]
    assert "face: fake, fp32" in done.stdout, "and printed"


def test_a_prediction_says_that_nothing_was_measured() -> None:
    done = helmsight("profile", "face", "navigate", "--on", "jetson-nano", "--on", "t4", "--json")
    said = json.loads(done.stdout)["predictions"]
    assert [(one["bundle"], one["device"], one["precision"]) for one in said[:3]] == [
        ("face", "jetson-nano", "fp32"), ("face", "jetson-nano", "fp16"), ("face", "t4", "fp32"),
    ]  # fmt: skip
    assert all(one["predicted"] and one["low_ms"] < one["ms"] < one["high_ms"] for one in said)
    assert helmsight("profile", "face", "--on", "orin-nano", "--json").stderr == (
        "helmsight: --on orin-nano is jetson-orin-nano-8g, Jetson Orin Nano 8GB\n"
    )
    table = helmsight("profile", "face", "--on", "jetson-nano").stdout
    assert "PREDICTED" in table
    assert "nothing was measured" in table


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--on", "jetson-nano", "--stages"), 2, "leave out --stages, or that --on"),
        (("--on", "jetson-tk1"), 5, "measure on the board"),
        (("--on", "jetson-nanu"), 2, "did you mean"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = helmsight("profile", "face", *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_comparison_takes_predicted_rows(face_bundle: Bundle, tmp_path: Path) -> None:
    record = tmp_path / "p.json"
    assert helmsight("profile", "face", "--duration", "0", "--queries", "20", "-o", record).returncode == 0
    done = helmsight("compare", record, "--on", "jetson-nano", "--on", "dgx-a100", "--json")
    rows = json.loads(done.stdout)["rows"]
    assert [row["result"] for row in rows] == ["measured", "predicted", "predicted"]


def test_layers_are_printed_kept_and_traced(tmp_path: Path) -> None:
    record, trace = tmp_path / "p.json", tmp_path / "t.json"
    done = helmsight("profile", "navigate", "--duration", "0", "--layers", "--trace", trace, "-o", record)
    assert done.returncode == 0, done.stderr
    for part in (
        "layers of navigate: the 10 slowest of",
        "stage4.body.3",
        "operations",
        "of the roofline",
        "costs time",
    ):
        assert part in done.stdout
    assert "in a run of its own" in done.stderr
    (found,) = load_profiles(record)
    assert found.layers is not None
    assert any(event["name"] == "stage4.body.3" for event in json.loads(trace.read_text())["traceEvents"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--layers", "--device", "fake"), "--device fake does not time its layers; expected cpu"),
        (("--trace", "no/folder/t.json"), "there is no folder no/folder"),
        (("--trace", "t.txt"), "--trace t.txt: the ending is '.txt'; expected .json"),
        (("--layers", "--on", "jetson-nano"), "leave out --layers, or that --on"),
    ],
)
def test_layers_that_cannot_be_had_are_one_line(arguments: tuple[str, ...], said: str) -> None:
    done = helmsight("profile", "navigate", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
