"""A `pynvml` with one GPU or more, for machines that have none. It checks that it is initialised.

It lacks one sensor.
"""

from types import SimpleNamespace

NVML_CLOCK_SM = 1
NVML_TEMPERATURE_GPU = 0


class NVMLError(Exception):
    """As pynvml's: the driver's own text."""


class FakeNvml:
    """The calls that helmsight makes, with a V100's answers; tests may set `throttle_reasons`, `energy_mj` and `count`.

    The GPUs lie on buses 0x1a, 0x1b, ...; each draws a watt more than the one before.
    """

    NVMLError = NVMLError
    NVML_CLOCK_SM = NVML_CLOCK_SM
    NVML_TEMPERATURE_GPU = NVML_TEMPERATURE_GPU

    def __init__(self) -> None:
        self.open = 0
        self.throttle_reasons = 0
        self.energy_mj: int | None = None
        self.count = 1

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "550.54.15"

    def nvmlDeviceGetCount(self) -> int:
        self._check()
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "Tesla V100-SXM2-16GB"

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:
        return 7, 0

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(total=16 * 2**30)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        """Millijoules since the driver was loaded; GPUs before Volta do not have it."""
        if self.energy_mj is None:
            raise NVMLError("Not Supported")
        return self.energy_mj

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        self._check()
        return 42_500 + 1000 * handle

    def nvmlDeviceGetPciInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(busId=f"00000000:{0x1A + handle:02X}:00.0")

    def nvmlDeviceGetClockInfo(self, handle: int, clock: int) -> int:
        assert clock == NVML_CLOCK_SM
        return 1530

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        raise NVMLError("Not Supported")

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:
        return self.throttle_reasons

    def _check(self) -> None:
        if not self.open:
            raise NVMLError("Uninitialized")
