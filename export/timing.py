"""How fast a lower precision is beside fp32: on one thread and in turns, so that other load hits both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from ..runtime.backends import Feeds, OnnxRuntimeSettings, Session, SessionOptions, load
from ..runtime.bundle import Bundle
from ..runtime.tuning import TIE
from .targets import CPU

WORTH_IT = 1.3
"""int8 that is not so many times as fast as fp32 is not worth what it loses."""
SECONDS = 1.0


def latencies_ms(
    sessions: Mapping[str, Session], feeds: Sequence[Feeds], seconds: float, pause_s: float = 0.0
) -> dict[str, list[float]]:
    """Latencies in ms of each session, in turns for `seconds`, at least 20 of each after 3 more.

    A pause before each run lets the threads of the one before come to rest, where these wait by working.
    """
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    for session in list(sessions.values()) * 3:
        session.run(feeds[0])
    end, turn = time.perf_counter() + seconds, 0
    while turn < 20 or time.perf_counter() < end:
        for name, session in sessions.items():
            time.sleep(pause_s)
            begin = time.perf_counter_ns()
            session.run(feeds[turn % len(feeds)])
            taken[name].append((time.perf_counter_ns() - begin) / 1e6)
        turn += 1
    return taken


def fastest_optimisation(bundle: Bundle, feeds: Sequence[Feeds], seconds: float = SECONDS / 2) -> str:
    """The level of graph optimisation at which ONNX Runtime runs `bundle` fastest on one thread: `all` or `extended`.

    What `all` adds are layouts that suit convolutions in fp32: some networks in int8 take twice as long with them.
    """
    with ExitStack() as opened:
        sessions: dict[str, Session] = {}
        for level in ("all", "extended"):
            options = SessionOptions(CPU, 1, settings=OnnxRuntimeSettings(optimisation=level))
            sessions[level] = opened.enter_context(load(bundle, options))
        taken = latencies_ms(sessions, feeds, seconds)
    ratio = statistics.median(a / e for a, e in zip(taken["all"], taken["extended"], strict=True))
    return "extended" if ratio > 1 + TIE else "all"


def times_as_fast(
    full: Bundle, lower: Bundle, feeds: Sequence[Feeds], seconds: float = SECONDS, device: str = CPU
) -> dict[str, Any]:
    """Median latencies of both in ms and how many times as fast `lower` is, as the manifest records it.

    On one thread, `lower` on `device` beside `full` in ONNX Runtime.
    """
    with load(full, SessionOptions(CPU, 1)) as before, load(lower, SessionOptions(device, 1)) as after:
        taken = latencies_ms({"full": before, "lower": after}, feeds, seconds)
    full_ms, lower_ms = (statistics.median(taken[name]) for name in ("full", "lower"))
    return {
        "times_as_fast": round(full_ms / lower_ms, 3),
        "ms": round(lower_ms, 4),
        "fp32_ms": round(full_ms, 4),
        "threads": 1,
        "n": len(taken["full"]),
    }
