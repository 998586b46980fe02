import json
import os
import threading
import time
from pathlib import Path

import pytest

from helmsight.devices.errors import UsageError
from helmsight.devices.sensors import SensorSummary, Stat, sample_sensors

from .boards import write

TICKS = "cpu  1000 0 500 9000 10 0 5 0 0 0\ncpu0 1000 0 500 9000 10 0 5 0 0 0\n"

BOARD = {
    "proc/stat": TICKS,
    "proc/loadavg": "0.42 0.30 0.20 2/345 6789\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1000000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "2000000\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "7\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "51500\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "48000\n",
    "sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "900000\n",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "1000000\n",
    "sys/class/powercap/intel-rapl:0:0/name": "core\n",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": "1\n",
}


def stat(summary: SensorSummary, name: str) -> Stat:
    reading = summary.readings[name]
    assert isinstance(reading, Stat), reading
    return reading


def test_a_board_with_sensors(tmp_path: Path) -> None:
    write(tmp_path, BOARD)
    with sample_sensors(0.01, tmp_path) as sensors:
        time.sleep(0.08)
        write(tmp_path, {"sys/class/thermal/thermal_zone0/temp": "60000\n"})
        time.sleep(0.03)
    summary = sensors.summary()
    assert stat(summary, "cpu_mhz").mean == 1500
    assert stat(summary, "load_1m").maximum == 0.42
    zone = stat(summary, "temperature_c.cpu-thermal")
    assert (zone.minimum, zone.maximum) == (51.5, 60.0)
    assert zone.n >= 3
    assert stat(summary, "temperature_c.gpu-thermal").mean == 48
    series = sensors.series()["temperature_c.cpu-thermal"]
    assert len(series) == zone.n
    assert (series[0][1], series[-1][1]) == (51.5, 60.0)
    assert [t for t, _ in series] == sorted(t for t, _ in series)
    assert 0 <= series[0][0] <= series[-1][0] <= summary.duration_s + 0.1
    assert "power_w.core" not in summary.readings, "a part of the package would be counted twice"
    assert 0.1 <= summary.duration_s < 5


def test_throttling_is_counted_from_the_start(tmp_path: Path) -> None:
    write(tmp_path, BOARD)
    with sample_sensors(10, tmp_path) as sensors:
        write(tmp_path, {"sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "9\n"})
    assert stat(sensors.summary(), "cpu_throttle_events").maximum == 2


def test_power_is_energy_over_time_also_past_the_counters_range(tmp_path: Path) -> None:
    write(tmp_path, BOARD)
    begin = time.monotonic()
    with sample_sensors(10, tmp_path) as sensors:
        time.sleep(0.1)
        write(tmp_path, {"sys/class/powercap/intel-rapl:0/energy_uj": "100000\n"})
    wall = time.monotonic() - begin
    power = stat(sensors.summary(), "power_w.package-0")
    assert power.n == 1
    assert 0.2 / wall * 0.9 <= power.mean <= 0.2 / 0.1, "0.9 J to 1.0 J, then to 0.1 J: 0.2 J"


def test_a_counter_that_only_root_may_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel has it since 5.10; root, who runs these tests, may read all files."""
    write(tmp_path, BOARD)
    counter = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    readable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != counter and readable(path, mode))
    with sample_sensors(10, tmp_path) as sensors:
        pass
    reading = sensors.summary().readings["power_w.package-0"]
    assert isinstance(reading, str)
    assert "readable by root only" in reading
    assert "run as root" in reading


def test_what_is_absent_says_so_and_is_not_zero(tmp_path: Path) -> None:
    write(tmp_path, {name: text for name, text in BOARD.items() if name.startswith("proc/")})
    with sample_sensors(0.01, tmp_path) as sensors:
        pass
    record = json.loads(json.dumps(sensors.summary().to_json()))["readings"]
    for name in ("cpu_mhz", "temperature_c", "power_w", "cpu_throttle_events"):
        assert list(record[name]) == ["not_available"], name
        assert "kernel" in record[name]["not_available"]


def test_a_sensor_that_stops_answering_is_missed_not_zero(tmp_path: Path) -> None:
    write(tmp_path, BOARD)
    zone = tmp_path / "sys/class/thermal/thermal_zone0/temp"
    with sample_sensors(10, tmp_path) as sensors:
        zone.unlink()
    reading = stat(sensors.summary(), "temperature_c.cpu-thermal")
    assert (reading.n, reading.missed, reading.minimum) == (1, 1, 51.5)


def test_a_sensor_that_never_answers_says_why(tmp_path: Path) -> None:
    write(tmp_path, BOARD | {"sys/class/thermal/thermal_zone0/temp": "\n"})
    with sample_sensors(10, tmp_path) as sensors:
        pass
    reading = sensors.summary().readings["temperature_c.cpu-thermal"]
    assert isinstance(reading, str)
    assert reading.startswith("it does not answer")


def test_the_load_of_others_is_in_cores(tmp_path: Path) -> None:
    """1.0 s more of busy time within the measured wall time; this process's own part is taken off."""
    write(tmp_path, BOARD)
    begin = time.monotonic()
    with sample_sensors(10, tmp_path) as sensors:
        time.sleep(0.2)
        write(tmp_path, {"proc/stat": TICKS.replace("cpu  1000", "cpu  1100")})
    wall = time.monotonic() - begin
    assert 0.5 / wall <= stat(sensors.summary(), "other_cores").mean <= 1.0 / 0.2


def test_this_process_is_not_among_the_others(tmp_path: Path) -> None:
    write(tmp_path, BOARD)
    with sample_sensors(10, tmp_path) as sensors:
        begin = time.process_time()
        while time.process_time() - begin < 0.2:
            pass
        write(tmp_path, {"proc/stat": TICKS.replace("cpu  1000", "cpu  1020")})
    assert stat(sensors.summary(), "other_cores").maximum < 0.1


def test_the_thread_ends_with_the_block_also_when_it_fails() -> None:
    with pytest.raises(ZeroDivisionError), sample_sensors(0.01):
        raise ZeroDivisionError
    assert "helmsight-sensors" not in [thread.name for thread in threading.enumerate()]


def test_a_summary_may_be_taken_while_it_samples() -> None:
    with sample_sensors(0.01) as sensors:
        time.sleep(0.05)
        early = sensors.summary()
    assert stat(early, "load_1m").n >= 1
    assert sensors.summary().duration_s >= early.duration_s


@pytest.mark.parametrize("interval", [0.0, -1.0, float("nan")])
def test_an_interval_that_cannot_be_meant_is_refused(interval: float) -> None:
    with pytest.raises(UsageError, match="expected more than 0"):
        sample_sensors(interval)
