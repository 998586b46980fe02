"""What a comparison knows of one result: a bundle on a device, measured or predicted. What is unknown is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ....devices.device import Device
from ..record import Percentile, Profile
from ..stats import Interval

LONGEST = 80


@dataclass(frozen=True, slots=True)
class Known:
    """A figure and where it comes from, in a few words. `bound`: the true one is at most this."""

    value: float
    origin: str
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """What the bundle scored by its manifest: its first metric, which is the task's own."""

    metric: str
    value: float
    n: int | None
    higher_is_better: bool


@dataclass(frozen=True, slots=True)
class Work:
    """What one query computes and moves: `operations` (two a multiply-accumulate) and, at the least, `moved_bytes`.

    `network_ms` is the median of the network alone, with its interval, also where the row is of more than that.
    `peak_gflops` and `bandwidth_gb_s` are what the device could do at the most, None where that is not known.
    """

    operations: float
    moved_bytes: float
    network_ms: float
    network_interval_ms: Interval
    peak_gflops: float | None
    bandwidth_gb_s: float | None

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.operations / self.moved_bytes

    @property
    def gflops(self) -> float:
        """1e9 operations a second."""
        return self.operations / self.network_ms / 1e6

    @property
    def gflops_interval(self) -> Interval:
        around = self.network_interval_ms
        return Interval(self.operations / around.high / 1e6, self.operations / around.low / 1e6)

    def attainable_gflops(self) -> float | None:
        """The roofline: the lower of the peak and of what the memory can feed (Williams et al., CACM 52(4), 2009)."""
        if self.peak_gflops is None or self.bandwidth_gb_s is None:
            return None
        return min(self.peak_gflops, self.intensity * self.bandwidth_gb_s)


# Compared by identity: the fields hold arrays.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """One row of a comparison.

    `device` is its name for people, `board` its record in the catalogue, `engine` what ran there. `stage` is what the
    latencies are of: `total`, from frame to result, or a stage of a query. `p50_ms` is its median with an interval that
    holds it with the probability `coverage`. `tail` has p90 and p99, and is empty where no query was measured. `watts`
    and `usd` are of `streams` queries at a time: one on each of the board's GPUs. `query_mj` is a query's energy as
    it was measured, `idle_watts` what the same sensors said before. `profile` is the record with the samples, None when
    `predicted`. `throughput` is what was answered, queries a second, where that is not 1 / p50. A row that another
    program measured names it in `program`; its `samples_ns` are there where its file has them, and where it has a mean
    alone, that is `mean_ms` and no median.
    """

    bundle: str
    device: str
    board: Device | None
    engine: str
    precision: str
    predicted: bool
    stage: str
    p50_ms: float | None
    p50_interval_ms: Interval | None
    coverage: float
    tail: tuple[Percentile, ...] = ()
    streams: int = 1
    watts: Known | None = None
    idle_watts: float | None = None
    query_mj: float | None = None
    usd: Known | None = None
    score: Score | None = None
    memory_bytes: Known | None = None
    work: Work | None = None
    profile: Profile | None = None
    program: str = ""
    samples_ns: NDArray[np.uint64] | None = None
    mean_ms: float | None = None
    series: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    throughput: float | None = None
    throughput_interval: Interval | None = None
    made_by: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`measured` or `predicted`."""
        return "predicted" if self.predicted else "measured"

    @property
    def where(self) -> str:
        """`on` its device, or `by` the program whose file does not tell it."""
        return f"by {self.program}" if self.program else f"on {self.device}"

    @property
    def stage_in_words(self) -> str:
        return {"total": "frame to result", "inference": "network alone"}.get(self.stage, self.stage)

    @property
    def times_ms(self) -> NDArray[np.float64]:
        """(queries,) what was measured of `stage`; none of a prediction, or where a file has none."""
        if self.samples_ns is not None:
            return self.samples_ns / 1e6
        return self.profile.times(self.stage) / 1e6 if self.profile else np.empty(0)

    @property
    def fps(self) -> float | None:
        """Queries a second: what was answered together, or one after the other, of the median."""
        return self.throughput or (1e3 / self.p50_ms if self.p50_ms else None)

    @property
    def fps_per_watt(self) -> float | None:
        return None if self.watts is None or self.fps is None else self.fps * self.streams / self.watts.value

    @property
    def fps_per_usd(self) -> float | None:
        return None if self.usd is None or self.fps is None else self.fps * self.streams / self.usd.value

    @property
    def energy_mj(self) -> float | None:
        """Millijoules a query: the whole run's over its queries where that was measured, else watts over the rate."""
        if self.query_mj is not None:
            return self.query_mj
        if self.watts is None or self.fps is None:
            return None
        return self.watts.value * 1e3 / (self.fps * self.streams)

    def spread(self, figure: float) -> Interval:
        """The interval of a `figure` that is proportional to `fps`, from that of the median or of the throughput."""
        together = self.throughput_interval
        if self.throughput and together is None:
            return Interval(figure, figure)  # the camera's rate, or a figure whose spread is not known
        if self.throughput and together:
            return Interval(figure * together.low / self.throughput, figure * together.high / self.throughput)
        around = self.p50_interval_ms
        if around is None or self.p50_ms is None:
            return Interval(figure, figure)
        return Interval(figure * self.p50_ms / around.high, figure * self.p50_ms / around.low)


def sensor(entry: Entry, kind: str) -> tuple[str, Sequence[tuple[float, float]]] | None:
    """The sensor of a `kind` and its samples: `mhz`, of what ran the network, or `temperature_c`, the hottest one.

    None where the record has none, or too few to draw a line.
    """
    on_cpu = entry.profile is not None and entry.profile.on_cpu
    samples = entry.series or (entry.profile.own_sensors.get("samples", {}) if entry.profile else {})
    found = [
        (name, series)
        for name, series in samples.items()
        if kind in name and len(series) > 1 and (kind != "mhz" or name.startswith("cpu") == on_cpu)
    ]
    return max(found, key=lambda item: max(value for _, value in item[1]), default=None)


def names(entries: Sequence[Entry]) -> list[str]:
    """A short name for each row: its bundle, and what else tells it from the others."""
    parts = [
        (e.bundle, e.program, "", e.engine) if e.program else (e.bundle, e.device, e.precision, e.engine)
        for e in entries
    ]
    telling = [i for i in range(4) if i == 0 or len({p[i] for p in parts}) > 1]
    return [", ".join(p[i] for i in telling if p[i]) for p in parts]


def one_line(text: str) -> str:
    """A name out of a record as it may stand in a table or a picture: printable, of at most 80 characters."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"
