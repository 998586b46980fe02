"""What the C library keeps of freed memory. Only glibc has these switches; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_M_ARENA_MAX = -8  # malloc.h


def share_one_heap() -> None:
    """One heap for all threads of the process; call it before there are others, since a heap that is there stays.

    glibc makes one for each thread, up to eight a core, and gives back the free end of the first only. A reader that is
    opened anew after each loss of its camera would leave what it took in one after the other. The price is that threads
    wait for each other to allocate; frames/s of the pipeline are the same with and without.
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Free memory goes to the system. With one heap nobody else allocates meanwhile.

    It takes the longer the more of the heap is free in pieces. At the worst measured, 120 MB with nine blocks of ten
    free on two busy cores, it took 50 to 150 ms, another thread's malloc waited as long, and the Stop for a camera's
    silence that fell due in it came up to 16 ms after its `max_age_ms`, else 0.4 ms. So it is called where no frames
    come: before the first one, and after a camera was lost.
    """
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
