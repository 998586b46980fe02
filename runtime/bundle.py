"""The bundle: a folder `NAME.bundle/` with `manifest.json`, `model.onnx` and, later, a folder per target.

Its manifest is all that another runtime needs. Every file is checked against its SHA-256 in the manifest before
anything is parsed. Nothing here knows a task or a back end.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..devices.errors import BadArtefact, HelmsightError, UsageError

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
SHIPPED = Path(__file__).parent / "shipped"
SIZE_NAMES = ("height", "width")
"""What an ONNX file calls the two dimensions of its picture that it leaves open."""
LARGEST_SIDE = 4096
"""Pixels of a side that a network may be asked for: beyond it, one run takes gigabytes."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    `shape` has an int, or a str for a dimension that may vary. `dtype` is numpy's name. `layout` is `NHWC`, `NCHW`
    or "" for what is no picture; `colour` is `BGR`, `RGB`, `GREY` or ""; `range` is the (low, high) of its values.
    A picture of `multiple` 0 has just this size; else its height and width, of which `shape` has the usual ones, may
    be other multiples of it (see `Bundle.resized`).
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    layout: str = ""
    colour: str = ""
    range: tuple[float, float] | None = None
    multiple: int = 0

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels of a picture input."""
        if self.layout not in ("NHWC", "NCHW"):
            raise BadArtefact(f"input {self.name} has layout {self.layout!r}; expected NHWC or NCHW for a picture")
        at = self.layout.index("H")
        height, width = self.shape[at], self.shape[at + 1]
        if not (isinstance(height, int) and isinstance(width, int)):
            raise BadArtefact(f"input {self.name} has a varying size {self.shape}; expected a fixed height and width")
        return height, width

    def resized(self, image_hw: tuple[int, int]) -> TensorSpec:
        """This picture at another height and width in pixels. Raises UsageError that names the nearest it may have."""
        wish = f"--imgsz {image_hw[1]}x{image_hw[0]}"
        if not self.multiple:
            if self.layout and image_hw == self.image_hw:
                return self
            shape = "x".join(str(d) for d in self.shape)
            raise UsageError(f"{wish}: input {self.name} takes {shape} and nothing else; leave --imgsz out")
        height, width = self.image_hw
        near = [self._nearest(side, usual) for side, usual in zip(image_hw, (height, width), strict=True)]
        if near != list(image_hw):
            raise UsageError(
                f"{wish}: input {self.name} takes {width}x{height}, or sides that are multiples of {self.multiple} up "
                f"to {LARGEST_SIDE}; the nearest is --imgsz {near[1]}x{near[0]}"
            )
        at = self.layout.index("H")
        return replace(self, shape=(*self.shape[:at], *image_hw, *self.shape[at + 2 :]))

    def _nearest(self, side: int, usual: int) -> int:
        """The side nearest to `side` that this picture may have."""
        if side == usual:
            return side
        return min(max(1, round(side / self.multiple)), LARGEST_SIDE // self.multiple) * self.multiple


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself. Free-form parts hold plain JSON values.

    `task` is a name in `runtime/tasks` or "" for a model whose outputs helmsight does not decode. `decoding` has the
    constants of its decoder. `metrics` maps a metric to {"value", "data", "n"}. `parity` maps a target to
    {"max_abs", "max_rel", "n", "precision", "real": {...}}, and for fp16 and int8 "computed", "speed" and "repair".
    `provenance` says what made it. `files` maps a relative path to its SHA-256.
    """

    name: str
    task: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    decoding: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle on disk: every file it names was there with the right hash when it was opened."""

    path: Path
    manifest: Manifest

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.path / "model.onnx"

    def read_model(self) -> bytes:
        """The ONNX file's content, checked again: what is loaded is what was checked, and no file beside it."""
        data = self.model.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.manifest.files["model.onnx"]:
            raise BadArtefact(f"{self.model} was changed after it was checked; export or copy the bundle again")
        return data

    @property
    def resizable(self) -> bool:
        """Whether it takes pictures of several sizes."""
        return any(spec.multiple for spec in self.manifest.inputs)

    def resized(self, image_hw: tuple[int, int]) -> Bundle:
        """The same bundle to be loaded for pictures of another height and width; a session says what comes out then.

        Raises UsageError where its input does not take them.
        """
        every = not self.resizable
        inputs = tuple(s.resized(image_hw) if s.multiple or every else s for s in self.manifest.inputs)
        return replace(self, manifest=replace(self.manifest, inputs=inputs))


