"""helmsight's optional extras: which of their packages are installed, and the line that installs the others."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from ..devices.here import Here

# Distributions that install into one and the same folder: with two of them, files of one overwrite the other's.
EXCLUSIVE = (
    ("onnxruntime", "onnxruntime-gpu"),
    ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
)


@dataclass(frozen=True, slots=True)
class Package:
    """A package that an extra asks for, as `wanted` (such as `>=1.20`), and the installed version or None."""

    name: str
    wanted: str
    version: str | None


@dataclass(frozen=True, slots=True)
class Extra:
    """One of helmsight's optional extras."""

    name: str
    packages: tuple[Package, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """What is not installed of it."""
        return tuple(p.name for p in self.packages if p.version is None)

    @property
    def install(self) -> str:
        """The line that installs it; what would clash with it is removed first."""
        groups = (group for group in EXCLUSIVE if set(group) & set(self.missing))
        rivals = [name for group in groups for name in group if version(name)]
        remove = f"pip uninstall {' '.join(rivals)}; " if rivals else ""
        return f"{remove}pip install 'helmsight[{self.name}]'"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "missing": list(self.missing), "install": self.install}


def version(name: str) -> str | None:
    """The installed version of a distribution, without importing it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def extras() -> tuple[Extra, ...]:
    """helmsight's extras as its own metadata lists them; `dev` is left out, it is for those who work on helmsight."""
    wanted: dict[str, list[Package]] = {}
    try:
        lines = metadata.requires("helmsight") or []
    except metadata.PackageNotFoundError:  # run out of its folder, not installed
        lines = []
    for line in lines:
        found = re.match(r"([\w.-]+)\s*([^;]*?)\s*;.*\bextra == ['\"]([\w-]+)['\"]", line)
        if found and found[3] != "dev":
            wanted.setdefault(found[3], []).append(Package(found[1], found[2], version(found[1])))
    return tuple(Extra(name, tuple(packages)) for name, packages in wanted.items())


def advice(extra: Extra, machine: Here) -> str:
    """What to do about what is missing of an extra. That for a GPU takes the place of what runs here without one."""
    if extra.name != "gpu" or (machine.gpus and not machine.l4t):
        return extra.install
    if machine.l4t:
        return "not for a Jetson, whose GPU TensorRT serves: --device tensorrt"
    return f"only with an NVIDIA GPU: {extra.install}"
