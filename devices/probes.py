"""The single sensors that `sensors.py` samples, each a function that reads one figure from the kernel or from NVML."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import jetson
from .reading import Probe, Rate, Since, number, text

CPU = "sys/devices/system/cpu"
MAX_CORES = 16
"""Clocks of more cores are not read: hundreds of files five times a second would disturb what is measured."""

# Reasons for which NVML holds the clocks down against what the GPU could do: nvmlClocksEventReason* in nvml.h.
THROTTLED = {
    "throttled_power": 0x04 | 0x80,  # its own power limit, the power brake of the machine
    "throttled_thermal": 0x20 | 0x40,  # by software, by hardware
    "throttled_hardware": 0x08,  # either of them, or another reason that is not told
}

FILES = (
    "proc/loadavg",
    f"{CPU}/cpu[0-9]*/cpufreq/scaling_cur_freq",
    "sys/class/thermal/thermal_zone*/type",
    "sys/class/thermal/thermal_zone*/temp",
    *jetson.FILES,
)
"""Patterns of all that `cpu_probes` reads below its root on an Arm board, but for the load of others."""

OFF_C = -200
"""Tegra tells -256 for a part that is switched off."""
PMIC = "PMIC-Die"
ROOT_ONLY = (
    "energy_uj is readable by root only, as in all kernels since 5.10 (CVE-2020-8694); run as root to measure it"
)


def cpu_probes(root: Path) -> dict[str, Probe | str]:
    """Probes of processor and board by name, or the reason why there is none. Units stand in the names."""
    clocks = [f for f in sorted(root.glob(f"{CPU}/cpu[0-9]*/cpufreq/scaling_cur_freq")) if os.access(f, os.R_OK)]
    clocks = clocks[:MAX_CORES]
    throttles = sorted(root.glob(f"{CPU}/cpu[0-9]*/thermal_throttle/core_throttle_count"))[:MAX_CORES]
    return {
        "cpu_mhz": (lambda: sum(map(number, clocks)) / len(clocks) / 1e3)
        if clocks
        else "the kernel shows no cpufreq (usual in a virtual machine)",
        "cpu_throttle_events": Since(throttles) if throttles else "the kernel counts none on this processor",
        "load_1m": lambda: float((root / "proc/loadavg").read_text().split()[0]),
        "other_cores": OtherCores(root),
        **jetson.clocks(root),
        **jetson.throttling(root),
        **_temperatures(root),
        **_power(root),
    }


def gpu_probes(lib: Any) -> dict[str, Probe | str]:
    """Probes of every GPU that NVML lists; `lib` is `pynvml`, initialised for as long as they are used."""
    readers: dict[str, Callable[[Any], float]] = {
        "sm_mhz": lambda g: lib.nvmlDeviceGetClockInfo(g, lib.NVML_CLOCK_SM),
        "temperature_c": lambda g: lib.nvmlDeviceGetTemperature(g, lib.NVML_TEMPERATURE_GPU),
        **{name: _held_down(lib, reasons) for name, reasons in THROTTLED.items()},
    }
    try:
        gpus = [lib.nvmlDeviceGetHandleByIndex(index) for index in range(lib.nvmlDeviceGetCount())]
    except lib.NVMLError as error:
        return {"gpu": f"NVML fails ({error})"}
    found = {f"gpu{i}.{name}": _tried(lib, reader, g) for i, g in enumerate(gpus) for name, reader in readers.items()}
    return found | {f"gpu{i}.power_w": _gpu_power(lib, g) for i, g in enumerate(gpus)}


class OtherCores:
    """CPU time over wall time that processes beside this one took since the last reading, in cores.

    From /proc/stat, time stolen by a hypervisor included; the kernel counts in ticks of about 10 ms, so a reading
    over a short time is coarse.
    """

    def __init__(self, root: Path) -> None:
        self._stat = root / "proc/stat"
        self._rate = Rate()

    def __call__(self) -> float | None:
        fields = [int(f) for f in self._stat.read_text().split("\n", 1)[0].split()[1:9]]
        busy_s = (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK") - time.process_time()
        rate = self._rate(busy_s)
        return None if rate is None else max(0.0, rate)


class RaplPower:
    """Mean watts since the last reading of an energy counter in microjoules, which starts anew past its range."""

    def __init__(self, domain: Path) -> None:
        self._domain = domain
        self._last_uj = self._wrapped_uj = 0.0
        self._rate = Rate()

    def __call__(self) -> float | None:
        energy_uj = number(self._domain / "energy_uj")
        if energy_uj < self._last_uj:
            self._wrapped_uj += number(self._domain / "max_energy_range_uj")
        self._last_uj = energy_uj
        return self._rate((energy_uj + self._wrapped_uj) / 1e6)


def _temperatures(root: Path) -> Mapping[str, Probe | str]:
    probes: dict[str, Probe | str] = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        name = f"temperature_c.{_name(zone / 'type')}"
        if name in probes:
            name += zone.name.removeprefix("thermal_zone")
        constant = text(zone / "type") == PMIC
        probes[name] = "it is a constant on Jetsons" if constant else _temperature(zone / "temp")
    return probes or {"temperature_c": "the kernel shows no thermal zone"}


def _power(root: Path) -> Mapping[str, Probe | str]:
    found = {**jetson.rails(root), **_rapl(root)}
    return found or {"power_w": "the kernel shows neither a power rail nor a RAPL energy counter"}


def _rapl(root: Path) -> Mapping[str, Probe | str]:
    probes: dict[str, Probe | str] = {}
    for domain in sorted(root.glob("sys/class/powercap/intel-rapl:*")):
        if domain.name.count(":") > 1:
            continue  # a part of a package, counted in it
        if os.access(domain / "energy_uj", os.R_OK):
            probes[f"power_w.{_name(domain / 'name')}"] = RaplPower(domain)
        else:
            probes[f"power_w.{_name(domain / 'name')}"] = ROOT_ONLY
    return probes


def _tried(lib: Any, reader: Callable[[Any], float], gpu: Any) -> Probe | str:
    """A probe out of an NVML call, or NVML's own words when the GPU does not have that sensor."""

    def probe() -> float:
        try:
            return float(reader(gpu))
        except lib.NVMLError as error:
            raise OSError(str(error)) from None

    try:
        probe()
    except OSError as error:
        return str(error)
    return probe


def _held_down(lib: Any, reasons: int) -> Callable[[Any], float]:
    return lambda gpu: bool(lib.nvmlDeviceGetCurrentClocksThrottleReasons(gpu) & reasons)


def _gpu_power(lib: Any, gpu: Any) -> Probe | str:
    """Mean watts by the energy counter (Volta and later), which misses nothing, else watts of now."""
    counter = _tried(lib, lambda g: lib.nvmlDeviceGetTotalEnergyConsumption(g) / 1e3, gpu)
    if isinstance(counter, str):
        return _tried(lib, lambda g: lib.nvmlDeviceGetPowerUsage(g) / 1e3, gpu)
    rate, joules = Rate(), counter
    return lambda: rate(joules() or 0.0)


def _temperature(file: Path) -> Probe:
    def probe() -> float:
        celsius = number(file) / 1e3
        if celsius < OFF_C:
            raise OSError("it is switched off")
        return celsius

    return probe


def _name(file: Path) -> str:
    return text(file) or file.parent.name
