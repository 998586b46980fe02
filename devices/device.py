"""The catalogue of boards: records of `catalog.toml`, in which every figure has its source and how sure it is.

What this machine is, is in `here.py`; nothing here looks at it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from .errors import BadArtefact, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CATALOG = Path(__file__).with_name("catalog.toml")

Confidence = Literal["verified", "secondary", "memory"]
"""`verified`: the source was read and says so. `secondary`: from a source that repeats others. `memory`: no source was
opened, or the figure was computed from such figures."""

State = Literal["works", "ran", "built", "written", "planned"]
STATES: Mapping[State, str] = {
    "works": "run and measured",
    "ran": "a part of it ran on such hardware",
    "built": "made and compared here, run on no such board yet",
    "written": "not tried",
    "planned": "this version does not do it yet",
}
"""How far this version has come with what serves a board."""


def states_in_words(states: Iterable[State]) -> str:
    """What those of STATES mean that are among `states`."""
    met = set(states)
    return "; ".join(f"{state}: {meaning}" for state, meaning in STATES.items() if state in met)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a figure comes from, and how sure it is."""

    source: str
    confidence: Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures that share an `origin`, apart from those that `origins` gives one of their own."""

    origin: Origin
    origins: Mapping[str, Origin] = field(default_factory=dict)

    def origin_of(self, figure: str) -> Origin:
        """The origin of one figure, by the name of its field."""
        return self.origins.get(figure, self.origin)

    def known(self) -> dict[str, Any]:
        """Field and value of every figure that the catalogue has; what nobody knows is left out."""
        named = ((f.name, getattr(self, f.name)) for f in fields(self) if f.name not in ("origin", "origins"))
        return {name: value for name, value in named if value not in (None, "", ())}

    def to_json(self) -> dict[str, Any]:
        """Each figure as {"value", "source", "confidence"}."""
        return {
            name: {"value": value, "source": origin.source, "confidence": origin.confidence}
            for name, value in self.known().items()
            for origin in (self.origin_of(name),)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu(Figures):
    """One of `count` equal GPUs. Peak rates are dense: no structured sparsity, no DLA.

    `fp16_path` and `int8_path` say which units reach the peak: `tensor` cores, `cuda` cores (packed half2), `dp4a`, or
    `none`. `formula` says how the peaks follow from cores and clock.
    """

    architecture: str
    compute_capability: str
    count: int
    cuda_cores: int
    tensor_cores: int
    fp32_gflops: float
    fp16_path: Literal["none", "cuda", "tensor"]
    int8_path: Literal["none", "dp4a", "tensor"]
    sm_count: int | None = None
    clock_mhz: float | None = None
    fp16_gflops: float | None = None
    int8_gops: float | None = None
    formula: str = ""
    dla: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Figures):
    """The board's memory when it is `unified`, else that of one GPU (of the CPU where there is no GPU).

    Sizes in 1e9 bytes as makers print them, bandwidth in 1e9 bytes a second.
    """

    bandwidth_gb_s: float
    unified: bool
    size_gb: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu(Figures):
    """The processor; `architecture` is what `uname -m` prints. `fp32_gflops` is the peak of all cores."""

    description: str
    cores: int
    architecture: Literal["armv7l", "aarch64", "x86_64"]
    fp32_gflops: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Power(Figures):
    """Caps of the board's power modes (nvpmodel), of one GPU, and the most that the whole takes; all in watts."""

    modes_w: tuple[float, ...] = ()
    gpu_max_w: float | None = None
    board_max_w: float | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price(Figures):
    """US dollars without tax; `usd_high` ends the span where several prices were met, `remark` says for what."""

    usd: float
    usd_high: float | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Software(Figures):
    """The last operating system, TensorRT and the Python that goes with it."""

    os: str
    tensorrt: str
    python: str = ""


