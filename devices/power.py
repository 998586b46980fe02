"""Which of a machine's power sensors add up to what its work takes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

PREFIX = "power_w"

# The rails that make up a Jetson module, each measured once; the carrier board is not among them. Where the module's
# input is measured it holds all others. The AGX modules have two inputs and no monitor there: of Xavier all six rails
# lie side by side, of Orin the memory's (VDDQ_VDD2_1V8AO) is a part of VIN_SYS_5V0. NVIDIA's developer guides, Platform
# Power and Performance, and product design guides, Power.
MODULES = (
    ("VDD_IN",),  # TX1, TX2, Xavier NX, Orin Nano, Orin NX
    ("POM_5V_IN",),  # Nano
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin
    ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"),  # AGX Thor
)


@dataclass(frozen=True, slots=True)
class Meter:
    """Sensors whose sum is the power of `of`."""

    of: str
    sensors: tuple[str, ...]


def meter(names: Collection[str], on_gpu: bool) -> Meter | None:
    """What measures a run among sensors of these names: the module, else the GPU that it is on, else the processor.

    None where nothing does, or where several GPUs do, as where it is not known which of them ran it. A GPU's own sensor
    leaves out the rest of the machine, and RAPL what is not the package.
    """
    for rails in MODULES:
        sensors = tuple(f"{PREFIX}.{rail}" for rail in rails)
        if all(sensor in names for sensor in sensors):
            return Meter(f"the module ({' + '.join(rails)})", sensors)
    if on_gpu:
        gpus = gpus_of(names)
        return Meter(f"the GPU ({gpus[0]})", gpus) if len(gpus) == 1 else None
    packages = tuple(sorted(name for name in names if name.startswith(f"{PREFIX}.package-")))
    return Meter("the processor (RAPL)", packages) if packages else None


def gpus_of(names: Collection[str]) -> tuple[str, ...]:
    """The sensors of power among `names` that are a GPU's own."""
    return tuple(sorted(name for name in names if name.startswith("gpu") and name.endswith(PREFIX)))
