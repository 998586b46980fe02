"""What this machine is: processor, memory, system, GPUs, and which device of the catalogue, if any.

No host name, user or serial number is read: the record goes into reports that are shared.
"""

from __future__ import annotations

import platform
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .cgroup import memory_limit
from .device import Device, catalog
from .jetson import power_mode
from .nvidia import NvidiaGpu, NvmlAbsent, nvidia_gpus
from .processor import Processor, processor
from .reading import text

FILES = (
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/self/status",
    "proc/sys/kernel/osrelease",
    "proc/device-tree/model",
    "sys/firmware/devicetree/base/model",
    "sys/class/dmi/id/product_name",
    "etc/os-release",
    "etc/nv_tegra_release",
    "etc/nvpmodel.conf",
    "var/lib/nvpmodel/status",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
)
"""What tells a machine, below its root; most have only some of them."""
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Here:
    """This machine. Memory in bytes; `memory_limit_bytes` is the control group's, None when there is none.

    `board` is what the board or machine calls itself, `l4t` the release of Jetson Linux on it, such as `R36.4.3`, and
    `power_mode` the mode of nvpmodel that is set there, such as `MAXN (0)`. `governor` is what chooses the processor's
    clock, such as `schedutil`.
    `gpus_note` says why there are no `gpus`, `device_note` why `device` (an id of the catalogue) is None.
    """

    cpu: Processor
    memory_bytes: int
    memory_limit_bytes: int | None
    os: str
    kernel: str
    libc: str
    python: str
    board: str | None
    l4t: str | None
    power_mode: str | None
    governor: str | None
    gpus: tuple[NvidiaGpu, ...]
    gpus_note: str
    device: str | None
    device_note: str

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "cpu": self.cpu.to_json(), "gpus": [asdict(gpu) for gpu in self.gpus]}


def here(root: Path = Path("/")) -> Here:
    """Look at this machine, or at a copy of its /proc, /sys and /etc under `root`."""
    libc = " ".join(platform.libc_ver()).strip() or UNKNOWN
    found = _machine(root, processor(root), libc, platform.python_version(), _gpus())
    return replace(found, os=found.os or platform.system(), kernel=found.kernel or platform.release())


def there(root: Path, architecture: str, libc: str) -> Here:
    """Another machine, without Python, of which a copy of the files in `FILES` lies under `root`.

    `architecture` as its `uname -m` says it, `libc` as its `getconf GNU_LIBC_VERSION` does.
    """
    unseen = (), "not available: a driver cannot be asked from another machine"
    found = _machine(root, processor(root, architecture or UNKNOWN), libc or UNKNOWN, "none", unseen)
    return replace(found, os=found.os or UNKNOWN, kernel=found.kernel or UNKNOWN)


def _machine(root: Path, cpu: Processor, libc: str, python: str, seen: tuple[tuple[NvidiaGpu, ...], str]) -> Here:
    memory_bytes = _memory(root)
    board = _board(root)
    gpus, gpus_note = seen
    device = find_board((board or "", cpu.model), memory_bytes)
    return Here(
        cpu=cpu,
        memory_bytes=memory_bytes,
        memory_limit_bytes=memory_limit(root),
        os=_os_name(root),
        kernel=text(root / "proc/sys/kernel/osrelease"),
        libc=libc,
        python=python,
        board=board,
        l4t=_l4t(root),
        power_mode=power_mode(root),
        governor=text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        gpus=gpus,
        gpus_note=gpus_note,
        device=device.id if device else None,
        device_note="" if device else _why_none(board, memory_bytes),
    )


def find_board(names: tuple[str, ...], memory_bytes: int) -> Device | None:
    """The device of the catalogue that one of `names` belongs to: the one with the longest matching `board_names`.

    Editions of a board share a name and differ in memory, and then in cores and clocks too. So where GPU and CPU
    share the memory, 0.7 to 1.1 times the catalogue's size must be there: the kernel keeps some, GiB are not GB.
    """
    matches = [
        (len(part), device)
        for device in catalog()
        for part in device.board_names
        if any(part.casefold() in name.casefold() for name in names)
    ]
    if not matches:
        return None
    device = max(matches, key=lambda match: match[0])[1]
    size_gb = device.memory.size_gb
    if device.memory.unified and size_gb and not 0.7 <= memory_bytes / (size_gb * 1e9) <= 1.1:
        return None
    return device


def _why_none(board: str | None, memory_bytes: int) -> str:
    if not board:
        return "not available: neither device tree nor DMI names this machine"
    return f"{board} with {memory_bytes / 1e9:.1f} GB is not in the catalogue"


def _gpus() -> tuple[tuple[NvidiaGpu, ...], str]:
    try:
        found = nvidia_gpus()
    except NvmlAbsent as reason:
        return (), f"not available: {reason}"
    return found, "" if found else "not available: the driver lists no GPU"


def _board(root: Path) -> str | None:
    """The model of the device tree (Arm boards) or of DMI (PCs, servers)."""
    dmi = root / "sys/class/dmi/id/product_name"
    tree = text(root / "proc/device-tree/model") or text(root / "sys/firmware/devicetree/base/model")
    return tree or text(dmi) or None


def _l4t(root: Path) -> str | None:
    """`R32.7.1` out of `# R32 (release), REVISION: 7.1, GCID: ...`."""
    found = re.match(r"#\s*(R\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", text(root / "etc/nv_tegra_release"))
    return f"{found[1]}.{found[2]}" if found else None


def _os_name(root: Path) -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', text(root / "etc/os-release"), re.MULTILINE)
    return found[1] if found else ""


def _memory(root: Path) -> int:
    found = re.search(r"^MemTotal:\s*(\d+) kB", text(root / "proc/meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
