import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helmsight.cli.main import app
from helmsight.devices.here import here
from helmsight.devices.nvidia import NvidiaGpu
from helmsight.runtime import doctor
from helmsight.runtime.doctor import Finding, Report, examine
from helmsight.runtime.extras import Extra, Package, advice, extras

from ..devices.boards import ORIN_CPUINFO, TEGRA, board, ina3221, write


def about(report: Report, subject: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.subject == subject]


def install(folder: Path, name: str, version: str) -> None:
    """The metadata that pip leaves of a package."""
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    write(folder, {f"{name.replace('-', '_')}-{version}.dist-info/METADATA": text})


def test_this_machine_runs_the_basic_commands() -> None:
    result = CliRunner(env={"NO_COLOR": "1"}).invoke(app, ["doctor"])
    assert result.exit_code == 0, result.stdout
    assert re.search(r"^back end cpu +ONNX Runtime [\d.]+, CPUExecutionProvider", result.stdout, re.MULTILINE)
    assert re.search(
        r"^OpenCV +OpenCV [\d.]+, window: \w+, FFmpeg: YES, GStreamer: (YES|NO)", result.stdout, re.MULTILINE
    )
    assert result.stdout.endswith("No problem found.\n")


def test_openvino_is_named_and_never_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, status in (("2026.4.1", "ok"), (None, "absent")):
        monkeypatch.setattr(doctor, "version", lambda name: found)  # noqa: B023
        finding = doctor._openvino()
        assert (finding.status, finding.exit_code) == (status, 0)
        assert (found or "helmsight[openvino]") in finding.detail + finding.fix


def test_run_out_of_its_folder_it_knows_no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", nothing)
    assert examine().extras == ()


def test_json_is_the_same_record() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    record = json.loads(result.stdout)
    assert record["exit_code"] == result.exit_code == 0
    assert record["here"]["cpu"]["usable_cores"] >= 1
    cpu = next(extra for extra in record["extras"] if extra["name"] == "cpu")
    assert [p["name"] for p in cpu["packages"]] == ["onnxruntime", "opencv-python"]
    assert cpu["missing"] == []


def test_heavy_packages_are_not_imported() -> None:
    code = (
        "import sys; from helmsight.runtime.doctor import examine; report = examine();"
        "print({'torch', 'onnx', 'miniworld', 'matplotlib', 'tensorrt'} & set(sys.modules), len(report.extras) > 3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set() True\n", done.stderr


def test_libraries_of_nvidia_are_found_without_loading_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        write(tmp_path, {f"{name}.py": "raise SystemExit('it was loaded')"})
    install(tmp_path, "tensorrt", "10.3.0")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor, "here", lambda root: replace(here(root), gpus=(), l4t=""))
    (found,) = about(examine(), "back end tensorrt")
    assert (found.status, found.detail.split(";")[0]) == ("absent", "TensorRT 10.3.0 is installed")
    monkeypatch.setattr(doctor, "here", lambda root: replace(here(root), l4t="36.4"))
    (found,) = about(examine(), "back end tensorrt")
    assert (found.status, found.fix) == ("ok", "helmsight verify BUNDLE --device tensorrt tries it")
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert [about(examine(), f"back end {name}")[0].status for name in doctor.ENGINES] == ["absent", "absent"]
    assert not examine().problems


def test_two_onnxruntimes_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "onnxruntime-gpu", "1.31.0")
    monkeypatch.syspath_prepend(tmp_path)
    report = examine()
    (clash,) = report.problems
    assert "onnxruntime and onnxruntime-gpu are both installed" in clash.detail
    assert clash.fix.startswith("pip uninstall onnxruntime onnxruntime-gpu")
    assert report.exit_code == 5


def test_the_command_ends_with_the_problem_and_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "onnxruntime-gpu", "1.31.0")
    monkeypatch.syspath_prepend(tmp_path)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 5
    assert result.stdout.splitlines()[-1].startswith("Problem: onnxruntime and onnxruntime-gpu")


def test_without_a_back_end_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(doctor, "version", lambda name: None)
    report = examine()
    (cpu,) = about(report, "back end cpu")
    assert (cpu.status, cpu.fix) == ("problem", "pip install 'helmsight[cpu]'")
    assert "onnxruntime is not installed" in cpu.detail
    assert report.exit_code == 3


def test_a_package_that_does_not_load_is_told_from_one_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    (opencv,) = about(examine(), "OpenCV")
    assert opencv.status == "problem"
    assert re.match(r"opencv-python [\d.]+ does not load \(.*cv2.*\): camera cannot run", opencv.detail)
    assert opencv.exit_code == 5


