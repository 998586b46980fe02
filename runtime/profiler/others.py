"""Whether other processes disturbed what was measured."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ...devices.probes import OtherCores

BUSY_CORES = 0.1
"""From here on a run counts as disturbed: a tenth of a core taken by others moves a p90."""


class OthersWatch:
    """`with OthersWatch() as others: ...`, then `others.cores`: the mean number of cores that other processes used.

    It is None where the kernel does not tell. One reading at each end, so that nothing runs in between.
    """

    cores: float | None = None

    def __enter__(self) -> OthersWatch:
        self._probe = OtherCores(Path("/"))
        self._read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._read()

    def _read(self) -> None:
        with suppress(OSError, ValueError):
            cores = self._probe()
            self.cores = None if cores is None else round(cores, 3)


def busy(cores: float | None) -> bool:
    """True when others used so much that the samples are not this program's alone."""
    return cores is not None and cores > BUSY_CORES
