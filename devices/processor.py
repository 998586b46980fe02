"""The processor of this machine: model, cores that this process may use, and the instructions that matter to us."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .cgroup import cpu_quota

# Flags of /proc/cpuinfo (x86 `flags`, Arm `Features`) and the names their makers use. Those listed change how fast a
# network runs: vector width, half precision, 8-bit dot products.
ISA: Mapping[str, str] = {
    "avx": "AVX",
    "avx2": "AVX2",
    "fma": "FMA",
    "f16c": "F16C",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "avx512_fp16": "AVX-512 FP16",
    "amx_int8": "AMX INT8",
    "amx_bf16": "AMX BF16",
    "neon": "NEON",
    "asimd": "NEON",
    "vfpv4": "VFPv4",
    "asimdhp": "FP16",
    "asimddp": "dotprod",
    "i8mm": "I8MM",
    "bf16": "BF16",
    "sve": "SVE",
    "sve2": "SVE2",
}

# (implementer, part) of the cores in the catalogue's boards: MIDR_EL1 of Arm's and NVIDIA's manuals, as in Linux'
# arch/arm64/include/asm/cputype.h.
ARM_PARTS: Mapping[tuple[int, int], str] = {
    (0x41, 0xC0F): "Cortex-A15",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD83): "Neoverse-V3AE",
    (0x41, 0xD85): "Cortex-X925",
    (0x41, 0xD87): "Cortex-A725",
    (0x4E, 0x003): "Denver 2",
    (0x4E, 0x004): "Carmel",
}


@dataclass(frozen=True, slots=True)
class Processor:
    """The processor and what of it this process may use.

    `affinity_cores` counts the affinity mask, `quota_cores` is the control group's CPU time over wall time (None:
    no limit). A core that was switched off (nvpmodel does that) is not counted.
    """

    model: str
    architecture: str
    physical_cores: int
    logical_cores: int
    affinity_cores: int
    quota_cores: float | None
    isa: tuple[str, ...]

    @property
    def usable_cores(self) -> int:
        """Threads that can run at once without being throttled: the lesser of mask and quota, at least 1."""
        return max(1, int(min(self.affinity_cores, self.quota_cores or self.affinity_cores)))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "usable_cores": self.usable_cores, "isa": list(self.isa)}


def processor(root: Path = Path("/"), architecture: str = "") -> Processor:
    """Read the processor from `root`/proc and `root`/sys; `architecture` is another machine's `uname -m`."""
    cores = _cores((root / "proc/cpuinfo").read_text())
    logical = max(1, len(cores))
    flags = " ".join(core.get("flags") or core.get("Features") or "" for core in cores[:1]).split()
    return Processor(
        model=_model(cores),
        architecture=architecture or platform.machine(),
        physical_cores=_physical(cores) or logical,
        logical_cores=logical,
        affinity_cores=_affinity(root) or logical,
        quota_cores=cpu_quota(root),
        isa=tuple(dict.fromkeys(name for flag, name in ISA.items() if flag in flags)),
    )


def _cores(text: str) -> list[dict[str, str]]:
    """One mapping a core out of /proc/cpuinfo; the block that 32-bit Arm adds for the whole board is left out."""
    blocks = ([line.partition(":") for line in block.splitlines()] for block in text.split("\n\n"))
    cores = [{key.strip(): value.strip() for key, _, value in block} for block in blocks]
    return [core for core in cores if "processor" in core]


def _model(cores: list[dict[str, str]]) -> str:
    parts = [(core.get("CPU implementer"), core.get("CPU part")) for core in cores]
    if all(implementer and part for implementer, part in parts) and parts:
        counts = Counter(_arm_name(str(implementer), str(part)) for implementer, part in parts)
        return " + ".join(f"{n}x {name}" for name, n in counts.items())
    names = [name for core in cores if (name := core.get("model name") or core.get("cpu model"))]
    return names[0] if names else "unknown"


def _arm_name(implementer: str, part: str) -> str:
    return ARM_PARTS.get((int(implementer, 16), int(part, 16)), f"Arm core {implementer}/{part}")


def _physical(cores: list[dict[str, str]]) -> int:
    return len({(c["physical id"], c["core id"]) for c in cores if "core id" in c and "physical id" in c})


def _affinity(root: Path) -> int:
    """How many processors `Cpus_allowed_list` of /proc/self/status names, such as `0-3,6`."""
    for line in (root / "proc/self/status").read_text().splitlines():
        if line.startswith("Cpus_allowed_list:"):
            spans = [span.partition("-") for span in line.partition(":")[2].strip().split(",") if span]
            return sum(int(last or first) - int(first) + 1 for first, _, last in spans)
    return 0
