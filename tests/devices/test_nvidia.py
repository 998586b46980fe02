import ctypes
import sys
import time
from typing import Any

import pytest

from helmsight.devices import nvidia
from helmsight.devices.here import here
from helmsight.devices.nvidia import NvidiaGpu, NvmlAbsent, gpu_in_use, nvidia_gpus
from helmsight.devices.sensors import Stat, sample_sensors

from .fake_nvml import FakeNvml, NVMLError


@pytest.fixture
def lib(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_gpus_are_listed_and_the_library_is_let_go(lib: FakeNvml) -> None:
    assert nvidia_gpus() == (NvidiaGpu(0, "Tesla V100-SXM2-16GB", 16 * 2**30, "7.0", "550.54.15", "00000000:1A:00.0"),)
    assert lib.open == 0
    assert here().gpus_note == ""


def test_a_gpu_that_shares_the_memory_has_no_size_of_its_own(lib: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(handle: int) -> None:
        raise NVMLError("Not Supported")

    monkeypatch.setattr(lib, "nvmlDeviceGetMemoryInfo", unsupported)
    assert nvidia_gpus()[0].memory_bytes is None


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(NvmlAbsent, match="nvidia-ml-py is not installed"):
        nvidia_gpus()
    assert here().gpus_note == "not available: the package nvidia-ml-py is not installed"


def test_a_driver_that_fails_is_said(lib: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> int:
        raise NVMLError("GPU is lost")

    monkeypatch.setattr(lib, "nvmlDeviceGetCount", fails)
    with pytest.raises(NvmlAbsent, match="GPU is lost"):
        nvidia_gpus()
    with sample_sensors(0.01) as sensors:
        pass
    assert sensors.summary().readings["gpu"] == "NVML fails (GPU is lost)"


def test_sensors_of_a_gpu(lib: FakeNvml) -> None:
    lib.throttle_reasons = 0x20 | 0x01  # software thermal slowdown, and idle, which is no throttling
    with sample_sensors(0.01) as sensors:
        assert lib.open == 1
    readings = sensors.summary().readings
    power, clock, throttled = (readings[f"gpu0.{name}"] for name in ("power_w", "sm_mhz", "throttled_thermal"))
    assert isinstance(power, Stat)
    assert (power.minimum, power.maximum) == (42.5, 42.5)
    assert isinstance(clock, Stat)
    assert clock.mean == 1530
    assert isinstance(throttled, Stat)
    assert throttled.mean == 1.0
    for other in ("power", "hardware"):
        reason = readings[f"gpu0.throttled_{other}"]
        assert isinstance(reason, Stat)
        assert reason.maximum == 0
    assert readings["gpu0.temperature_c"] == "Not Supported"
    assert lib.open == 0


def test_an_idle_gpu_is_not_throttled(lib: FakeNvml) -> None:
    lib.throttle_reasons = 0x01
    with sample_sensors(0.01) as sensors:
        pass
    for reason in ("power", "thermal", "hardware"):
        throttled = sensors.summary().readings[f"gpu0.throttled_{reason}"]
        assert isinstance(throttled, Stat)
        assert throttled.maximum == 0.0


def test_power_is_by_the_energy_counter_where_there_is_one(lib: FakeNvml) -> None:
    lib.energy_mj = 5_000_000
    begin = time.monotonic()
    with sample_sensors(10) as sensors:
        time.sleep(0.2)
        lib.energy_mj += 10_000
    wall = time.monotonic() - begin
    power = sensors.summary().readings["gpu0.power_w"]
    assert isinstance(power, Stat)
    assert 10 / wall * 0.9 <= power.mean <= 10 / 0.2


class FakeDriver:
    """libcuda's calls, with device 0 at `pci`; or one of them fails with a code."""

    def __init__(self, pci: bytes = b"", fails: str = "") -> None:
        self.pci, self.fails = pci, fails

    def cuInit(self, flags: int) -> int:
        return 100 if self.fails == "cuInit" else 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        assert ordinal == 0
        device._obj.value = 7
        return 0

    def cuDeviceGetPCIBusId(self, text: Any, size: int, device: ctypes.c_int) -> int:
        assert device.value == 7
        assert size > len(self.pci)
        text.value = self.pci
        return 0


def test_of_several_gpus_cuda_tells_the_one_in_use(lib: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    lib.count = 3
    monkeypatch.setattr(nvidia.ctypes, "CDLL", lambda name: FakeDriver(b"0000:1c:00.0"))
    found = gpu_in_use(nvidia_gpus())
    assert isinstance(found, NvidiaGpu)
    assert (found.index, found.pci) == (2, "00000000:1C:00.0")
    monkeypatch.setattr(nvidia.ctypes, "CDLL", lambda name: FakeDriver(b"0001:1c:00.0"))
    assert gpu_in_use(nvidia_gpus()) == "NVML lists no GPU at 0001:1c:00.0", "the same bus of another domain"


def test_what_cuda_does_not_tell_is_said(lib: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    lib.count = 2
    monkeypatch.setattr(nvidia.ctypes, "CDLL", lambda name: FakeDriver(fails="cuInit"))
    assert gpu_in_use(nvidia_gpus()) == "CUDA does not tell which GPU it uses (cuInit fails with 100)"
    monkeypatch.undo()
    monkeypatch.setattr(nvidia, "DRIVER", "libcuda-that-is-not-here.so")
    monkeypatch.setitem(sys.modules, "pynvml", lib)
    assert "CUDA does not tell which GPU it uses (libcuda-that-is-not-here.so: cannot open" in str(
        gpu_in_use(nvidia_gpus())
    )


def test_a_single_gpu_needs_no_asking(lib: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "DRIVER", "libcuda-that-is-not-here.so")
    assert gpu_in_use(nvidia_gpus()) == nvidia_gpus()[0]
