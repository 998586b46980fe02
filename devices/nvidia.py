"""NVIDIA's management library (NVML): which GPUs there are, which of them CUDA uses, and the handle of the sensors."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

DRIVER = "libcuda.so.1"
_PCI_TEXT = 32


class NvmlAbsent(Exception):
    """NVML cannot be used here; the message says why. Callers show it, it is no failure of a command."""


@dataclass(frozen=True, slots=True)
class NvidiaGpu:
    """One GPU as NVML reports it. `compute_capability` is `major.minor`.

    `pci` is its place on the bus, which tells it from others of the machine; None where it is on none. (A UUID would do
    so in all the world, and records are shared.)
    """

    index: int
    name: str
    memory_bytes: int | None
    compute_capability: str
    driver: str
    pci: str | None = None


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


def gpu_in_use(gpus: Sequence[NvidiaGpu]) -> NvidiaGpu | str:
    """The one of `gpus` that is CUDA's device 0 in this process, on which sessions run; or why that is not known.

    `gpus` has one or more. Of several, CUDA itself is asked: its order is its own (CUDA_VISIBLE_DEVICES,
    CUDA_DEVICE_ORDER), not NVML's.
    """
    if len(gpus) == 1:
        return gpus[0]
    try:
        pci = _cuda_pci()
    except OSError as error:
        return f"CUDA does not tell which GPU it uses ({error})"
    return next((gpu for gpu in gpus if gpu.pci and _place(gpu.pci) == _place(pci)), f"NVML lists no GPU at {pci}")


def _cuda_pci() -> str:
    """Where CUDA's device 0 is on the bus, such as `0000:65:00.0`. Raises OSError."""
    driver: Any = ctypes.CDLL(DRIVER)
    device, text = ctypes.c_int(), ctypes.create_string_buffer(_PCI_TEXT)
    _checked(driver, "cuInit", 0)
    _checked(driver, "cuDeviceGet", ctypes.byref(device), 0)
    _checked(driver, "cuDeviceGetPCIBusId", text, _PCI_TEXT, device)
    return text.value.decode()


def _checked(driver: Any, call: str, *arguments: Any) -> None:
    if status := getattr(driver, call)(*arguments):
        raise OSError(f"{call} fails with {status}")


def _place(pci: str) -> tuple[int, ...]:
    """Domain, bus, device and function: CUDA writes the domain with four digits, NVML with eight."""
    return tuple(int(part, 16) for part in pci.replace(".", ":").split(":"))


def _gpu(lib: Any, index: int, driver: str) -> NvidiaGpu:
    handle = lib.nvmlDeviceGetHandleByIndex(index)
    major, minor = lib.nvmlDeviceGetCudaComputeCapability(handle)
    try:
        memory = int(lib.nvmlDeviceGetMemoryInfo(handle).total)
    except lib.NVMLError:
        memory = None  # boards whose GPU shares the CPU's memory answer "not supported"
    try:
        found = lib.nvmlDeviceGetPciInfo(handle).busId
        pci = found.decode() if isinstance(found, bytes) else str(found)
    except lib.NVMLError:
        pci = None
    return NvidiaGpu(index, str(lib.nvmlDeviceGetName(handle)), memory, f"{major}.{minor}", driver, pci)