def test_an_extra_that_is_not_there_says_how_to_install_it() -> None:
    gpu = next(extra for extra in extras() if extra.name == "gpu")
    if not gpu.missing:
        pytest.skip("helmsight[gpu] is installed here")
    assert gpu.missing == ("onnxruntime-gpu",)
    assert gpu.install == "pip uninstall onnxruntime; pip install 'helmsight[gpu]'"


def test_the_extra_for_a_gpu_is_advised_where_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anywhere else it takes away the back end that runs."""
    card = NvidiaGpu(0, "a card", None, "8.6", "580.65")
    bare, with_card = (
        replace(here(), gpus=gpus, gpus_note="not available: no driver", l4t=None) for gpus in ((), (card,))
    )
    gpu = Extra("gpu", (Package("onnxruntime-gpu", ">=1.21", None),))
    assert advice(gpu, with_card) == gpu.install
    assert advice(gpu, bare) == f"only with an NVIDIA GPU: {gpu.install}"
    assert "pip" not in advice(gpu, replace(bare, l4t="R36.4"))
    sign = Extra("sign", (Package("model-signing", "", None),))
    assert advice(sign, bare) == sign.install == "pip install 'helmsight[sign]'"
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    (cuda,) = [found for found in doctor._onnxruntime(bare) if found.subject == "back end cuda"]
    assert (cuda.status, cuda.fix.startswith("only with an NVIDIA GPU: pip ")) == ("absent", True)
    monkeypatch.setattr(
        "onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider", "CUDAExecutionProvider"]
    )
    (cuda,) = [found for found in doctor._onnxruntime(with_card) if found.subject == "back end cuda"]
    assert (cuda.status, cuda.fix) == ("ok", "helmsight verify BUNDLE --device cuda tries it")
    (cuda,) = [found for found in doctor._onnxruntime(bare) if found.subject == "back end cuda"]
    assert cuda.status == "absent"
    assert cuda.detail.endswith("CUDAExecutionProvider is installed; a GPU for it is not available: no driver")


def test_cameras_are_listed_in_order_with_their_names(tmp_path: Path) -> None:
    root = board(tmp_path, ORIN_CPUINFO, 7802496)
    names = {f"sys/class/video4linux/video{i}/name": f"Camera {i}\n" for i in (0, 2, 10)}
    write(root, names | {f"dev/video{i}": "" for i in (0, 2, 10)})
    cameras = about(examine(root), "camera")
    assert [c.detail for c in cameras] == [f"/dev/video{i}: Camera {i}" for i in (0, 2, 10)]
    assert {c.status for c in cameras} == {"ok"}


def test_no_camera_is_no_problem(tmp_path: Path) -> None:
    (camera,) = about(examine(board(tmp_path, ORIN_CPUINFO, 7802496)), "camera")
    assert (camera.status, camera.exit_code) == ("absent", 0)


def test_on_a_jetson_pips_opencv_is_said_to_have_no_csi_camera(tmp_path: Path) -> None:
    l4t = TEGRA.format(release="R36", revision="4.3", board="generic", abi="aarch64")
    report = examine(board(tmp_path, ORIN_CPUINFO, 7802496, "NVIDIA Jetson Orin Nano Developer Kit", l4t))
    (opencv,) = about(report, "OpenCV")
    if "GStreamer: NO" not in opencv.detail:
        pytest.skip("this OpenCV has GStreamer")
    assert "JetPack's own OpenCV" in opencv.fix
    assert report.exit_code == 0


def test_a_simulator_without_egl_names_the_system_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    if not doctor.version("miniworld"):  # its import opens a display, so not importorskip
        pytest.skip("needs helmsight[sim]")
    monkeypatch.setattr(doctor, "_egl", lambda: "a library is missing (libEGL.so.1)")
    (simulator,) = about(examine(), "simulator")
    assert simulator.status == "absent"
    assert "libEGL.so.1" in simulator.detail
    assert "apt-get install libegl1" in simulator.fix


def test_sensors_and_of_what_energy_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    root = board(tmp_path, ORIN_CPUINFO, 7802496, "NVIDIA Jetson Orin Nano Developer Kit")
    (energy,) = about(examine(root), "energy a query")
    assert (energy.status, energy.exit_code) == ("absent", 0)
    write(root, ina3221(1, ("VDD_IN", 5000, 1000), ("VDD_SOC", 5000, 200)))
    report = examine(root)
    (sensors,), (energy,) = about(report, "sensors"), about(report, "energy a query")
    assert "power_w.VDD_IN 5, power_w.VDD_SOC 1" in sensors.detail
    assert (energy.status, energy.detail) == ("ok", "measured of the module (VDD_IN)")
    (clock,) = about(report, "sensor cpu_mhz")
    assert clock.status == "absent"
    assert "no cpufreq" in clock.detail
