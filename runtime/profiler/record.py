"""The profile as a record: what was measured, all samples of it, and what made it. Reads and writes its JSON.

A file holds {"schema_version": 1, "profiles": [...]}. In a profile, `summary` and `energy` are there for other readers
and are computed anew here; `samples` has the times themselves: `data` is base64 of zlib of little-endian unsigned
64-bit nanoseconds, query after query, `shape` being (queries, stages).
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import BadArtefact, HelmsightError
from ..backends import ON_CPU
from ..json_form import NUMBER, OBJECT, Each, Fields, Rows, check_form
from .conditions import Energy, energy, throttling, without_other_gpus
from .layer_profile import FORM, LayerProfile
from .others import busy
from .scenario import SINGLE_STREAM, check_outcome
from .stats import Interval, bootstrap, interval, percentile, queries_needed
from .stream import Overhead, Times, WarmUp

SCHEMA_VERSION = 1
PERCENTILES = (0.5, 0.9, 0.99)
OVERHEAD_LIMIT_US = 5.0
_ENCODING = "base64 zlib uint64-le ns"
_COUNT = (int, float, type(None))
_READINGS = Each(Fields(known={"mean": NUMBER, "maximum": NUMBER, "not_available": str}))
_FORM = Fields(
    {
        "bundle": str,
        "task": str,
        "files": Each(str),
        "inputs": Each(Fields({"shape": Rows(int), "dtype": str})),
        "feeds": str,
        "stages": Rows(str, 1, 16),
        "device": str,
        "precision": str,
        "threads": int,
        "warm_up": Fields({"queries": int, "seconds": NUMBER, "stable": bool, "tolerance": NUMBER}),
        "overhead": Fields({"per_query_us": NUMBER, "in_sample_us": NUMBER}),
        "other_cores": _COUNT,
        "machine": Fields(known={"cpu": OBJECT, "device": (str, type(None))}),
        "sensors": Fields(
            known={
                "readings": _READINGS,
                "samples": Each(Rows(Rows(NUMBER, 2, 2))),
                "idle": Fields(known={"readings": _READINGS}),
            }
        ),
        "versions": Each(str),
        "date_utc": str,
        "duration_s": NUMBER,
        "samples": Fields({"encoding": str, "shape": Rows(int, 2, 2), "data": str}),
    },
    {
        "metrics": Each(Fields({"value": NUMBER}, {"n": _COUNT})),
        "scenario": Fields({"name": str}),
        "gpu": Fields(known={"index": int, "name": str, "pci": (str, type(None)), "not_available": str}),
        "graph": Fields(
            known={"macs": _COUNT, "weight_bytes": _COUNT, "activation_bytes": _COUNT, "peak_bytes": _COUNT}
        ),
        "layers": FORM,
    },
)


@dataclass(frozen=True, slots=True)
class Percentile:
    """One percentile of a stage; `supported` is False when there are fewer than `queries_needed` samples."""

    p: float
    ms: float
    supported: bool
    queries_needed: int


@dataclass(frozen=True, slots=True)
class Summary:
    """One stage, or `total`: percentiles by nearest rank, the 95 % interval of the median in ms, and the extremes."""

    stage: str
    n: int
    percentiles: tuple[Percentile, ...]
    median_ms: Interval
    min_ms: float
    max_ms: float


# Without slots: what is computed from the samples is kept in the instance's dict.
@dataclass(frozen=True, eq=False)
class Profile:
    """One bundle, measured on one device.

    `files` maps the bundle's files, its manifest included, to their SHA-256. `inputs` maps an input to the shape and
    dtype that were fed, and `feeds` says from where. `threads` is what the session was given. `other_cores` is how
    many cores other processes used on average during the run, None when that is not known. `machine`, `sensors`
    and `versions` are plain JSON of the device's record, of its sensors during the run (`samples` has pairs of seconds
    and value, by sensor; `idle` the power before it), and of the packages.
    `samples` is (queries, stages) uint64 nanoseconds, in the order of measurement. `metrics` is the manifest's: what
    the bundle scored. `graph` is what its export counted in it (operations, bytes), empty at a size that it was not
    counted at. Both are for comparisons. `scenario` is how queries arrived and what became of them, `layers` are
    there where they were asked for. `gpu` is the one that ran it, or why that is not known; empty on a processor. What
    has a default is missing in older files.
    """

    bundle: str
    task: str
    files: Mapping[str, str]
    inputs: Mapping[str, Any]
    feeds: str
    stages: tuple[str, ...]
    device: str
    precision: str
    threads: int
    warm_up: WarmUp
    overhead: Overhead
    other_cores: float | None
    machine: Mapping[str, Any]
    sensors: Mapping[str, Any]
    versions: Mapping[str, str]
    date_utc: str
    duration_s: float
    samples: Times
    metrics: Mapping[str, Any] = field(default_factory=dict)
    graph: Mapping[str, Any] = field(default_factory=dict)
    scenario: Mapping[str, Any] = field(default_factory=lambda: {"name": SINGLE_STREAM})
    layers: LayerProfile | None = None
    gpu: Mapping[str, Any] = field(default_factory=dict)

    @property
    def on_cpu(self) -> bool:
        """Whether the network ran on the processor."""
        return self.device in ON_CPU

    @cached_property
    def total(self) -> NDArray[np.uint64]:
        """(queries,) nanoseconds from the first stage's begin to the last one's end."""
        total: NDArray[np.uint64] = self.samples.sum(axis=1, dtype=np.uint64)
        return total

    def times(self, stage: str) -> NDArray[np.uint64]:
        """(queries,) nanoseconds of a stage, or of the whole query for `total`."""
        return self.total if stage == "total" else self.samples[:, self.stages.index(stage)]

    @cached_property
    def summaries(self) -> tuple[Summary, ...]:
        """One for each stage, and one for the total when there are several."""
        names = (*self.stages, "total") if len(self.stages) > 1 else self.stages
        return tuple(summarise(name, self.times(name)) for name in names)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before trusting the figures, a sentence each."""
        return tuple(_warnings(self))

    @cached_property
    def own_sensors(self) -> Mapping[str, Any]:
        """`sensors` without those of GPUs that did not run it."""
        return without_other_gpus(self.sensors, self.gpu)

    @cached_property
    def energy(self) -> Energy | str:
        """What a query took, by the sensors; or why that is not available."""
        return energy(self.own_sensors, self.device, self.duration_s, len(self.samples))

    def to_json(self) -> dict[str, Any]:
        record = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("samples", "layers")}
        record |= {"layers": self.layers.to_json()} if self.layers else {}
        record |= {"warm_up": asdict(self.warm_up), "overhead": asdict(self.overhead)}
        record |= {"warnings": list(self.warnings), "summary": [asdict(s) for s in self.summaries]}
        took = self.energy
        record |= {"energy": {"not_available": took} if isinstance(took, str) else took.to_json()}
        data = base64.b64encode(zlib.compress(self.samples.astype("<u8").tobytes(), 6)).decode()
        return record | {"samples": {"encoding": _ENCODING, "shape": list(self.samples.shape), "data": data}}


