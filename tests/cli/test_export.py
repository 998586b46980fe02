"""The export command as a user runs it: what goes where, and with which exit code."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="export needs the train extra")

NETS = Path(__file__).parents[1] / "export" / "nets.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(NETS, tmp_path / "nets.py")
    return tmp_path


def helmsight(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "helmsight", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_a_network_of_the_users_own_is_exported_inspected_and_verified(folder: Path) -> None:
    own = "nets:build", "--input", "1x3x16x16", "--task", "generic"
    done = helmsight(folder, "export", *own, "-t", "cpu", "-t", "jetson-nano/trtexec", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["path"] == "nets.bundle"
    assert record["parity"]["cpu"]["precision"] == "fp32"
    lines = done.stderr.splitlines()
    begins = [line.split()[0] for line in lines]
    steps = ["reading", "helmsight:", "32", "WARNING:", "converting", "comparing", "making", "writing", "for"]
    assert begins == steps
    folder_and_command = "copy nets.bundle/targets/jetson-nano there, whole, and in it run sh trtexec.sh"
    assert lines[-1] == f"for jetson-nano: {folder_and_command}"
    assert lines[1].endswith("the weights are those that nets:build gives itself, random ones unless it loads some")

    seen = helmsight(folder, "inspect", "nets.bundle", "--json")
    assert json.loads(seen.stdout) == record
    run = helmsight(folder, "verify", "nets.bundle")
    assert run.returncode == 0
    assert run.stdout.startswith("nets: 5 files as the manifest says, runs on cpu in fp32")


def test_verbose_shows_what_torch_says(folder: Path) -> None:
    done = helmsight(folder, "export", "nets:Flow", "--input", "1x3x16x16", "-v")
    assert done.returncode == 4
    assert "Traceback" in done.stderr
    assert not list(folder.glob("*.log"))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "export what? expected SOURCE"),
        (("nets:build",), 2, "nets:build says nothing about its input; add --input"),
        (("nets:build", "--input", "1x4x16x16"), 2, "the network does not take input float32 1x4x16x16"),
        (("nets:build", "--input", "1x3x16x16", "--weights", "cut.safetensors"), 4, "cannot be read as a state dict"),
        (("cut.onnx",), 4, "cut.onnx is no ONNX model or is cut off"),
        (("nets:build", "--input", "1x3x16x16", "--precision", "int8"), 2, "expected --calibration DIR"),
        (("nets:build", "--input", "1x3x16x16", "--precision", "fp8"), 2, "expected one of fp32, fp16, bf16, int8"),
        (("nets:build", "--input", "1x3x16x16", "--repair"), 2, "of fp32 or bf16 has no others"),
        (
            ("nets:build", "--input", "1x3x16x16", "-t", "jetson-nano", "--precision", "int8"),
            5,
            "no instructions for int8",
        ),
        (("nets:build", "--input", "1x3x16x16", "--max-drop", "1"), 2, "expected a percentage"),
        (
            ("nets:build", "--input", "1x3x16x16", "--task", "face"),
            2,
            "--task face: the task of nets is generic, since only what helmsight trained is decoded; use --task gen",
        ),
        (("nets:NotFinite", "--input", "1x3x16x16"), 1, "values that are not finite"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(
    folder: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    (folder / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    (folder / "cut.onnx").write_bytes(b"\x08\x0a\x12")
    done = helmsight(folder, "export", *arguments)
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("helmsight: ")
    assert message in last
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(folder.glob("*.bundle"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_export_that_is_stopped_leaves_nothing(folder: Path, number: signal.Signals, code: int) -> None:
    scratch = folder / "tmp"
    scratch.mkdir()
    command = [sys.executable, "-m", "helmsight", "export", "nets:build", "--input", "1x3x16x16", "-t", "cpu"]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("converting"):
                assert list(scratch.glob("helmsight-*"))
                process.send_signal(number)
        assert process.wait(timeout=120) == code
    assert not list(scratch.glob("helmsight-*"))
    assert not list(folder.glob("*.bundle*"))


def test_the_table_of_targets(folder: Path) -> None:
    done = helmsight(folder, "export", "--list-targets", "--json")
    table = {one["name"]: one for one in json.loads(done.stdout)}
    assert table["cpu"]["state"] == "works"
    assert list(table["jetson-tk1"]["precisions"]) == ["fp32"]
    assert set(table["jetson-tk1"]["refused"]) == {"fp16", "bf16", "int8"}
    assert table["jetson-nano"]["opset"] == 13
    assert "jetson-tk1" in helmsight(folder, "export", "--list-targets").stdout
