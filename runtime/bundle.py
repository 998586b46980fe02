"""The bundle: a folder `NAME.bundle/` with `manifest.json`, `model.onnx` and a folder per target.

Its manifest is all that another runtime needs. Every file is checked against its SHA-256 in the manifest before
anything is parsed, and again when it is read, so that what is used are the bytes that were checked. Nothing here knows
a task or a back end.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from shlex import quote
from typing import BinaryIO

from ..devices.errors import BadArtefact
from .limits import FILE_BYTES, MANIFEST_BYTES, MODEL_BYTES
from .manifest import (
    LARGEST_SIDE,
    MANIFEST,
    SCHEMA_VERSION,
    SIGNATURE,
    SIZE_NAMES,
    Manifest,
    TensorSpec,
    parse_manifest,
)
from .onnx_bounds import refuse_external

__all__ = [
    "LARGEST_SIDE",
    "SCHEMA_VERSION",
    "SHIPPED",
    "SIZE_NAMES",
    "Bundle",
    "Manifest",
    "TensorSpec",
    "did_you_mean",
    "find_bundle",
    "open_bundle",
    "resize_bundles",
    "sha256",
    "write_bundle",
]


SHIPPED = Path(__file__).parent / "shipped"
MODEL = "model.onnx"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle on disk: every file it names was there with the right hash when it was opened.

    `manifest_sha256` is of the bytes that `manifest` was made of. Files are read through `read`, never by their path.
    """

    path: Path
    manifest: Manifest
    manifest_sha256: str
    bytes_of: Mapping[str, int]
    """The size of each file that the manifest lists."""

    @property
    def typed(self) -> str:
        """What stands for it in a command: its path, or the name of one that ships."""
        return self.path.stem if self.path.parent == SHIPPED else quote(str(self.path))

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.path / MODEL

    def read(self, relative: str) -> bytes:
        """A listed file's content, checked again: what is loaded is what was checked, and no file beside it."""
        with _opened(self.path, relative) as stream:
            data = stream.read(self.bytes_of[relative] + 1)
        if hashlib.sha256(data).hexdigest() != self.manifest.files[relative]:
            raise BadArtefact(
                f"{self.path / relative} was changed after it was checked; export or copy the bundle again"
            )
        return data

    def read_model(self) -> bytes:
        """The ONNX file's content, whole (no tensor lies elsewhere) and within `limits`. Raises BadArtefact."""
        data = self.read(MODEL)
        refuse_external(data, str(self.model))
        return data

    def read_signature(self) -> bytes | None:
        """The signature's content, None when there is none; `signature.py` says what it is worth."""
        if not os.path.lexists(self.path / SIGNATURE):
            return None
        with _opened(self.path, SIGNATURE, MANIFEST_BYTES) as stream:
            return stream.read(MANIFEST_BYTES + 1)

    def unlisted(self) -> tuple[str, ...]:
        """What lies in the folder that the manifest does not list: nothing ever reads it. The signature is apart."""
        there = (file for file in self.path.rglob("*") if file.is_symlink() or not file.is_dir())
        found = {str(file.relative_to(self.path)) for file in there}
        return tuple(sorted(found - {*self.manifest.files, MANIFEST, SIGNATURE}))

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
        provenance = dict(self.manifest.provenance)
        if inputs != self.manifest.inputs:
            provenance.pop("graph", None)  # operations and bytes were counted at the usual size
        return replace(self, manifest=replace(self.manifest, inputs=inputs, provenance=provenance))


def resize_bundles(bundles: Sequence[Bundle], image_hw: tuple[int, int]) -> list[Bundle]:
    """The bundles that take several sizes, at this one; those of one size stay as they are, beside another.

    Raises UsageError when none takes it.
    """
    some = any(bundle.resizable for bundle in bundles)
    return [bundle.resized(image_hw) if bundle.resizable or not some else bundle for bundle in bundles]


def find_bundle(name: str) -> Path:
    """The folder that `name` means: a path, or `face` / `navigate` for what ships. Raises BadArtefact.

    A name that ends in `.bundle` is a path alone: another bundle than the one that was typed would mislead.
    """
    path, shipped = Path(name), SHIPPED / f"{name}.bundle"
    ships = "/" not in name and shipped.is_dir()
    if path.is_dir() and not (ships and not (path / "manifest.json").exists()):
        return path
    if ships:
        return shipped
    stem = path.name.removesuffix(".bundle")
    if stem != path.name and (SHIPPED / path.name).is_dir():
        raise BadArtefact(f"no bundle at {name}; the one that ships with helmsight is called {stem}, without .bundle")
    known = ", ".join(_shipped()) or "none"
    raise BadArtefact(
        f"no bundle at {name}; {did_you_mean(name)}expected a folder NAME.bundle, or one that ships ({known})"
    )