def shapes(profile: Profile) -> str:
    """The inputs in words, such as `image 1x240x320x3 uint8`."""
    named = sorted(profile.inputs.items())
    return ", ".join(f"{name} {'x'.join(map(str, spec['shape']))} {spec['dtype']}" for name, spec in named)


def summarise(stage: str, times_ns: NDArray[np.uint64]) -> Summary:
    """The figures of one stage, milliseconds out of nanoseconds."""
    n = len(times_ns)
    needed = {p: queries_needed(p) for p in PERCENTILES}
    # The median has an interval of its own; the rule is for tails.
    found = tuple(
        Percentile(p, percentile(times_ns, p) / 1e6, p <= 0.5 or n >= needed[p], needed[p]) for p in PERCENTILES
    )
    around = interval(bootstrap(times_ns, 0.5) / 1e6)
    return Summary(stage, n, found, around, int(times_ns.min()) / 1e6, int(times_ns.max()) / 1e6)


def to_json(profiles: Iterable[Profile]) -> dict[str, Any]:
    """The content of a profile file."""
    return {"schema_version": SCHEMA_VERSION, "profiles": [p.to_json() for p in profiles]}


def save_profiles(path: Path, profiles: Iterable[Profile]) -> None:
    """Write a profile file; see the module for its format."""
    path.write_text(json.dumps(to_json(profiles), indent=1) + "\n")


