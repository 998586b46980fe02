"""Clocks, temperatures, power and the load of others, sampled by a thread while something else is measured.

A sensor that is absent or does not answer says so and why; it is never zero.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import UsageError
from .nvidia import NvmlAbsent, nvml
from .probes import cpu_probes, gpu_probes
from .reading import Probe
from .tegrastats import tegrastats

TEGRA = "etc/nv_tegra_release"
LARGEST = 1e15
"""In size, of what a sensor can mean: an energy counter of a year has 1e13 microjoules."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What one sensor said: how many samples `n`, in the unit of the sensor's name. `missed` readings failed."""

    n: int
    minimum: float
    mean: float
    maximum: float
    missed: int = 0


@dataclass(frozen=True, slots=True)
class SensorSummary:
    """What the sensors said from start to stop (or until now); a str is the reason why one is not available."""

    duration_s: float
    interval_s: float
    readings: Mapping[str, Stat | str]

    def to_json(self) -> dict[str, Any]:
        readings = {
            name: asdict(reading) if isinstance(reading, Stat) else {"not_available": reading}
            for name, reading in self.readings.items()
        }
        return {"duration_s": self.duration_s, "interval_s": self.interval_s, "readings": readings}


class SampleLog:
    """What probes said, and when. One thread may sample while others read.

    `probes` has a str, why there is none, in place of a sensor that is absent. `kept` bounds the samples of each.
    """

    def __init__(self, probes: Mapping[str, Probe | str], kept: int | None = None) -> None:
        self._probes = {name: probe for name, probe in probes.items() if not isinstance(probe, str)}
        self._absent = {name: reason for name, reason in probes.items() if isinstance(reason, str)}
        self._samples: dict[str, deque[tuple[float, float]]] = {n: deque(maxlen=kept) for n in self._probes}
        self._missed: dict[str, deque[str]] = {n: deque(maxlen=kept) for n in self._probes}
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The sensors that are there."""
        return tuple(self._probes)

    def sample(self, clock: Callable[[], float]) -> None:
        """Read every sensor once; `clock` tells the seconds since the log began."""
        for name, probe in self._probes.items():
            try:
                value = probe()
                if value is not None and not abs(value) < LARGEST:  # NaN is not less either
                    raise ValueError(f"{value} is no reading")
            except (OSError, ValueError, IndexError) as error:
                with self._lock:
                    self._missed[name].append(str(error))
                continue
            if value is not None:
                with self._lock:
                    self._samples[name].append((round(clock(), 3), round(value, 3)))

    def summary(self, duration_s: float, interval_s: float) -> SensorSummary:
        """Figures of every sensor so far."""
        with self._lock:
            readings = {name: self._reading(name) for name in self._probes}
        return SensorSummary(round(duration_s, 3), interval_s, {**readings, **self._absent})

    def newest(self) -> dict[str, float]:
        """The last figure of each sensor that has answered."""
        with self._lock:
            return {name: samples[-1][1] for name, samples in self._samples.items() if samples}

    def series(self) -> dict[str, list[tuple[float, float]]]:
        """What every sensor said so far: (seconds from the start, value in the unit of the sensor's name), in order."""
        with self._lock:
            return {name: list(samples) for name, samples in self._samples.items() if samples}

    def _reading(self, name: str) -> Stat | str:
        samples, missed = [value for _, value in self._samples[name]], self._missed[name]
        if not samples:
            return f"it does not answer ({missed[-1]})" if missed else "too short a time for this sensor"
        low, mean, high = (round(v, 3) for v in (min(samples), sum(samples) / len(samples), max(samples)))
        return Stat(len(samples), low, mean, high, len(missed))


class Sensors:
    """Samples from `with` to its end. `summary` and `newest` may be called inside and after.

    `kept` bounds the samples of each sensor, for what runs for days: the figures are then those of the newest ones.
    """

    def __init__(self, interval_s: float, root: Path = Path("/"), kept: int | None = None) -> None:
        if not interval_s > 0:
            raise UsageError(f"interval_s is {interval_s}; expected more than 0 seconds")
        self.interval_s = interval_s
        self._root = root
        self._kept = kept
        self._log = SampleLog({})
        self._resources = ExitStack()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="helmsight-sensors", daemon=True)
        self._begin = self._end = 0.0

    def __enter__(self) -> Sensors:
        with ExitStack() as opening:
            self._log = SampleLog(self._find(opening), self._kept)
            self._resources = opening.pop_all()
        self._begin = time.monotonic()
        self._log.sample(self._since_begin)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._log.sample(self._since_begin)
        self._end = time.monotonic()
        self._resources.close()

    def summary(self) -> SensorSummary:
        """Figures of every sensor so far."""
        return self._log.summary((self._end or time.monotonic()) - self._begin, self.interval_s)

    def newest(self) -> dict[str, float]:
        """The last figure of each sensor that has answered."""
        return self._log.newest()

    def series(self) -> dict[str, list[tuple[float, float]]]:
        """What every sensor said so far: (seconds from the start, value in the unit of the sensor's name), in order."""
        return self._log.series()

    @property
    def names(self) -> tuple[str, ...]:
        """The sensors that are read; inside `with` or after it."""
        return self._log.names

    def _find(self, opening: ExitStack) -> dict[str, Probe | str]:
        probes = cpu_probes(self._root)
        if (self._root / TEGRA).exists() and not any(callable(p) for n, p in probes.items() if n.startswith("power_w")):
            probes = {n: p for n, p in probes.items() if n != "power_w"}
            probes |= opening.enter_context(tegrastats(self.interval_s))
        try:
            return probes | gpu_probes(opening.enter_context(nvml()))
        except NvmlAbsent as reason:
            return probes | {"gpu": str(reason)}

    def _since_begin(self) -> float:
        return time.monotonic() - self._begin

    def _loop(self) -> None:
        while not self._stop.wait(self.interval_s):
            self._log.sample(self._since_begin)


def sample_sensors(interval_s: float = 0.2, root: Path = Path("/")) -> Sensors:
    """`with sample_sensors() as sensors: ...`, then `sensors.summary()`. `root` holds /proc and /sys."""
    return Sensors(interval_s, root)
