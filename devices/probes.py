"""The single sensors that `sensors.py` samples, each a function that reads one figure from the kernel or from NVML."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Probe = Callable[[], float | None]
"""Reads one figure. None: nothing to say yet, as with the first reading of a rate. Raises OSError or ValueError when
the kernel does not answer."""

CPU = "sys/devices/system/cpu"
MAX_CORES = 16
"""Clocks of more cores are not read: hundreds of files five times a second would disturb what is measured."""

# Reasons for which NVML holds the clocks down against what the GPU could do: nvmlClocksEventReason* in nvml.h.
THROTTLED = 0x04 | 0x08 | 0x20 | 0x40 | 0x80  # power cap, hardware, software thermal, hardware thermal, power brake

MIN_RATE_S = 0.05
"""A rate over a shorter time is the coarseness of its counter; such a reading is left out."""


def cpu_probes(root: Path) -> dict[str, Probe | str]:
    """Probes of processor and board by name, or the reason why there is none. Units stand in the names."""
    clocks = [f for f in sorted(root.glob(f"{CPU}/cpu[0-9]*/cpufreq/scaling_cur_freq")) if os.access(f, os.R_OK)]
    clocks = clocks[:MAX_CORES]
    throttles = sorted(root.glob(f"{CPU}/cpu[0-9]*/thermal_throttle/core_throttle_count"))[:MAX_CORES]
    return {
        "cpu_mhz": (lambda: sum(map(_number, clocks)) / len(clocks) / 1e3)
        if clocks
        else "the kernel shows no cpufreq (usual in a virtual machine)",
        "cpu_throttle_events": _Since(throttles) if throttles else "the kernel counts none on this processor",
        "load_1m": lambda: float((root / "proc/loadavg").read_text().split()[0]),
        "other_cores": OtherCores(root),
        **_temperatures(root),
        **_rapl(root),
    }


def gpu_probes(lib: Any) -> dict[str, Probe | str]:
    """Probes of every GPU that NVML lists; `lib` is `pynvml`, initialised for as long as they are used."""
    readers: dict[str, Callable[[Any], float]] = {
        "power_w": lambda g: lib.nvmlDeviceGetPowerUsage(g) / 1e3,
        "sm_mhz": lambda g: lib.nvmlDeviceGetClockInfo(g, lib.NVML_CLOCK_SM),
        "temperature_c": lambda g: lib.nvmlDeviceGetTemperature(g, lib.NVML_TEMPERATURE_GPU),
        "throttled": lambda g: bool(lib.nvmlDeviceGetCurrentClocksThrottleReasons(g) & THROTTLED),
    }
    try:
        gpus = [lib.nvmlDeviceGetHandleByIndex(index) for index in range(lib.nvmlDeviceGetCount())]
    except lib.NVMLError as error:
        return {"gpu": f"NVML fails ({error})"}
    return {f"gpu{i}.{name}": _tried(lib, reader, g) for i, g in enumerate(gpus) for name, reader in readers.items()}


class OtherCores:
    """CPU time over wall time that processes beside this one took since the last reading, in cores.

    From /proc/stat, time stolen by a hypervisor included; the kernel counts in ticks of about 10 ms, so a reading
    over a short time is coarse.
    """

    def __init__(self, root: Path) -> None:
        self._stat = root / "proc/stat"
        self._rate = _Rate()

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
        self._rate = _Rate()

    def __call__(self) -> float | None:
        energy_uj = _number(self._domain / "energy_uj")
        if energy_uj < self._last_uj:
            self._wrapped_uj += _number(self._domain / "max_energy_range_uj")
        self._last_uj = energy_uj
        return self._rate((energy_uj + self._wrapped_uj) / 1e6)


class _Rate:
    """The growth of a figure a second, since the reading before; None for the first and for one too soon."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def __call__(self, value: float) -> float | None:
        now, last = time.monotonic(), self._last
        if last is not None and now - last[0] < MIN_RATE_S:
            return None
        self._last = (now, value)
        return None if last is None else (value - last[1]) / (now - last[0])


class _Since:
    """How much the sum of some counters has grown since the first reading."""

    def __init__(self, counters: list[Path]) -> None:
        self._counters = counters
        self._first: float | None = None

    def __call__(self) -> float:
        total = sum(map(_number, self._counters))
        self._first = total if self._first is None else self._first
        return total - self._first


def _temperatures(root: Path) -> Mapping[str, Probe | str]:
    probes: dict[str, Probe | str] = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        name = f"temperature_c.{_name(zone / 'type')}"
        if name in probes:
            name += zone.name.removeprefix("thermal_zone")
        probes[name] = _file_probe(zone / "temp", 1e-3)
    return probes or {"temperature_c": "the kernel shows no thermal zone"}


def _rapl(root: Path) -> Mapping[str, Probe | str]:
    probes: dict[str, Probe | str] = {}
    for domain in sorted(root.glob("sys/class/powercap/intel-rapl:*")):
        if domain.name.count(":") > 1:
            continue  # a part of a package, counted in it
        if os.access(domain / "energy_uj", os.R_OK):
            probes[f"power_w.{_name(domain / 'name')}"] = RaplPower(domain)
        else:
            probes[f"power_w.{_name(domain / 'name')}"] = "energy_uj is readable by root only"
    return probes or {"power_w": "the kernel shows no RAPL energy counter"}


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


def _file_probe(file: Path, scale: float) -> Probe:
    return lambda: _number(file) * scale


def _number(file: Path) -> float:
    return float(file.read_text())


def _name(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return file.parent.name
