"""What the C library keeps of freed memory. Only glibc has these switches; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

ARENAS = 2
"""Heaps that malloc may have. It takes one for each thread, up to eight a core, and each keeps what its thread freed:
a reader that is opened anew after each loss of its camera would leave one behind. Our threads rarely allocate at the
same time, so two are as fast as many."""
_M_ARENA_MAX = -8  # malloc.h


def limit_arenas() -> None:
    """At most `ARENAS` heaps for the process; call it early, since those that are there stay."""
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Free memory goes to the system; some milliseconds."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
