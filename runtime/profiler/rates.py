"""What this machine computes and moves at the most: measured of a processor, out of the catalogue of a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from ...devices.device import Device
from ...devices.prediction import BYTES, peak_gflops

TIMEOUT_S = 60
_BLAS_THREADS = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True, slots=True)
class Rates:
    """1e9 operations and 1e9 bytes a second at the most, None where that is not known, and how it is known."""

    peak_gflops: float | None
    bandwidth_gb_s: float | None
    origin: str


def rates_of(device: str, precision: str, threads: int, board: Device | None) -> Rates:
    """The rates of a session's `device` in `precision`: of this processor with `threads`, or of the `board`'s GPU."""
    if device == "cpu":
        return measured_rates(precision, threads)
    if board is None:
        return Rates(None, None, "not available: the catalogue does not have this machine")
    return Rates(catalogued_peak(board, precision), board.memory.bandwidth_gb_s, f"the catalogue's, of {board.name}")


def measured_rates(precision: str, threads: int) -> Rates:
    """Of this processor, by a matrix product and a copy of numpy's: the best of half a second each."""
    child = [sys.executable, "-m", "helmsight.runtime.profiler.speed", str(threads)]
    environment = os.environ | dict.fromkeys(_BLAS_THREADS, "1")
    try:
        done = subprocess.run(child, capture_output=True, text=True, timeout=TIMEOUT_S, check=True, env=environment)
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Rates(None, None, f"not available: they could not be measured ({type(error).__name__})")
    said = f"measured on that machine with {threads} thread{'s' * (threads != 1)}, by numpy's matrix product and copy"
    return Rates(found["gflops"] if precision == "fp32" else None, found["gb_s"], said)


def catalogued_peak(board: Device | None, precision: str, on_cpu: bool = False) -> float | None:
    """What the catalogue says that a board computes at the most: 1e9 operations a second, of one GPU or of its CPU."""
    if board is None:
        return None
    if on_cpu or board.gpu is None:
        return board.cpu.fp32_gflops if board.cpu and precision == "fp32" else None
    return peak_gflops(board.gpu, precision) if precision in BYTES else None
