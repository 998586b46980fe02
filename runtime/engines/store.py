"""Where engines are kept: a folder of the user's own, an engine and its record for each key, whole or not at all.

An engine is native code once it is loaded, so nobody else may write here, and its SHA-256 is checked each time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...devices.errors import BadArtefact, DeviceMismatch
from ..bundle import Bundle
from ..fetch import cache_folder, write_whole

log = logging.getLogger(__name__)

SCHEMA_VERSION = 2
"""2: with `compared`. An engine of before is none, and is built anew."""
NAMES = {
    "onnx_sha256": "ONNX file",
    "product": "library",
    "version": "version",
    "compute_capability": "compute capability",
    "precision": "precision",
    "shapes": "input size",
}
"""What a message calls the parts of a key."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that an engine depends on. `product`, `version`: the library's; `shapes`: an input's name to its shape."""

    onnx_sha256: str
    product: str
    version: str
    compute_capability: str
    precision: str
    shapes: Mapping[str, tuple[int, ...]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"shapes": {name: list(shape) for name, shape in self.shapes.items()}}

    @property
    def id(self) -> str:
        """A name for files: 32 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Stored:
    """An engine on disk. `record` has what built it, what it computes in, and `engine_sha256`."""

    file: Path
    record: Mapping[str, Any]

    def read(self) -> bytes:
        """The engine, once its hash is the record's. Raises BadArtefact otherwise."""
        data = self.file.read_bytes()
        found, stated = hashlib.sha256(data).hexdigest(), str(self.record["engine_sha256"])
        if found != stated:
            raise BadArtefact(
                f"{self.file} has SHA-256 {found[:12]}..., its record says {stated[:12]}...: it was changed or "
                f"damaged; rebuild it: {self.record['rebuild']} --force"
            )
        return data


class Store:
    """The folder; made with mode 0700. Raises BadArtefact when others may write into it."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "engines"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        state = self.folder.stat()
        if state.st_uid != os.getuid() or state.st_mode & 0o022:
            raise BadArtefact(
                f"{self.folder} can be written by others (owner {state.st_uid}, mode {state.st_mode & 0o777:o}), and "
                f"what lies there is run; remove it: rm -r {self.folder}"
            )
        self.folder.chmod(0o700)

    def get(self, key: EngineKey) -> Stored | None:
        """The engine of this key; None when there is none."""
        record = self._record(self.folder / f"{key.id}.json")
        file = self.folder / f"{key.id}.engine"
        return Stored(file, record) if record and record.get("key") == key.to_json() and file.is_file() else None

    def find(self, key: EngineKey, bundle: str, rebuild: str) -> Stored:
        """The engine of this key.

        Raises DeviceMismatch with the command `rebuild`, and in what the nearest engine of that bundle differs.
        """
        if found := self.get(key):
            return found
        ours = key.to_json()
        others = [
            [(name, theirs["key"][name], ours[name]) for name in NAMES if theirs["key"][name] != ours[name]]
            for theirs in self._records()
            if theirs["bundle"] == bundle
        ]
        if not others:
            raise DeviceMismatch(
                f"there is no engine of {bundle} for {key.product} {key.version} and compute capability "
                f"{key.compute_capability} yet; build it: {rebuild}"
            )
        apart = ", ".join(f"{NAMES[n]} {_shown(a)} (here {_shown(b)})" for n, a, b in min(others, key=len))
        raise DeviceMismatch(f"the engine of {bundle} was built for {apart}; rebuild it: {rebuild}")

    def put(self, key: EngineKey, plan: bytes, record: Mapping[str, Any]) -> Stored:
        """Keep an engine: first its file, then the record without which it counts as absent."""
        whole = {
            "schema_version": SCHEMA_VERSION,
            "key": key.to_json(),
            "engine_sha256": hashlib.sha256(plan).hexdigest(),
            **record,
        }
        (self.folder / f"{key.id}.json").unlink(missing_ok=True)
        self.write(f"{key.id}.engine", plan)
        self.write(f"{key.id}.json", (json.dumps(whole, indent=1) + "\n").encode())
        return Stored(self.folder / f"{key.id}.engine", whole)

    def of(self, bundle: Bundle) -> list[Mapping[str, Any]]:
        """The records of the engines that were built of its files, whatever version or GPU they are for."""
        files = set(bundle.manifest.files.values())
        return [record for record in self._records() if record["key"]["onnx_sha256"] in files]

    def timing_cache(self, library: str, version: str, compute_capability: str) -> str:
        """The name of the file with what was timed by that library on such a GPU."""
        return f"timing-{library}-{version}-{compute_capability}.cache"

    def read(self, name: str) -> bytes:
        """A file's content, empty when there is none."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return b""

    def write(self, name: str, data: bytes) -> Path:
        """Write a file with `write_whole`."""
        write_whole(self.folder / name, data)
        return self.folder / name

    def _records(self) -> list[Mapping[str, Any]]:
        found = [self._record(file) for file in sorted(self.folder.glob("*.json"))]
        return [record for record in found if record]

    def _record(self, file: Path) -> Mapping[str, Any] | None:
        """A record; None for what is none, or is of another schema: then the engine is built anew."""
        try:
            record = json.loads(file.read_text())
            whole = record["schema_version"] == SCHEMA_VERSION and set(record["key"]) == set(NAMES)
            return record if whole and {"bundle", "rebuild", "engine_sha256"} <= record.keys() else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def kept_engines(bundle: Bundle) -> list[Mapping[str, Any]]:
    """`Store.of`; none where nothing was built yet, or where others may have written it, which is warned of."""
    try:
        return Store().of(bundle) if (cache_folder() / "engines").is_dir() else []
    except BadArtefact as error:
        log.warning("engines that were built here are not shown: %s", error)
        return []


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in value.items())
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text
