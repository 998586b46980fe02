"""Sensors of a board without Python: what its shell copies, and what is read out of it here."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from helmsight.runtime.profiler.conditions import Energy
from helmsight.runtime.profiler.sampled import END, LOG, SCRIPT, TIMES, script, sensors_during

from ...devices.boards import hwmon, ina3221x
from ...profiles import a_profile

ZONE = "sys/class/thermal/thermal_zone0"
ALERT = "sys/class/thermal/cooling_device1"


def copied(*snapshots: tuple[float, Mapping[str, str]]) -> bytes:
    """As `grep -sH .` prints files."""
    lines = []
    for uptime_s, files in snapshots:
        lines.append(f"/proc/uptime:{uptime_s:.2f} 4000.00")
        lines += [f"/{name}:{text.strip()}" for name, text in files.items()]
        lines.append(END)
    return "\n".join([*lines, "/proc/uptime:99"]).encode()


def nano(milliwatts: int, celsius: int, hot: int = 0) -> dict[str, str]:
    files = ina3221x("6-0040", ("POM_5V_IN", milliwatts), ("POM_5V_GPU", 0), ("POM_5V_CPU", 401))
    files |= {f"{ZONE}/type": "CPU-therm", f"{ZONE}/temp": str(celsius * 1000)}
    return files | {
        f"{ALERT}/type": "cpu-balanced",
        f"{ALERT}/cur_state": str(hot),
        "proc/loadavg": "0.4 0.3 0.2 1/2 3",
    }


def test_power_in_the_run_and_before_it() -> None:
    """Two copies before the program started, one while it warmed up, four in its last four seconds, one after it."""
    log = copied(
        (100.0, nano(2000, 30)),
        (101.0, nano(2200, 30)),
        (102.5, nano(9000, 31)),
        (104.0, nano(6000, 40)),
        (105.0, nano(7000, 41)),
        (106.0, nano(5000, 42, hot=1)),
        (107.5, nano(6000, 43)),
        (109.0, nano(1000, 30)),
    )
    sensors = json.loads(json.dumps(sensors_during(log, b"102.00 1\n107.50 2\n", 4.0)))
    assert [t for t, _ in sensors["samples"]["power_w.POM_5V_IN"]] == [0.5, 1.5, 2.5, 4.0]
    behind = sensors_during(log, b"102.00 1\n110.50 2\n", 4.0, 3.0)
    assert json.loads(json.dumps(behind)) == sensors, "with three seconds of layers behind it"
    assert sensors["readings"]["temperature_c.CPU-therm"]["maximum"] == 43
    assert "other_cores" not in sensors["readings"]
    one = a_profile(np.full(40, 100_000_000), sensors=sensors, duration_s=4.0)
    watts = (6 * 0.5 + 7 + 5 + 6 * 1.5) / 4
    assert one.energy == Energy("the module (POM_5V_IN)", watts, pytest.approx(watts * 100), pytest.approx(2.1))
    assert any("thermal_throttled in 25% of the readings" in warning for warning in one.warnings)


def test_a_file_that_went_is_missed_and_not_what_it_was() -> None:
    gone = {name: text for name, text in nano(2000, 30).items() if name != f"{ZONE}/temp"}
    sensors = sensors_during(copied((1.0, nano(2000, 50)), (2.0, gone), (3.0, nano(2000, 52))), b"0.5\n3.0\n", 2.5)
    reading = sensors["readings"]["temperature_c.CPU-therm"]
    assert (reading["n"], reading["missed"], reading["mean"]) == (2, 1, 51)


def test_over_current_is_counted_in_the_run_alone() -> None:
    counts = [hwmon(3, "soctherm_oc", oc1_event_cnt=str(count)) for count in (7, 9, 12)]
    sensors = sensors_during(copied(*zip((1.0, 2.0, 3.0), counts, strict=True)), b"0.5\n3.0\n", 1.5)
    assert sensors["readings"]["oc1_events"]["maximum"] == 3


@pytest.mark.parametrize(
    ("log", "times"),
    [(b"", b""), (b"x", b"1.0 2\n"), (b"no uptime\n" + END.encode() + b"\n", b"1\n2\n"), (b"\xff", b"a\nb\n")],
)
def test_what_cannot_be_read_is_not_available(log: bytes, times: bytes) -> None:
    sensors = sensors_during(log, times, 1.0)
    assert "cannot be read" in sensors["readings"]["all"]["not_available"]
    assert isinstance(a_profile(np.full(10, 1_000_000), sensors=sensors).energy, str)


def test_idle_lasted_from_the_first_copy_to_the_start() -> None:
    log = copied((100.0, nano(2000, 30)), (101.5, nano(9000, 31)), (103.0, nano(6000, 40)))
    assert sensors_during(log, b"100.25 1\n103.00 2\n", 2.0)["idle"]["duration_s"] == 0.25


@pytest.mark.parametrize(
    ("load", "times"),
    [("nan", b"0\n2\n"), ("1e999", b"0\n2\n"), ("0.5", b"inf\ninf\n"), ("0.5", b"nan\nnan\n")],
)
def test_nothing_that_is_no_number_is_kept(load: str, times: bytes) -> None:
    log = copied(*((at, nano(2000, 30) | {"proc/loadavg": f"{load} 1 1 1/1 1"}) for at in (1.0, 2.0)))
    json.dumps(sensors_during(log, times, 1.5), allow_nan=False)


def test_what_is_not_copied_is_not_said_to_be_missing_there() -> None:
    readings = sensors_during(copied((1.0, {"proc/loadavg": "0.5 1 1 1/1 1"})), b"0\n1.5\n", 1.0)["readings"]
    assert "RAPL is not read over SSH" in readings["power_w"]["not_available"]
    assert readings["cpu_throttle_events"]["not_available"] == "not read over SSH"


def test_a_run_too_short_says_so() -> None:
    sensors = sensors_during(copied((1.0, nano(1, 1))), b"5\n6\n", 1.0)
    assert "too short" in sensors["readings"]["all"]["not_available"]


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    outside = tmp_path / "evil"
    files = {f"sys/../../..{outside}": "1", "etc/evil": "1", "proc/loadavg": "0.5 1 1 1/1 1"}
    sensors = sensors_during(copied((1.0, files)), b"0\n1.5\n", 1.0)
    assert sensors["readings"]["load_1m"]["mean"] == 0.5
    assert not outside.exists()


@pytest.mark.parametrize("shell", [("sh",), ("bash",), ("busybox", "sh")])
def test_the_shell_copies_runs_and_ends(tmp_path: Path, shell: tuple[str, ...]) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not here")
    (tmp_path / SCRIPT).write_text(script("sh -c 'echo said; sleep 2.3; exit 7'"))
    done = subprocess.run([*shell, SCRIPT], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "said\n", "")
    sensors = sensors_during((tmp_path / LOG).read_bytes(), (tmp_path / TIMES).read_bytes(), 2.2)
    assert sensors["readings"]["load_1m"]["n"] >= 1
    size = (tmp_path / LOG).stat().st_size
    subprocess.run(["sleep", "1.2"], check=True)
    assert (tmp_path / LOG).stat().st_size == size, "what copies has ended too"
