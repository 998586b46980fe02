"""What the control group of this process allows, version 1 or 2 of the kernel's interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

UNLIMITED_V1 = 1 << 62
"""Version 1 writes its largest page-aligned number for "no limit"; no machine has as much memory as this."""


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPU time over wall time that the process may use, in cores; None when nothing limits it."""
    quotas = []
    for folder in _folders(root, "cpu"):
        if limit := _words(folder / "cpu.max"):
            quota, period = limit
        else:
            quota = "".join(_words(folder / "cpu.cfs_quota_us"))
            period = "".join(_words(folder / "cpu.cfs_period_us"))
        if quota not in ("", "max", "-1") and period:
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes of memory that the process and its group may use; None when nothing limits it."""
    limits = []
    for folder in _folders(root, "memory"):
        words = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        if words and words[0] != "max" and int(words[0]) < UNLIMITED_V1:
            limits.append(int(words[0]))
    return min(limits, default=None)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """The process's group for this controller and every group above it: the tightest limit counts.

    In a container the path of /proc/self/cgroup may be the host's and not exist here; the top of the tree is then
    the container's own group, and is among those that are read.
    """
    base = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            mount = base
        elif controller in controllers.split(","):
            mount = next((m for m in (base / controllers, base / controller) if m.is_dir()), base / controller)
        else:
            continue
        folder = mount / path.lstrip("/")
        yield from (f for f in (folder, *folder.parents) if f.is_relative_to(mount))


def _words(file: Path) -> list[str]:
    return [word for line in _lines(file) for word in line.split()]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
