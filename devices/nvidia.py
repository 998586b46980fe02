"""NVIDIA's management library (NVML): which GPUs there are, and the handle that the sensors read them through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


class NvmlAbsent(Exception):
    """NVML cannot be used here; the message says why. Callers show it, it is no failure of a command."""


@dataclass(frozen=True, slots=True)
class NvidiaGpu:
    """One GPU as NVML reports it. `compute_capability` is `major.minor`."""

    index: int
    name: str
    memory_bytes: int | None
    compute_capability: str
    driver: str


@contextmanager
def nvml() -> Iterator[Any]:
    """The initialised `pynvml` module, shut down at the end. Raises NvmlAbsent."""
    try:
        import pynvml
    except ImportError:
        raise NvmlAbsent("the package nvidia-ml-py is not installed") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NvmlAbsent(f"no NVIDIA driver answers ({error})") from None
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def nvidia_gpus() -> tuple[NvidiaGpu, ...]:
    """The GPUs that NVML lists. Raises NvmlAbsent when it is not there or fails."""
    with nvml() as lib:
        try:
            driver = str(lib.nvmlSystemGetDriverVersion())
            return tuple(_gpu(lib, index, driver) for index in range(lib.nvmlDeviceGetCount()))
        except lib.NVMLError as error:
            raise NvmlAbsent(f"NVML fails ({error})") from None


def _gpu(lib: Any, index: int, driver: str) -> NvidiaGpu:
    handle = lib.nvmlDeviceGetHandleByIndex(index)
    major, minor = lib.nvmlDeviceGetCudaComputeCapability(handle)
    try:
        memory = int(lib.nvmlDeviceGetMemoryInfo(handle).total)
    except lib.NVMLError:
        memory = None  # boards whose GPU shares the CPU's memory answer "not supported"
    return NvidiaGpu(index, str(lib.nvmlDeviceGetName(handle)), memory, f"{major}.{minor}", driver)