@dataclass(frozen=True, slots=True)
class Serving:
    """How helmsight serves some boards: what is meant (`how`), whether this version does it, what works `today`.

    `today` is what was shown, or what is left where nothing was.
    """

    key: str
    how: str
    state: State
    today: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A board, a machine, or a card to compare with. A group that nobody knows anything of is None.

    `board_names` are parts of what the board calls itself: see `here.find_board`.
    """

    id: str
    name: str
    family: Literal["jetson", "dgx", "reference"]
    served_by: Serving
    memory: Memory
    aliases: tuple[str, ...] = ()
    board_names: tuple[str, ...] = ()
    notes: str = ""
    gpu: Gpu | None = None
    cpu: Cpu | None = None
    power: Power | None = None
    price: Price | None = None
    software: Software | None = None

    def groups(self) -> dict[str, Figures]:
        """The groups that are known, by name."""
        named = {name: getattr(self, name) for name in GROUPS}
        return {name: group for name, group in named.items() if group is not None}

    def to_json(self) -> dict[str, Any]:
        head = {"id": self.id, "name": self.name, "family": self.family, "aliases": list(self.aliases)}
        figures = {name: group.to_json() for name, group in self.groups().items()}
        return {**head, "served_by": asdict(self.served_by), "notes": self.notes, **figures}


GROUPS: Mapping[str, type[Figures]] = {
    "gpu": Gpu,
    "memory": Memory,
    "cpu": Cpu,
    "power": Power,
    "price": Price,
    "software": Software,
}


@cache
def catalog() -> tuple[Device, ...]:
    """Every device that helmsight knows, in the order of the file."""
    return read_catalog(CATALOG)


def device(name: str) -> Device:
    """The device with this id or alias; raises UsageError that names close matches, or all, when there is none."""
    wanted = name.strip().casefold()
    by_name = {key: d for d in catalog() for key in (d.id, *d.aliases)}
    if wanted in by_name:
        return by_name[wanted]
    close = get_close_matches(wanted, by_name, n=3, cutoff=0.6)
    if close:
        raise UsageError(f"no device {name!r}; did you mean {' or '.join(close)}? `helmsight devices` lists all")
    raise UsageError(f"no device {name!r}; known are {', '.join(d.id for d in catalog())}")


def alias_in_words(name: str, found: Device) -> str:
    """Which board `name`, an alias of `found`, means; "" where it is the board's id."""
    return "" if name.strip().casefold() == found.id else f"{name} is {found.id}, {found.name}"


def read_catalog(file: Path) -> tuple[Device, ...]:
    """Read a catalogue. Raises BadArtefact, with the device and the figure, for what is no valid entry."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        serving = {key: Serving(key=key, **table) for key, table in data["serving"].items()}
        entries = data["device"]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise BadArtefact(f"{file} is no catalogue of devices ({type(error).__name__}: {error})") from error
    devices = tuple(_device(entry, serving, file) for entry in entries)
    names = [name for d in devices for name in (d.id, *d.aliases)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadArtefact(f"{file} has {', '.join(twice)} more than once; ids and aliases must be unique")
    return devices


def _device(entry: Mapping[str, Any], serving: Mapping[str, Serving], file: Path) -> Device:
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()}
    try:
        values["served_by"] = serving[entry["served_by"]]
        for name, kind in GROUPS.items():
            if name in values:
                values[name] = _figures(kind, values[name])
        return Device(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise BadArtefact(f"{file}, device {entry.get('id', '?')}: {type(error).__name__}: {error}") from error


_F = TypeVar("_F", bound=Figures)


def _figures(kind: type[_F], table: Mapping[str, Any]) -> _F:
    """A group from its table: `from` is the origin of all, `NAME_from` that of the figure NAME."""
    origins = {key.removesuffix("_from"): _origin(value) for key, value in table.items() if key.endswith("_from")}
    values = {key: value for key, value in table.items() if key != "from" and not key.endswith("_from")}
    unused = origins.keys() - values.keys()
    if unused:
        raise ValueError(f"{kind.__name__} has an origin but no figure for {', '.join(sorted(unused))}")
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    return kind(origin=_origin(table["from"]), origins=origins, **values)


def _origin(value: Mapping[str, str]) -> Origin:
    origin = Origin(source=value["source"], confidence=value["confidence"])  # type: ignore[arg-type]
    if origin.confidence not in get_args(Confidence) or not origin.source:
        raise ValueError(f"{dict(value)} needs a source, and a confidence of {', '.join(get_args(Confidence))}")
    return origin
