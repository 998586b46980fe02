"""tegrastats as a child: a stand-in that prints lines in the forms of the boards' own."""

import threading
from pathlib import Path

import pytest

from helmsight.devices import tegrastats
from helmsight.devices.sensors import SensorSummary, Stat, sample_sensors
from helmsight.devices.tegrastats import rails_of

from .boards import TEGRA, ina3221, write

L4T = {"etc/nv_tegra_release": TEGRA.format(release="R32", revision="7.1", board="t210ref", abi="aarch64")}
PROC = {"proc/stat": "cpu  1000 0 500 9000 10 0 5 0 0 0\n", "proc/loadavg": "0.4 0.3 0.2 1/2 3\n"}
NANO = (
    "RAM 1409/3964MB (lfb 28x4MB) SWAP 0/1982MB (cached 0MB) IRAM 0/252kB(lfb 252kB) CPU [22%@518,67%@518,off,off] "
    "EMC_FREQ 0%@1600 GR3D_FREQ 0%@76 APE 25 PLL@28.5C CPU@32C PMIC@50C GPU@30.5C AO@39.5C thermal@31.25C "
    "POM_5V_IN 2003/2003 POM_5V_GPU 0/0 POM_5V_CPU 320/320"
)
AGX_XAVIER = (
    "RAM 721/31927MB (lfb 7291x4MB) SWAP 0/15963MB (cached 0MB) CPU [2%@1190,0%@1190,off,off] EMC_FREQ 0%@665 "
    "GR3D_FREQ 0%@318 APE 150 MTS fg 0% bg 0% AO@37.5C GPU@37.5C PMIC@100C AUX@36C CPU@37.5C Tboard@37C "
    "GPU 0/0 CPU 311/311 SOC 932/932 CV 0/0 VDDRQ 621/621 SYS5V 1482/1482"
)
ORIN = (
    "10-16-2023 10:59:22 RAM 1205/30623MB (lfb 6429x4MB) SWAP 0/15311MB (cached 0MB) CPU [0%@729,0%@729] EMC_FREQ "
    "0%@204 GR3D_FREQ 0%@[305,305] VIC off CV0@-256C cpu@43.5C tj@43.5C VDD_GPU_SOC 4788mW/4701mW VDD_CPU_CV "
    "798mW/798mW VIN_SYS_5V0 3842mW/3842mW NC 0mW/0mW VDDQ_VDD2_1V8AO 707mW/707mW NC 0mW/0mW"
)
R39 = "cpu@43.093C/43.093C VDD_GPU_SOC 2792mW/2792mW/2793mW VDD_CPU_CV 0mW/0mW/0mW VIN_SYS_5V0 3918mW/3952mW/4019mW"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (NANO, {"POM_5V_IN": 2.003, "POM_5V_GPU": 0, "POM_5V_CPU": 0.32}),
        (AGX_XAVIER, {"GPU": 0, "CPU": 0.311, "SOC": 0.932, "CV": 0, "VDDRQ": 0.621, "SYS5V": 1.482}),
        (ORIN, {"VDD_GPU_SOC": 4.788, "VDD_CPU_CV": 0.798, "VIN_SYS_5V0": 3.842, "VDDQ_VDD2_1V8AO": 0.707}),
        (R39, {"VDD_GPU_SOC": 2.792, "VDD_CPU_CV": 0, "VIN_SYS_5V0": 3.918}),
        ("VDD_GPU -392mW/-392mW", {"VDD_GPU": -0.392}),
        ("RAM 1446/1892MB (lfb 10x4MB) cpu [2%,0%,off,off]@204 EMC 14%@300", {}),
    ],
)
def test_a_line_of_each_kind_of_board(line: str, expected: dict[str, float]) -> None:
    assert rails_of(line) == expected


def sampled(root: Path, monkeypatch: pytest.MonkeyPatch, script: str, files: dict[str, str]) -> SensorSummary:
    program = root / "bin/tegrastats"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    write(root / "board", PROC | files)
    with sample_sensors(0.05, root / "board") as sensors:
        pass
    return sensors.summary()


def test_it_stands_in_for_rails_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = f'echo "$@" >{tmp_path}/asked; echo $$ >{tmp_path}/pid; while :; do echo "{NANO}"; sleep 0.05; done'
    readings = sampled(tmp_path, monkeypatch, script, L4T).readings
    power = readings["power_w.POM_5V_IN"]
    assert isinstance(power, Stat)
    assert power.mean == 2.003
    assert "power_w" not in readings
    assert (tmp_path / "asked").read_text() == "--interval 50\n"
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists(), "it ends with the sampling"
    assert "helmsight-tegrastats" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 1", "tells no power rail"),
        ("echo 'RAM 1/2MB'; sleep 60", "tells no power rail"),
        ("exec sleep 60", "said nothing in 0.2 s"),
    ],
)
def test_one_that_is_of_no_use_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str) -> None:
    monkeypatch.setattr(tegrastats, "FIRST_LINE_S", 0.2 if "exec" in script else 10)
    assert said in str(sampled(tmp_path, monkeypatch, script, L4T).readings["power_w"])


def test_it_is_started_only_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = L4T | ina3221(1, ("VDD_IN", 5000, 1000))
    readings = sampled(tmp_path, monkeypatch, f"touch {tmp_path}/started", files).readings
    assert isinstance(readings["power_w.VDD_IN"], Stat)
    assert not (tmp_path / "started").exists()


def test_a_jetson_without_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, PROC | L4T)
    monkeypatch.setenv("PATH", str(tmp_path))
    with sample_sensors(10, tmp_path) as sensors:
        pass
    assert "tegrastats is not here" in str(sensors.summary().readings["power_w"])
