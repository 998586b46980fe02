"""Energy, heat and throttling out of a record's sensors, and how they are said."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helmsight.devices import nvidia
from helmsight.devices.sensors import Sensors
from helmsight.runtime.backends import SessionOptions
from helmsight.runtime.bundle import write_bundle
from helmsight.runtime.profiler import Limits, Profile, ProfileOptions, load_profiles, profile, save_profiles
from helmsight.runtime.profiler import conditions as module
from helmsight.runtime.profiler.compare import compare
from helmsight.runtime.profiler.conditions import Energy, clocks_and_heat, energy_in_words, measure_idle
from helmsight.runtime.profiler.report import entries_of
from helmsight.runtime.profiler.report.entry import sensor

from ...bundles import face_manifest
from ...devices.boards import ina3221, write
from ...devices.fake_nvml import FakeNvml
from ...profiles import a_profile

PROC = {"proc/stat": "cpu  1000 0 500 9000 10 0 5 0 0 0\n", "proc/loadavg": "0.4 0.3 0.2 1/2 3\n"}
VDD_IN = "power_w.VDD_IN"


def reading(mean: float, maximum: float | None = None) -> dict[str, float]:
    return {"n": 3, "minimum": 0.0, "mean": mean, "maximum": mean if maximum is None else maximum, "missed": 0}


def test_energy_is_the_time_each_reading_stands_for() -> None:
    samples = {VDD_IN: [[0.0, 99.0], [1.0, 4.0], [2.0, 6.0], [2.5, 10.0]]}
    sensors = {"readings": {VDD_IN: reading(29.75)}, "samples": samples, "idle": {"readings": {VDD_IN: reading(2.0)}}}
    found = a_profile(np.full(50, 1_000_000), sensors=sensors, duration_s=2.5).energy
    assert found == Energy("the module (VDD_IN)", 6.0, pytest.approx(300), 2.0)
    assert energy_in_words(found) == "300 mJ: 6 W of the module (VDD_IN), 2 W idle"


def test_a_counter_loses_nothing_of_its_first_interval() -> None:
    """Its first reading is the mean of the time before it."""
    sensors = {
        "readings": {"power_w.package-0": reading(15.0)},
        "samples": {"power_w.package-0": [[1.0, 20], [3.0, 10]]},
    }
    found = a_profile(np.full(10, 1_000_000), sensors=sensors, duration_s=3.0).energy
    assert isinstance(found, Energy)
    assert found.watts == pytest.approx(40 / 3)
    assert found.query_mj == pytest.approx(4000)
    assert found.idle_watts is None


@pytest.mark.parametrize(
    ("device", "names", "of", "watts"),
    [
        ("cpu", ("gpu0.power_w", "power_w.package-0", "power_w.package-1", "power_w.psys"), "the processor (RAPL)", 20),
        ("cuda", ("power_w.package-0", "gpu0.power_w"), "the GPU (gpu0.power_w)", 10),
        ("tensorrt", ("gpu0.power_w", "power_w.VDD_IN", "power_w.VDD_SOC"), "the module (VDD_IN)", 10),
    ],
)
def test_what_of_the_machine_is_measured(device: str, names: tuple[str, ...], of: str, watts: float) -> None:
    sensors = {"readings": {name: reading(10.0) for name in names}}
    found = a_profile(np.full(10, 1_000_000), device=device, sensors=sensors).energy
    assert isinstance(found, Energy)
    assert (found.of, found.watts) == (of, watts)


@pytest.mark.parametrize(
    ("device", "readings", "said"),
    [
        ("cpu", {}, "no sensor of power was read"),
        ("cpu", {"power_w": {"not_available": "the kernel shows none"}}, "the kernel shows none"),
        ("cpu", {"gpu0.power_w": reading(30)}, "only gpu0.power_w is measured, which is of something else"),
        (
            "cuda",
            {"power_w.package-0": reading(30), "gpu0.power_w": {"not_available": "Not Supported"}},
            "Not Supported",
        ),
        (
            "cuda",
            {"gpu0.power_w": reading(30), "gpu1.power_w": reading(60)},
            "gpu0.power_w, gpu1.power_w are measured, and which of these GPUs ran it is not known",
        ),
        ("cuda", {"power_w.POM_5V_IN": reading(0)}, "the sensors of the module (POM_5V_IN) say 0 W"),
        ("cpu", {"power_w.VDD_CPU_CV": reading(1)}, "only power_w.VDD_CPU_CV is measured, which is of something else"),
    ],
)
def test_what_is_not_measured_says_why_and_is_not_zero(device: str, readings: dict[str, Any], said: str) -> None:
    one = a_profile(np.full(10, 1_000_000), device=device, sensors={"readings": readings})
    assert one.energy == said
    assert one.to_json()["energy"] == {"not_available": said}


def two_gpus(**changes: Any) -> Profile:
    """As a machine with two GPUs has it; the second ran it."""
    readings = {
        "gpu0.power_w": reading(30),
        "gpu1.power_w": reading(60),
        "gpu0.sm_mhz": reading(300),
        "gpu1.sm_mhz": reading(1500),
        "gpu0.throttled_power": reading(1),
        "gpu10.sm_mhz": reading(9),
    }
    samples = {"gpu0.sm_mhz": [[0.0, 1800], [1.0, 1800]], "gpu1.sm_mhz": [[0.0, 1500], [1.0, 1500]]}
    gpu = {"index": 1, "name": "Tesla T4", "pci": "00000000:1B:00.0"}
    sensors = {"readings": readings, "samples": samples}
    return a_profile(np.full(10, 1_000_000), **{"device": "cuda", "sensors": sensors, "gpu": gpu, **changes})


def test_of_several_gpus_only_the_one_that_ran_it_counts() -> None:
    one = two_gpus()
    assert one.energy == Energy("the GPU (gpu1.power_w)", 60, 6000, None)
    assert list(clocks_and_heat(one.own_sensors)) == ["gpu1.sm 1500 MHz"]
    assert not any("throttled" in warning for warning in one.warnings), "the other one is"
    assert "gpu0.power_w" in one.to_json()["sensors"]["readings"], "the record keeps all"
    (entry,) = entries_of([one])
    assert sensor(entry, "mhz") == ("gpu1.sm_mhz", [[0.0, 1500], [1.0, 1500]])
    assert ("GPU", "Tesla T4 (gpu1, 00000000:1B:00.0)") in entry.made_by
    assert [name for name, _ in entry.made_by if name.startswith("gpu")] == ["gpu1.power_w", "gpu1.sm_mhz"]


def test_a_gpu_that_is_not_known_is_said() -> None:
    unknown = two_gpus(gpu={"not_available": "CUDA does not tell"})
    assert isinstance(unknown.energy, str)
    assert ("GPU", "not available: CUDA does not tell") in entries_of([unknown])[0].made_by
    assert two_gpus(gpu={}).energy == unknown.energy, "a record of an older version"


def test_another_model_of_gpu_is_unlike() -> None:
    one = two_gpus()
    other = replace(one, gpu={**one.gpu, "index": 0, "name": "Tesla V100"})
    assert compare(one, other).unlike == ("GPU: Tesla T4 against Tesla V100",)
    assert compare(one, replace(one, gpu={})).unlike == ()


def test_the_record_names_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lib = FakeNvml()
    lib.count = 2
    monkeypatch.setitem(sys.modules, "pynvml", lib)
    monkeypatch.setattr(nvidia, "_cuda_pci", lambda: "0000:1b:00.0")
    bundle = write_bundle(tmp_path / "f.bundle", face_manifest(), {"model.onnx": b"fake"})
    measured = profile(bundle, ProfileOptions(SessionOptions("fake"), Limits(0, 5)))
    save_profiles(tmp_path / "p.json", [measured])
    (again,) = load_profiles(tmp_path / "p.json")
    assert (again.gpu["index"], again.gpu["name"]) == (1, "Tesla V100-SXM2-16GB")
    assert isinstance(again.energy, Energy)
    assert (again.energy.of, round(again.energy.watts, 6)) == ("the GPU (gpu1.power_w)", 43.5)


def test_the_record_keeps_it_and_computes_it_anew(tmp_path: Path) -> None:
    sensors = {"readings": {VDD_IN: reading(5.0)}, "samples": {VDD_IN: [[0.5, 5.0]]}, "idle": {}}
    save_profiles(tmp_path / "p.json", [a_profile(np.full(10, 1_000_000), sensors=sensors)])
    stored = json.loads((tmp_path / "p.json").read_text())["profiles"][0]
    assert stored["energy"] == {
        "of": "the module (VDD_IN)", "watts": 5.0, "query_mj": 500.0, "idle_watts": None
    }  # fmt: skip
    (again,) = load_profiles(tmp_path / "p.json")
    assert again.energy == Energy("the module (VDD_IN)", 5.0, 500.0, None)


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        ({"oc3_events": reading(1, 3)}, "throttled: oc3_events 3; cool it"),
        ({"cpu_throttle_events": reading(1, 2)}, "cpu_throttle_events 2"),
        ({"thermal_throttled": reading(0.25, 1)}, "thermal_throttled in 25% of the readings"),
        ({"gpu0.throttled_power": reading(1, 1)}, "gpu0.throttled_power in 100% of the readings"),
    ],
)
def test_throttling_is_a_warning(readings: dict[str, Any], said: str) -> None:
    one = a_profile(np.full(10, 1_000_000), sensors={"readings": readings})
    assert [w for w in one.warnings if said in w]
    cool = {name: reading(0, 0) for name in readings}
    assert not [w for w in replace(one, sensors={"readings": cool}).warnings if "throttled" in w]


def test_clocks_and_the_hottest_sensor_are_said() -> None:
    readings = {"cpu_mhz": reading(1479), "gpu_mhz": reading(921.6), "temperature_c.GPU-therm": reading(40, 44)}
    readings |= {"temperature_c.CPU-therm": reading(45, 51.5), "gpu0.temperature_c": reading(50, 50)}
    said = list(clocks_and_heat({"readings": readings}))
    assert said == ["cpu 1479 MHz", "gpu 922 MHz", "at most 52 C (CPU-therm)"]
    assert list(clocks_and_heat({})) == []


def test_idle_power_is_measured_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(module, "sample_sensors", lambda interval_s: Sensors(interval_s, tmp_path))
    monkeypatch.setattr("time.sleep", slept.append)
    write(tmp_path, PROC)
    assert measure_idle(1.5) == {}
    assert slept == [], "where nothing is measured nothing is waited for"
    write(tmp_path, ina3221(1, ("VDD_IN", 5000, 400)))
    found = measure_idle(1.5)
    assert list(found["readings"]) == [VDD_IN]
    assert found["readings"][VDD_IN]["mean"] == 2.0
    assert slept == [1.5]


def test_energy_is_compared_where_both_have_it() -> None:
    of_rail = {"readings": {VDD_IN: reading(5.0)}}
    a = a_profile(np.full(10, 1_000_000), sensors=of_rail)
    b = replace(a, sensors={"readings": {VDD_IN: reading(4.0)}})
    assert "energy a query: 500 mJ against 400 mJ of the module (VDD_IN), B / A 0.800" in compare(a, b).notes
    other = replace(a, sensors={"readings": {"power_w.package-0": reading(4.0)}})
    assert any(
        "of the module (VDD_IN) against the processor (RAPL): unlike" in note for note in compare(a, other).notes
    )
    assert not any("energy" in note for note in compare(a, replace(a, sensors={})).notes)


def test_another_power_mode_of_one_board_is_unlike() -> None:
    a = a_profile(np.full(10, 1_000_000), machine={"cpu": {}, "board": "Nano", "power_mode": "MAXN (0)"})
    b = replace(a, machine={**a.machine, "power_mode": "5W (1)"})
    assert compare(a, b).unlike == ("power mode: MAXN (0) against 5W (1)",)
    assert compare(a, replace(b, machine={**b.machine, "board": "Orin"})).unlike == ()
