"""Jetson's own sensors, in trees laid out as the kernels of its boards show them."""

from pathlib import Path

import pytest

from helmsight.devices.here import here
from helmsight.devices.power import meter
from helmsight.devices.sensors import SensorSummary, Stat, sample_sensors

from .boards import NANO_CPUINFO, NVPMODEL, board, hwmon, ina3221, ina3221x, write

PROC = {"proc/stat": "cpu  1000 0 500 9000 10 0 5 0 0 0\n", "proc/loadavg": "0.4 0.3 0.2 1/2 3\n"}
ORIN_NANO = ina3221(1, ("VDD_IN", 4984, 1856), ("VDD_CPU_GPU_CV", 4984, 408), ("VDD_SOC", 4984, 320))
AGX_ORIN = {
    **ina3221(3, ("VDD_GPU_SOC", 14_560, 219), ("VDD_CPU_CV", 14_560, 27), ("VIN_SYS_5V0", 4968, 680)),
    **ina3221(4, ("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 4968, 140), ("NC", 0, 0)),
}
THOR = {
    **ina3221(1, ("VDD_GPU", 20_000, 100), ("VDD_CPU_SOC_MSS", 20_000, 300), ("VIN_SYS_5V0", 5000, 1300)),
    **hwmon(2, "ina238", power1_input="23000000", in1_input="20000", curr1_input="1150"),
}
NANO = ina3221x("6-0040", ("POM_5V_IN", 2532), ("POM_5V_GPU", 121), ("POM_5V_CPU", 401))
TX2 = {
    **ina3221x("0-0040", ("VDD_SYS_GPU", 152), ("VDD_SYS_SOC", 687), ("VDD_4V0_WIFI", 0)),
    **ina3221x("0-0041", ("VDD_IN", 3056), ("VDD_SYS_CPU", 152), ("VDD_SYS_DDR", 883)),
}
AGX_XAVIER = {
    **ina3221x("1-0040", ("GPU", 0), ("CPU", 311), ("SOC", 932)),
    **ina3221x("1-0041", ("CV", 0), ("VDDRQ", 621), ("SYS5V", 1482)),
}


def sampled(root: Path, files: dict[str, str]) -> SensorSummary:
    write(root, PROC | files)
    with sample_sensors(10, root) as sensors:
        pass
    return sensors.summary()


def mean(summary: SensorSummary, name: str) -> float:
    reading = summary.readings[name]
    assert isinstance(reading, Stat), reading
    return reading.mean


@pytest.mark.parametrize(
    ("files", "rails", "module", "watts"),
    [
        (NANO, 3, "POM_5V_IN", 2.532),
        (TX2, 6, "VDD_IN", 3.056),
        (AGX_XAVIER, 6, "GPU + CPU + SOC + CV + VDDRQ + SYS5V", 3.346),
        (ORIN_NANO, 3, "VDD_IN", 9.25),
        (AGX_ORIN, 4, "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0", 6.96),
        (THOR, 4, "VDD_GPU + VDD_CPU_SOC_MSS + VIN_SYS_5V0", 14.5),
    ],
)
def test_the_rails_of_a_board_and_what_they_add_up_to(
    tmp_path: Path, files: dict[str, str], rails: int, module: str, watts: float
) -> None:
    summary = sampled(tmp_path, files)
    named = [name for name in summary.readings if name.startswith("power_w")]
    assert len(named) == rails, "neither one that is not connected nor the sum of shunts"
    for on_gpu in (False, True):
        found = meter(named, on_gpu)
        assert found
        assert found.of == f"the module ({module})"
        assert sum(mean(summary, name) for name in found.sensors) == pytest.approx(watts, abs=0.005)


def test_a_rail_that_only_root_may_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, who runs these tests, may read all files."""
    read = Path.read_text

    def refused(file: Path) -> str:
        if file.name == "curr1_input":
            raise PermissionError(13, "Permission denied")
        return read(file)

    write(tmp_path, PROC | ORIN_NANO)
    monkeypatch.setattr(Path, "read_text", refused)
    with sample_sensors(10, tmp_path) as sensors:
        pass
    assert "readable by root only" in str(sensors.summary().readings["power_w.VDD_IN"])
    assert mean(sensors.summary(), "power_w.VDD_SOC") == pytest.approx(1.595, abs=0.001)


@pytest.mark.parametrize(
    "name", ["gk20a.0", "57000000.gpu", "17000000.gp10b", "17000000.gv11b", "17000000.ga10b", "gpu-gpc-0"]
)
def test_the_clock_of_the_gpu(tmp_path: Path, name: str) -> None:
    other = {"sys/class/devfreq/15480000.nvdec/cur_freq": "1\n", "sys/class/devfreq/nvpmodel/cur_freq": "1\n"}
    summary = sampled(tmp_path, {f"sys/class/devfreq/{name}/cur_freq": "921600000\n", **other})
    assert mean(summary, "gpu_mhz") == 921.6


def test_over_current_is_counted_from_the_start(tmp_path: Path) -> None:
    counters = {"oc1_event_cnt": "0", "oc2_event_cnt": "15", "oc3_event_cnt": "37"}
    write(tmp_path, PROC | hwmon(3, "soctherm_oc", **counters, oc3_throt_en="1"))
    with sample_sensors(10, tmp_path) as sensors:
        write(tmp_path, hwmon(3, "soctherm_oc", **counters | {"oc3_event_cnt": "40"}))
    found = {
        name: reading.maximum
        for name, reading in sensors.summary().readings.items()
        if name.startswith("oc") and isinstance(reading, Stat)
    }
    assert found == {"oc1_events": 0, "oc2_events": 0, "oc3_events": 3}


@pytest.mark.parametrize("kind", ["gpu-throttle-alert", "thermal-cpufreq-0", "cpu-balanced", "Processor"])
def test_heat_that_holds_a_clock_down(tmp_path: Path, kind: str) -> None:
    cooling = "sys/class/thermal/cooling_device"
    files = {f"{cooling}0/type": "pwm-fan\n", f"{cooling}0/cur_state": "3\n"}
    files |= {f"{cooling}1/type": f"{kind}\n", f"{cooling}1/cur_state": "0\n"}
    write(tmp_path, PROC | files)
    with sample_sensors(10, tmp_path) as sensors:
        assert sensors.newest()["thermal_throttled"] == 0, "a fan slows nothing"
        write(tmp_path, {f"{cooling}1/cur_state": "1\n"})
    assert mean(sensors.summary(), "thermal_throttled") == 0.5


def test_zones_that_do_not_measure(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone"
    files = {f"{zone}0/type": "PMIC-Die\n", f"{zone}0/temp": "100000\n"}
    files |= {f"{zone}1/type": "cv0-thermal\n", f"{zone}1/temp": "-256000\n"}
    files |= {f"{zone}2/type": "tj-thermal\n", f"{zone}2/temp": "48875\n"}
    readings = sampled(tmp_path, files).readings
    assert readings["temperature_c.PMIC-Die"] == "it is a constant on Jetsons"
    assert "switched off" in str(readings["temperature_c.cv0-thermal"])
    assert isinstance(readings["temperature_c.tj-thermal"], Stat)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("pmode:0001 fmode:fanNull\n", "MODE_15W_6CORE (1)"),
        ("pmode:0000\n", "MAXN (0)"),
        ("pmode:0007\n", "mode 7"),
        (None, "MAXN (0)"),
    ],
)
def test_the_power_mode(tmp_path: Path, status: str | None, expected: str) -> None:
    board(tmp_path, NANO_CPUINFO, 4059328, "NVIDIA Jetson Nano Developer Kit")
    assert here(tmp_path).power_mode is None
    write(tmp_path, {"etc/nvpmodel.conf": NVPMODEL} | ({"var/lib/nvpmodel/status": status} if status else {}))
    assert here(tmp_path).power_mode == expected


def test_the_governor_of_the_clock(tmp_path: Path) -> None:
    board(tmp_path, NANO_CPUINFO, 4059328, "NVIDIA Jetson Nano Developer Kit")
    assert here(tmp_path).governor is None
    write(tmp_path, {"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n"})
    assert here(tmp_path).governor == "schedutil"


def test_a_machine_that_is_no_jetson_says_nothing_of_one(tmp_path: Path) -> None:
    readings = sampled(tmp_path, {}).readings
    assert readings["power_w"] == "the kernel shows neither a power rail nor a RAPL energy counter"
    assert not [name for name in readings if name.startswith(("oc", "thermal_throttled", "gpu_mhz"))]