def resize_bundles(bundles: Sequence[Bundle], image_hw: tuple[int, int]) -> list[Bundle]:
    """The bundles that take several sizes, at this one; those of one size stay as they are, beside another.

    Raises UsageError when none takes it.
    """
    some = any(bundle.resizable for bundle in bundles)
    return [bundle.resized(image_hw) if bundle.resizable or not some else bundle for bundle in bundles]


def find_bundle(name: str) -> Path:
    """The folder that `name` means: a path, or `face` / `navigate` (with or without `.bundle`) for what ships."""
    path = Path(name)
    shipped = SHIPPED / f"{name.removesuffix('.bundle')}.bundle"
    ships = "/" not in name and shipped.is_dir()
    if path.is_dir() and not (ships and not (path / "manifest.json").exists()):
        return path
    if ships:
        if name.endswith(".bundle"):
            log.warning("there is no %s here: taking the one that ships with helmsight", name)
        return shipped
    known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.bundle"))) or "none"
    raise BadArtefact(f"no bundle at {name}; expected a folder NAME.bundle, or one that ships ({known})")


def open_bundle(path: str | Path) -> Bundle:
    """Open and check a bundle.

    Raises BadArtefact when it is missing, unreadable, of a newer schema, or a file's hash is not the manifest's.
    """
    folder = find_bundle(str(path))
    manifest = _read_manifest(folder / "manifest.json")
    for relative, expected in manifest.files.items():
        file = folder / relative
        if not file.resolve().is_relative_to(folder.resolve()):
            raise BadArtefact(f"{folder}: manifest names {relative!r}, which lies outside the bundle; do not use it")
        if not file.is_file():
            raise BadArtefact(f"{file} is missing though the manifest lists it; export or copy the bundle again")
        actual = sha256(file)
        if actual != expected:
            raise BadArtefact(
                f"{file} has SHA-256 {actual[:12]}..., the manifest says {expected[:12]}...: "
                "it was changed or damaged; export or copy the bundle again"
            )
    if "model.onnx" not in manifest.files:
        raise BadArtefact(f"{folder}: the manifest has no hash of model.onnx; export the bundle again")
    return Bundle(folder, manifest)


def write_bundle(target: Path, manifest: Manifest, files: Mapping[str, Path | bytes]) -> Bundle:
    """Write a bundle whole or not at all: into a folder beside `target`, then renamed over it.

    `files` maps a relative path to its content or to a file to copy; hashes are filled in here.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        hashes = {}
        for relative, content in sorted(files.items()):
            file = work / relative
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                file.write_bytes(content)
            else:
                shutil.copy(content, file)  # a program stays one that runs
            hashes[relative] = sha256(file)
        record = manifest.to_json() | {"files": hashes}
        (work / "manifest.json").write_text(json.dumps(record, indent=2, sort_keys=False) + "\n")
        work.chmod(0o755)
        _replace_folder(work, target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return open_bundle(target)


def sha256(file: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with file.open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _replace_folder(new: Path, target: Path) -> None:
    old = None
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
        target.rename(old / "was")
    new.rename(target)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _read_manifest(file: Path) -> Manifest:
    try:
        data = json.loads(file.read_text())
        version = data["schema_version"]
        if version != SCHEMA_VERSION:
            raise BadArtefact(
                f"{file} has schema_version {version}, this helmsight reads {SCHEMA_VERSION}; "
                "upgrade helmsight or export the bundle again"
            )
        data["inputs"] = tuple(_tensor(t) for t in data["inputs"])
        data["outputs"] = tuple(_tensor(t) for t in data["outputs"])
        if not all(isinstance(v, str) for v in data["files"].values()):
            raise ValueError("files must map names to SHA-256")
        return Manifest(**data)
    except HelmsightError:
        raise
    except FileNotFoundError:
        raise BadArtefact(f"{file} is missing; expected a bundle made by `helmsight export`") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadArtefact(
            f"{file} is no manifest ({type(error).__name__}: {error}); export the bundle again"
        ) from error


def _tensor(data: dict[str, Any]) -> TensorSpec:
    limits, multiple = data.get("range"), data.get("multiple", 0)
    if not isinstance(multiple, int) or multiple < 0:
        raise ValueError(f"multiple is {multiple!r}, expected 0 or more")
    return TensorSpec(**data | {"shape": tuple(data["shape"]), "range": tuple(limits) if limits else None})
