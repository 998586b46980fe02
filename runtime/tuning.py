"""What `helmsight build --autotune` measured of a bundle on this machine, where it is kept, and what it says to use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from ..devices.errors import BadArtefact, DeviceMismatch, HelmsightError
from ..devices.processor import processor
from .backends import ON_CPU, OnnxRuntimeSettings, SessionOptions
from .backends.onnxruntime import LEVELS
from .bundle import MODEL, Bundle
from .fetch import cache_folder, write_whole
from .json_form import NUMBER, OBJECT, Fields, Rows, check_form
from .strict_json import parse_json

SCHEMA_VERSION = 1
TIE = 0.03
"""Differences below this share are noise: the way nearest to the usual one is kept."""


@dataclass(frozen=True, slots=True)
class Way:
    """A back end on the processor with its threads, and for ONNX Runtime its settings."""

    device: str
    threads: int
    settings: OnnxRuntimeSettings = field(default_factory=OnnxRuntimeSettings)

    def options(self, given: SessionOptions) -> SessionOptions:
        """`given` with what this way sets."""
        return replace(given, device=self.device, threads=self.threads, settings=self.settings)

    def __str__(self) -> str:
        changed = [f"{k.replace('_', ' ')} {v}" for k, v in asdict(self.settings).items() if v != _USUAL[k]]
        return ", ".join([self.device, f"{self.threads} thread{'s' * (self.threads != 1)}", *changed])


_USUAL = asdict(OnnxRuntimeSettings())


@dataclass(frozen=True, slots=True)
class Row:
    """One way, measured. `times_as_fast` is beside `--device cpu`, in turns with it; `refused` the gate it missed."""

    way: Way
    precision: str = ""
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    times_as_fast: float = 0.0
    max_abs: float = 0.0
    n: int = 0
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Tuning:
    """All that was measured, the usual way first. `key` is what it holds for, `made` what it was measured with."""

    bundle: str
    key: Mapping[str, Any]
    made: Mapping[str, Any]
    rows: tuple[Row, ...]

    def best(self, threads: int) -> Row:
        """The fastest that passed and takes no more threads; of those that are as fast, the first.

        Raises DeviceMismatch where all that passed take more.
        """
        passed = [row for row in self.rows if not row.refused]
        able = [row for row in passed if row.way.threads <= threads]
        if not able:
            least = min(row.way.threads for row in passed)
            raise DeviceMismatch(
                f"no way to run {self.bundle} in {threads} thread{'s' * (threads != 1)} passed when it was tuned; "
                f"give it --threads {least}, or use --device cpu"
            )
        fastest = max(row.times_as_fast for row in able)
        return next(row for row in able if row.times_as_fast >= fastest * (1 - TIE))

    def to_json(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}


def key_of(bundle: Bundle) -> dict[str, Any]:
    """What a tuning depends on: the file and its size, what it is asked to compute in, processor, engines."""
    cpu = processor()
    return {
        "onnx_sha256": bundle.manifest.files[MODEL],
        "asked": "bf16" if bundle.manifest.for_bf16 else "the file's",
        "shapes": {spec.name: list(spec.shape) for spec in bundle.manifest.inputs},
        "processor": cpu.model,
        "cores": cpu.usable_cores,
        **{name: _version(name) for name in ("onnxruntime", "openvino")},
    }


def tuning_file(bundle: Bundle) -> Path:
    """Where the tuning of this bundle on this machine is kept, whether there is one or not."""
    text = json.dumps(key_of(bundle), sort_keys=True)
    return cache_folder() / "tuned" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def save(bundle: Bundle, tuning: Tuning) -> Path:
    """Keep it, whole or not at all."""
    file = tuning_file(bundle)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, (json.dumps(tuning.to_json(), indent=1) + "\n").encode())
    return file


def find(bundle: Bundle) -> Tuning:
    """The tuning of this bundle on this machine. Raises DeviceMismatch with the command that makes it."""
    file, key = tuning_file(bundle), key_of(bundle)
    command = tune_command(bundle)
    if not file.is_file():
        engines = ", ".join(f"{name} {key[name] or 'not installed'}" for name in ("onnxruntime", "openvino"))
        raise DeviceMismatch(
            f"{bundle.manifest.name} was not tuned for {key['processor']}, {key['cores']} cores, {engines}, or not at "
            f"this size; measure it: {command}"
        )
    try:
        record = parse_json(file.read_bytes(), str(file))
        check_form(record, _TUNING, "it")
        rows = tuple(_row(one) for one in record["rows"])
        if record["schema_version"] != SCHEMA_VERSION or record["key"] != key or rows[0].refused:
            raise ValueError("it is of another schema, machine or network")
    except (HelmsightError, ValueError, TypeError, OSError) as error:
        raise BadArtefact(
            f"{file} is no tuning of {bundle.manifest.name} ({error}); make it anew: {command}"
        ) from error
    return Tuning(record["bundle"], key, record["made"], rows)


def tune_command(bundle: Bundle) -> str:
    """What to type to tune `bundle` at this size."""
    sizes = [spec.image_hw for spec in bundle.manifest.inputs if spec.multiple]
    imgsz = f" --imgsz {sizes[0][1]}x{sizes[0][0]}" if sizes else ""
    return f"helmsight build {bundle.typed} --autotune{imgsz}"


def thread_counts(most: int) -> Sequence[int]:
    """1, 2, 4, ... and `most`."""
    return sorted({most, *(1 << i for i in range(most.bit_length()))} & set(range(1, most + 1)))


def _row(one: Mapping[str, Any]) -> Row:
    way = one["way"]
    if way["device"] not in ON_CPU or way["settings"]["optimisation"] not in ("", *LEVELS):
        raise ValueError(f"it has a way {way}")
    return Row(**{**one, "way": Way(way["device"], way["threads"], OnnxRuntimeSettings(**way["settings"]))})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


_SETTINGS = Fields({"optimisation": str, "spinning": bool, "arena": bool, "io_binding": bool})
_WAY = Fields({"device": str, "threads": int, "settings": _SETTINGS})
_ROW = Fields({"way": _WAY, "times_as_fast": NUMBER, "p50_ms": NUMBER, "refused": str, "precision": str})
_TUNING = Fields({"schema_version": int, "bundle": str, "key": OBJECT, "made": OBJECT, "rows": Rows(_ROW, least=1)})
