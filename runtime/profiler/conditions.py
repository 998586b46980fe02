"""What the sensors of a record say of its run: power, energy a query, clocks, heat, and what held the clocks down."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...devices.nvidia import NvidiaGpu, gpu_in_use
from ...devices.power import PREFIX, Meter, gpus_of, meter
from ...devices.sensors import SensorSummary, Stat, sample_sensors
from ..backends import ON_CPU

IDLE_S = 2.0
IDLE_INTERVAL_S = 0.25
EVENTS = ("cpu_throttle_events", "oc1_events", "oc2_events", "oc3_events")
"""Counted since the run began; what they mean is said in docs/profile.md."""


@dataclass(frozen=True, slots=True)
class Energy:
    """What a run took: mean `watts`, and `query_mj`, the millijoules of the whole run over its queries.

    `of` says what of the machine that is. `idle_watts` is its mean before the warm-up, with everything loaded and
    nothing asked; None where it was not measured. Energy beyond it is what the queries themselves took.
    """

    of: str
    watts: float
    query_mj: float
    idle_watts: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_idle(seconds: float) -> dict[str, Any]:
    """Mean power of every sensor while nothing is asked, as the record keeps it; at once {} where none measures any."""
    with sample_sensors(IDLE_INTERVAL_S) as sensors:
        if any(PREFIX in name for name in sensors.names):
            time.sleep(seconds)
    return idle_of(sensors.summary())


def idle_of(said: SensorSummary) -> dict[str, Any]:
    """The sensors of power out of a time in which nothing was asked; {} where there are none."""
    readings = {name: asdict(r) for name, r in said.readings.items() if PREFIX in name and isinstance(r, Stat)}
    return {"duration_s": said.duration_s, "readings": readings} if readings else {}


def gpu_of_run(device: str, gpus: Sequence[NvidiaGpu]) -> dict[str, Any]:
    """Which of the machine's `gpus` a session's `device` is, as the record keeps it, or why not.

    {} on a processor, and where NVML lists none: a Jetson has one that it does not know.
    """
    if device in ON_CPU or not gpus:
        return {}
    found = gpu_in_use(gpus)
    return {"not_available": found} if isinstance(found, str) else asdict(found)


def without_other_gpus(sensors: Mapping[str, Any], gpu: Mapping[str, Any]) -> Mapping[str, Any]:
    """`sensors` without those of GPUs that are known not to have run it."""
    if "index" not in gpu:
        return sensors
    other = re.compile(rf"gpu(?!{gpu['index']}\.)\d+\.")
    kept = {
        part: {name: one for name, one in sensors[part].items() if not other.match(name)}
        for part in ("readings", "samples")
        if part in sensors
    }
    return {**sensors, **kept}


def energy(sensors: Mapping[str, Any], device: str, duration_s: float, queries: int) -> Energy | str:
    """Power and energy of a run of `duration_s` on a session's `device`, by its `sensors`; or why not."""
    readings = sensors.get("readings", {})
    said = {name for name, reading in readings.items() if "mean" in reading}
    on_gpu = device not in ON_CPU
    found = meter(said, on_gpu)
    if found is None:
        gpus = gpus_of(said) if on_gpu else ()
        several = f"{', '.join(gpus)} are measured, and which of these GPUs ran it is not known"
        return several if gpus else _why_none(readings, said)
    watts = sum(_mean_watts(sensors, name) for name in found.sensors)
    if watts <= 0:
        return f"the sensors of {found.of} say {watts:g} W"
    return Energy(found.of, watts, watts * duration_s / queries * 1e3, _idle_watts(sensors, found))


def throttling(sensors: Mapping[str, Any]) -> Iterator[str]:
    """What held the clocks down during the run, a few words each."""
    for name, reading in sensors.get("readings", {}).items():
        if name in EVENTS and reading.get("maximum", 0) > 0:
            yield f"{name} {reading['maximum']:.0f}"
        elif "throttled" in name and reading.get("mean", 0) > 0:
            yield f"{name} in {reading['mean']:.0%} of the readings"


def clocks_and_heat(sensors: Mapping[str, Any]) -> Iterator[str]:
    """The mean of every clock, and the hottest sensor: what a reader looks at first."""
    means = {name: reading for name, reading in sensors.get("readings", {}).items() if "mean" in reading}
    yield from (
        f"{name.removesuffix('_mhz')} {reading['mean']:.0f} MHz" for name, reading in means.items() if "mhz" in name
    )
    heat = {
        name: reading["maximum"] for name, reading in means.items() if "temperature_c" in name and "maximum" in reading
    }
    if heat:
        hottest = max(heat, key=heat.__getitem__)
        yield f"at most {heat[hottest]:.0f} C ({hottest.removeprefix('temperature_c.').removesuffix('.temperature_c')})"


def energy_in_words(took: Energy) -> str:
    """Such as `12.3 mJ: 5.3 W of the module (VDD_IN), 2.1 W idle`."""
    idle = "" if took.idle_watts is None else f", {took.idle_watts:.3g} W idle"
    return f"{took.query_mj:.3g} mJ: {took.watts:.3g} W of {took.of}{idle}"


def gpu_in_words(gpu: Mapping[str, Any]) -> str:
    """Such as `Tesla T4 (gpu1, 00000000:65:00.0)`, gpu1 being what its sensors are named by."""
    if "index" not in gpu:
        return f"not available: {gpu.get('not_available', 'the record does not tell')}"
    place = f", {gpu['pci']}" if gpu.get("pci") else ""
    return f"{gpu.get('name', 'unnamed')} (gpu{gpu['index']}{place})"


def _mean_watts(sensors: Mapping[str, Any], name: str) -> float:
    """Each reading stands for the time since the one before; some are means of that time, by a counter of energy."""
    series: Sequence[Sequence[float]] = sensors.get("samples", {}).get(name, ())
    if not series or series[-1][0] <= 0:
        return float(sensors["readings"][name]["mean"])
    begins = [0.0, *(t for t, _ in series)]
    return sum(watts * (end - begin) for begin, (end, watts) in zip(begins, series, strict=False)) / series[-1][0]


def _idle_watts(sensors: Mapping[str, Any], found: Meter) -> float | None:
    readings = sensors.get("idle", {}).get("readings", {})
    means = [readings.get(name, {}).get("mean") for name in found.sensors]
    return None if None in means else sum(means)


def _why_none(readings: Mapping[str, Any], said: set[str]) -> str:
    """In the words of the sensors that are not there; those that are may be of something else than the run was on."""
    other = sorted(name for name in said if PREFIX in name)
    reasons = [r["not_available"] for name, r in readings.items() if PREFIX in name and "not_available" in r]
    if not other and not reasons:
        return "no sensor of power was read"
    return reasons[0] if reasons else f"only {', '.join(other)} is measured, which is of something else"