def load_profiles(path: Path) -> tuple[Profile, ...]:
    """Read a profile file.

    Raises BadArtefact when it is missing, cut off, of a newer schema, or no profile.
    """
    try:
        data = json.loads(path.read_text(), parse_constant=_no_constant, parse_float=_finite)
        version = data["schema_version"]
        if version != SCHEMA_VERSION:
            raise BadArtefact(
                f"{path} has schema_version {version}, this helmsight reads {SCHEMA_VERSION}; "
                "upgrade helmsight or measure again"
            )
        return tuple(_profile(p) for p in data["profiles"])
    except HelmsightError:
        raise
    except FileNotFoundError:
        raise BadArtefact(f"{path} does not exist; expected a file written by `helmsight profile -o`") from None
    except IsADirectoryError:
        raise BadArtefact(f"{path} is a folder; expected a file written by `helmsight profile -o`") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError, zlib.error) as error:
        raise BadArtefact(
            f"{path} is no profile ({type(error).__name__}: {error}); expected a file written by `helmsight profile -o`"
        ) from error


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"it has {text}; expected finite numbers")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_constant(text)


def _samples(stored: Mapping[str, Any], stages: int) -> Times:
    """What `to_json` stored. No more is unpacked than `shape` says: a few bytes could hold gigabytes of zeros."""
    if stored["encoding"] != _ENCODING:
        raise ValueError(f"samples are in {stored['encoding']!r}, expected {_ENCODING!r}")
    queries, width = stored["shape"]
    if queries < 1 or width != stages:
        raise ValueError(f"samples are {queries} x {width} for {stages} stages")
    unpack = zlib.decompressobj()
    raw = unpack.decompress(base64.b64decode(stored["data"], validate=True), 8 * queries * width + 1)
    if len(raw) != 8 * queries * width or not unpack.eof:
        raise ValueError(f"samples have {len(raw)} bytes or more; expected {8 * queries * width}")
    return np.frombuffer(raw, "<u8").astype(np.uint64).reshape(queries, width)


def _profile(data: dict[str, Any]) -> Profile:
    check_form(data, _FORM, "it")
    samples = _samples(data["samples"], len(data["stages"]))
    if "scenario" in data:
        check_outcome(data["scenario"])
    optional = {f.name for f in fields(Profile) if f.default is not MISSING or f.default_factory is not MISSING}
    known = {f.name: data[f.name] for f in fields(Profile) if f.name in data or f.name not in optional}
    return Profile(
        **known
        | {
            "stages": tuple(data["stages"]),
            "warm_up": WarmUp(**data["warm_up"]),
            "overhead": Overhead(**data["overhead"]),
            "samples": samples,
            "layers": LayerProfile.from_json(data["layers"]) if "layers" in data else None,
        }
    )


def _warnings(profile: Profile) -> Iterable[str]:
    warm_up, overhead = profile.warm_up, profile.overhead
    if busy(profile.other_cores):
        yield f"busy machine: other processes used {profile.other_cores:.2f} cores during the run; measure again"
    if held := list(throttling(profile.own_sensors)):
        yield f"throttled: {', '.join(held)}; cool it, or choose a lower power mode, and measure again"
    if not warm_up.stable:
        yield (
            f"warm-up did not settle within {warm_up.tolerance:.0%} in {warm_up.seconds:.1f} s; "
            "the first samples may belong to it"
        )
    if overhead.per_query_us > OVERHEAD_LIMIT_US:
        yield f"the loop costs {overhead.per_query_us:.1f} us a query here, more than {OVERHEAD_LIMIT_US:.0f}"
    lacking = [q for q in profile.summaries[-1].percentiles if not q.supported]
    if lacking:
        needs = ", ".join(f"p{q.p * 100:g} needs {q.queries_needed:,}" for q in lacking)
        yield f"tail not supported: {len(profile.samples):,} samples, {needs} (99 % confidence)"