def did_you_mean(name: str) -> str:
    """`did you mean NAME? `, where `name` is nearly that of a bundle that ships; else ""."""
    close = get_close_matches(name.casefold(), _shipped(), n=1)
    return f"did you mean {close[0]}? " if close and "/" not in name else ""


def _shipped() -> list[str]:
    return sorted(p.stem for p in SHIPPED.glob("*.bundle"))


def open_bundle(path: str | Path) -> Bundle:
    """Open and check a bundle.

    Raises BadArtefact when it is missing, unreadable, of a newer schema, beyond `limits`, when a file's hash is not the
    manifest's, or when a path leaves the folder.
    """
    folder = find_bundle(str(path))
    file = folder / MANIFEST
    if not os.path.lexists(file):
        raise BadArtefact(f"{file} is missing; expected a bundle made by `helmsight export`")
    with _opened(folder, MANIFEST, MANIFEST_BYTES) as stream:
        data = stream.read(MANIFEST_BYTES + 1)
    manifest = parse_manifest(data, str(file))
    if MODEL not in manifest.files:
        raise BadArtefact(f"{folder}: the manifest has no hash of {MODEL}; export the bundle again")
    sizes = {relative: _check_file(folder, relative, expected) for relative, expected in manifest.files.items()}
    return Bundle(folder, manifest, hashlib.sha256(data).hexdigest(), sizes)


def _check_file(folder: Path, relative: str, expected: str) -> int:
    """The file's size in bytes, once its hash is the `expected` one. Raises BadArtefact."""
    largest = MODEL_BYTES if relative.endswith(".onnx") else FILE_BYTES
    with _opened(folder, relative, largest) as stream:
        actual, size = _digest(stream), stream.tell()
    if actual != expected:
        raise BadArtefact(
            f"{folder / relative} has SHA-256 {actual[:12]}..., the manifest says {expected[:12]}...: "
            "it was changed or damaged; export or copy the bundle again"
        )
    return size


@contextmanager
def _opened(folder: Path, relative: str, largest: int = FILE_BYTES) -> Iterator[BinaryIO]:
    """A file of a bundle: one that lies there itself, no link, pipe or device. Raises BadArtefact."""
    file = folder / relative
    try:
        for part in (file, *file.parents[: len(Path(relative).parts) - 1]):
            if part.is_symlink():
                raise BadArtefact(f"{part} is a link; a bundle holds its files themselves: copy it with cp -rL")
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            state = os.fstat(stream.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise BadArtefact(f"{file} is no regular file; export or copy the bundle again")
            if state.st_size > largest:
                raise BadArtefact(f"{file} has {state.st_size} bytes; at most {largest} are read")
            yield stream
    except FileNotFoundError:
        raise BadArtefact(f"{file} is missing though the manifest lists it; export or copy the bundle again") from None
    except OSError as error:
        raise BadArtefact(f"{file} cannot be read ({error.strerror}); export or copy the bundle again") from error


def write_bundle(
    target: Path, manifest: Manifest, files: Mapping[str, Path | bytes], seal: Callable[[Path], None] | None = None
) -> Bundle:
    """Write a bundle whole or not at all: into a folder beside `target`, then renamed over it.

    `files` maps a relative path to its content or to a file to copy; hashes are filled in here. `seal` is called with
    the finished folder before it takes the place of what was there, and may add the signature to it. Raises BadArtefact
    for a manifest that could not be read again, such as one with a score that is no number.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    work = beside / target.name
    try:
        work.mkdir()
        hashes = {}
        for relative, content in sorted(files.items()):
            file = work / relative
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                file.write_bytes(content)
            else:
                shutil.copy(content, file)  # a program stays one that runs
            hashes[relative] = sha256(file)
        record = (json.dumps(manifest.to_json() | {"files": hashes}, indent=2) + "\n").encode()
        parse_manifest(record, str(target / MANIFEST))
        (work / MANIFEST).write_bytes(record)
        if seal is not None:
            seal(work)
        made = open_bundle(work)  # what is too large to be opened takes nobody's place
        _replace_folder(work, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return replace(made, path=target)


def sha256(file: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with file.open("rb") as stream:
        return _digest(stream)


def _digest(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _replace_folder(new: Path, target: Path) -> None:
    old = None
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
        target.rename(old / "was")
    try:
        new.rename(target)
    except OSError:
        if old is not None:
            (old / "was").rename(target)
            old.rmdir()
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
