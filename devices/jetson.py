"""What Jetson's kernels tell beside what any Linux does: power rails, the GPU's clock, what held clocks down, the mode.

File layouts: NVIDIA's Jetson Linux Developer Guide (Platform Power and Performance) of releases 32 to 36, and the
kernel's Documentation/hwmon/ina3221.rst and ina238.rst. Nothing here starts a program; `tegrastats.py` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .reading import Probe, Since, number, text

HWMON = "sys/class/hwmon/hwmon*"
FILES = (
    f"{HWMON}/name",
    f"{HWMON}/in[123]_label",
    f"{HWMON}/in[123]_input",
    f"{HWMON}/curr[123]_input",
    f"{HWMON}/power1_input",
    f"{HWMON}/oc*_event_cnt",
    "sys/bus/i2c/drivers/ina3221x/*/iio*device*/rail_name_*",
    "sys/bus/i2c/drivers/ina3221x/*/iio*device*/in_power*_input",
    "sys/class/devfreq/*/cur_freq",
    "sys/class/thermal/cooling_device*/type",
    "sys/class/thermal/cooling_device*/cur_state",
)
"""Patterns of what is read at each sample."""
GPU_NAME = re.compile(r"(.+\.)?(gpu|g[a-z]\d\d[a-z])(\.\d)?|gpu-gpc-0")
"""In /sys/class/devfreq: gk20a.0 (TK1), 57000000.gpu (TX1, Nano), 17000000.gp10b (TX2), .gv11b (Xavier), .ga10b and
.gpu (Orin), gpu-gpc-0 (Thor)."""


def rails(root: Path) -> dict[str, Probe | str]:
    """Watts of each power rail that is measured, `power_w.NAME`, or why it cannot be read; empty without a monitor."""
    return {f"power_w.{name}": probe for name, probe in (*_hwmon_rails(root), *_iio_rails(root))}


def clocks(root: Path) -> dict[str, Probe]:
    """The clock of the GPU that shares the CPU's memory; NVML does not tell it."""
    for gpu in sorted(root.glob("sys/class/devfreq/*")):
        if GPU_NAME.fullmatch(gpu.name) and (gpu / "cur_freq").exists():
            return {"gpu_mhz": _scaled(gpu / "cur_freq", 1e-6)}
    return {}


def throttling(root: Path) -> dict[str, Probe]:
    """Over-current events since the first reading (Orin: oc1 too low a voltage, oc2 too high a current on average, oc3
    for a moment), and `thermal_throttled`: 1 while heat holds a clock down."""
    found: dict[str, Probe] = {}
    for monitor in sorted(root.glob(HWMON)):
        if text(monitor / "name") == "soctherm_oc":
            for counter in sorted(monitor.glob("oc*_event_cnt")):
                found[counter.name.replace("_event_cnt", "_events")] = Since([counter])
    cooling = [d / "cur_state" for d in sorted(root.glob("sys/class/thermal/cooling_device*")) if _slows(d)]
    if cooling:
        found["thermal_throttled"] = lambda: float(any(number(state) > 0 for state in cooling))
    return found


def power_mode(root: Path) -> str | None:
    """nvpmodel's mode that is set, such as `MAXN (0)`, from its own two files; None where there is no such thing."""
    mode = re.search(r"pmode:\s*(\d+)", text(root / "var/lib/nvpmodel/status"))
    conf = text(root / "etc/nvpmodel.conf")
    # Before a mode was ever chosen there is no status, and the default holds.
    mode = mode or re.search(r"^\s*<\s*PM_CONFIG\s+DEFAULT=(\d+)", conf, re.MULTILINE)
    if mode is None:
        return None
    number_ = int(mode[1])
    name = re.search(rf"^\s*<\s*POWER_MODEL\s+ID={number_}\s+NAME=(\S+)", conf, re.MULTILINE)
    return f"{name[1]} ({number_})" if name else f"mode {number_}"


def _hwmon_rails(root: Path) -> Iterator[tuple[str, Probe | str]]:
    """JetPack 5 and later: an INA3221's labelled channels in millivolts and milliamperes, an INA238 in microwatts."""
    for monitor in sorted(root.glob(HWMON)):
        chip = text(monitor / "name")
        if chip == "ina238":  # on Thor's carrier board, at its input
            yield "VIN", _readable(monitor / "power1_input", _scaled(monitor / "power1_input", 1e-6))
        if chip != "ina3221":
            continue
        for label in sorted(monitor.glob("in[123]_label")):
            channel, name = label.name[2], text(label)
            volts, amperes = monitor / f"in{channel}_input", monitor / f"curr{channel}_input"
            if name not in ("", "NC") and amperes.exists():
                yield name, _readable(amperes, _product(volts, amperes))


def _iio_rails(root: Path) -> Iterator[tuple[str, Probe | str]]:
    """JetPack 3 and 4: the driver `ina3221x` has milliwatts. Two folders may lead to one device."""
    for label in sorted(root.glob("sys/bus/i2c/drivers/ina3221x/*/iio*device*/rail_name_*")):
        name, file = text(label), label.with_name(f"in_power{label.name[-1]}_input")
        if name not in ("", "NC") and file.exists():
            yield name, _readable(file, _scaled(file, 1e-3))


def _slows(device: Path) -> bool:
    """True for a cooling device that lowers clocks: no fan, and no alert about a surface."""
    return bool(re.search(r"throttle-alert|cpufreq|devfreq|balanced|^Processor$", text(device / "type")))


def _readable(file: Path, probe: Probe) -> Probe | str:
    try:
        file.read_text()
    except PermissionError:
        return f"{file.name} is readable by root only; run as root to measure it"
    except OSError:
        pass  # asleep now; it may answer later
    return probe


def _product(millivolts: Path, milliamperes: Path) -> Probe:
    return lambda: number(millivolts) * number(milliamperes) / 1e6


def _scaled(file: Path, scale: float) -> Probe:
    return lambda: number(file) * scale
