"""How fast this processor multiplies and copies, measured in a process of its own.

`python -m helmsight.runtime.profiler.speed THREADS` prints {"gflops", "gb_s"} as JSON. Each thread multiplies matrices
of its own, with a BLAS library that the environment (`rates.py`) tells to use one: on a busy machine the threads of
one product would wait for each other, and that is no limit of the machine's.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import numpy as np

SIDE = 512
"""Of the square matrices that are multiplied: 2.7e8 operations, so short that another process seldom comes between."""
BUFFER_BYTES = 128 << 20
"""Of what is copied, and of where to: more than most caches hold."""
COPY_BYTES = 8 << 20
"""Of one copy, as short for the same reason; the next one is of the bytes behind it."""
SECONDS = 0.5


def main(arguments: Sequence[str]) -> int:
    """See the module."""
    threads = int(arguments[0])
    source, target = np.ones((2, BUFFER_BYTES), np.uint8)
    part = COPY_BYTES // threads
    starts = cycle(range(0, BUFFER_BYTES - COPY_BYTES + 1, COPY_BYTES))

    def copy(at: int) -> None:
        np.copyto(target[at : at + part], source[at : at + part])

    def copy_all() -> None:
        start = next(starts)
        list(pool.map(copy, range(start, start + threads * part, part)))

    with ThreadPoolExecutor(threads) as pool:
        gflops = sum(pool.map(_multiply_gflops, range(threads)))
        copy_s = _best_s(copy_all)
    # Each byte is read once and written once, as STREAM counts it.
    gb_s = 2 * threads * part / copy_s / 1e9
    print(json.dumps({"gflops": round(gflops, 3), "gb_s": round(gb_s, 3)}))
    return 0


def _multiply_gflops(seed: int) -> float:
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal((SIDE, SIDE), np.float32) for _ in range(2))
    product = np.empty_like(a)
    return 2 * SIDE**3 / _best_s(lambda: np.matmul(a, b, out=product)) / 1e9


def _best_s(work: Callable[[], object]) -> float:
    """The least time of one call: what other processes take away is no limit of the machine's."""
    work()
    end, best = time.perf_counter() + SECONDS, float("inf")
    while (begin := time.perf_counter()) < end or best == float("inf"):
        work()
        best = min(best, time.perf_counter() - begin)
    return best


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
