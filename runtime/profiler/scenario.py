"""How queries arrive: one after the other, all at once on several streams, or at the pace of a camera.

After MLPerf's single-stream and offline scenarios (Reddi et al., ISCA 2020, arXiv 1911.02549). Its server and
multi-stream scenarios are for data centres; a robot has a camera, which neither waits nor queues.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import UsageError
from ..json_form import NUMBER, Fields, check_form
from .stats import interval
from .stream import Limits, Stage, Streamed, Times, stream

SINGLE_STREAM, OFFLINE, CAMERA = SCENARIOS = ("single-stream", "offline", "camera")
WAIT = "wait"
WINDOWS, DRAWS = 32, 1000
_OUTCOMES = {
    SINGLE_STREAM: Fields(),
    OFFLINE: Fields({"streams": int, "per_s": NUMBER, "low": NUMBER, "high": NUMBER}, {"per_s_over": str}),
    CAMERA: Fields({"fps": NUMBER, "deadline_ms": NUMBER, "arrived": int, "overwritten": int, "late": int}),
}
WHOLE_RUN = "the whole run"
"""What a throughput is over. Older records do not say so: theirs leaves out what lies between two queries."""
MOST_STREAMS, FASTEST_FPS = 64, 10_000.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One of SCENARIOS and what belongs to it; UsageError for what no scenario has.

    `streams` of offline work side by side, each with a session of its own; 0: as many as cores may be used. Frames of
    camera arrive at `fps`, and a result is wanted within `deadline_ms` of its frame's arrival; 0: before the next one.
    """

    name: str = SINGLE_STREAM
    streams: int = 0
    fps: float = 30.0
    deadline_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in SCENARIOS:
            raise UsageError(f"--scenario {self.name}: expected one of {', '.join(SCENARIOS)}")
        if not 0 <= self.streams <= MOST_STREAMS:
            raise UsageError(f"--streams {self.streams}: expected 0, for as many as cores, to {MOST_STREAMS}")
        if not 0 < self.fps <= FASTEST_FPS:
            raise UsageError(f"--rate {self.fps:g}: expected frames a second, more than 0 and at most {FASTEST_FPS:g}")
        if not 0 <= self.deadline_ms < 1e6:
            raise UsageError(f"--deadline {self.deadline_ms:g}: expected milliseconds, 0 for one frame time")

    def arguments(self) -> tuple[str, ...]:
        """The options of `helmsight profile` that ask for it."""
        given = {
            OFFLINE: ("--streams", str(self.streams)),
            CAMERA: ("--rate", str(self.fps), "--deadline", str(self.deadline_ms)),
        }
        return () if self.name == SINGLE_STREAM else ("--scenario", self.name, *given[self.name])

    @property
    def wanted_ms(self) -> float:
        """The deadline, that of one frame time filled in."""
        return self.deadline_ms or 1000 / self.fps


@dataclass(frozen=True, slots=True)
class Paced:
    """Of a camera's frames: how many `arrived` and how many of them were `overwritten` by newer ones, never answered.

    `times` is (answered, 1 + stages) nanoseconds, first the wait from the arrival to the first stage.
    """

    times: Times
    arrived: int
    overwritten: int

    def outcome(self, scenario: Scenario) -> dict[str, Any]:
        """The scenario with what became of its frames; `late` came after the deadline."""
        late = int((self.times.sum(axis=1) > scenario.wanted_ms * 1e6).sum())
        counts = {"arrived": self.arrived, "overwritten": self.overwritten, "late": late}
        return {"name": CAMERA, "fps": scenario.fps, "deadline_ms": round(scenario.wanted_ms, 3)} | counts


def paced(items: Sequence[Any], stages: Sequence[Stage], limits: Limits, fps: float) -> Paced:
    """Send `items` as a camera would: one each 1/`fps` seconds, whether or not the last one is answered.

    Only the newest frame counts: one that arrives while another is worked on waits, and is overwritten by the next.
    Ends when `limits` are reached, by the frames that arrived.
    """
    clock, period_ns = time.perf_counter_ns, 1e9 / fps
    times = array("Q")
    start = clock()
    frame, overwritten = 0, 0
    frames = max(limits.queries, round(limits.duration_s * fps))
    while frame < frames:
        arrival = start + round(frame * period_ns)
        now = clock()
        while now < arrival:
            time.sleep((arrival - now) / 1e9)
            now = clock()
        value, before = items[frame % len(items)], clock()
        times.append(before - arrival)
        for stage in stages:
            value = stage(value)
            now = clock()
            times.append(now - before)
            before = now
        # What arrived meanwhile: the newest of it is next, the others nobody will see.
        newest = min(int((before - start) / period_ns), frames - 1)
        overwritten += max(0, newest - frame - 1)
        frame = max(newest, frame + 1)
    return Paced(np.array(times, np.uint64).reshape(-1, 1 + len(stages)), frames, overwritten)


@dataclass(frozen=True, slots=True)
class Offline:
    """`times` of all streams, one stream after the other; `per_s` queries a second together, its 95 % interval."""

    times: Times
    per_s: float
    low: float
    high: float

    def outcome(self, streams: int) -> dict[str, Any]:
        """The scenario with its throughput."""
        found = {key: round(getattr(self, key), 3) for key in ("per_s", "low", "high")}
        return {"name": OFFLINE, "streams": streams} | found | {"per_s_over": WHOLE_RUN}


def offline(streams: Sequence[tuple[Sequence[Any], Sequence[Stage]]], limits: Limits) -> Offline:
    """Answer as many queries as can be, `streams` of items and stages side by side, each in a thread of its own.

    The throughput is MLPerf's: all queries over the whole time, from the first stream's begin to the last one's end. So
    what lies between two queries counts, and a stream that has answered its share waits for the others. Its interval is
    by bootstrap over 32 windows of that time.
    """
    whole = Limits(limits.duration_s, -(-limits.queries // len(streams)))
    ready, stopped = threading.Barrier(len(streams)), threading.Event()
    done: list[Streamed | BaseException] = []

    def work(items: Sequence[Any], stages: Sequence[Stage]) -> None:
        try:
            ready.wait()
            done.append(stream(_Until(items, stopped), stages, whole))
        except BaseException as error:  # handed to the caller's thread, which raises it
            stopped.set()
            done.append(error)

    threads = [threading.Thread(target=work, args=one, name="stream", daemon=True) for one in streams]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:  # Ctrl-C: sessions are closed next, so nobody may still use them
        stopped.set()
        for thread in threads:
            thread.join()
    results = []
    for result in sorted(done, key=lambda one: isinstance(one, _Stopped)):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return _together(results)


class _Stopped(Exception):
    """Another stream failed, or the user ended the run."""


class _Until(Sequence[Any]):
    """The items until the event is set, which is looked at between two queries: nothing of it is in a sample."""

    def __init__(self, items: Sequence[Any], stopped: threading.Event) -> None:
        self._items, self._stopped = items, stopped

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, at: Any) -> Any:
        if self._stopped.is_set():
            raise _Stopped
        return self._items[at]


def _together(results: Sequence[Streamed]) -> Offline:
    """All queries over the whole time, whose windows are equal: the mean of their rates is that of the whole."""
    edges = np.linspace(min(one.begin_ns for one in results), max(one.end_ns for one in results), WINDOWS + 1)
    answered = np.sum([_answered(one, edges) for one in results], axis=0)
    rates: NDArray[np.float64] = np.diff(answered) / (np.diff(edges) / 1e9)
    around = interval(np.random.default_rng(0).choice(rates, (DRAWS, WINDOWS)).mean(axis=1))
    return Offline(np.concatenate([one.times for one in results]), float(rates.mean()), around.low, around.high)


def _answered(one: Streamed, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Queries that a stream had answered at each of `edges`, the one it was at by its share.

    What lay between its queries is spread evenly over them: only their times are kept.
    """
    spent = np.concatenate([[0.0], np.cumsum(one.times.sum(axis=1), dtype=np.float64)])
    between = (one.end_ns - one.begin_ns - spent[-1]) / len(one.times)
    queries = np.arange(len(spent), dtype=np.float64)
    return np.interp(edges, one.begin_ns + spent + between * queries, queries)


def check_outcome(scenario: Mapping[str, Any]) -> None:
    """Raises ValueError where the scenario of a record is none, or lacks what came of it."""
    if scenario["name"] not in _OUTCOMES:
        raise ValueError(f"its scenario is {scenario['name']!r}; expected one of {', '.join(SCENARIOS)}")
    check_form(scenario, _OUTCOMES[scenario["name"]], "its scenario")
    if scenario.get("arrived", 1) < 1:
        raise ValueError(f"its scenario has {scenario['arrived']} frames; expected one or more")


def kind_in_words(scenario: Mapping[str, Any]) -> str:
    """The scenario's name, with what makes its figures other ones than this version's."""
    if scenario["name"] == OFFLINE and scenario.get("per_s_over") != WHOLE_RUN:
        return "offline by an older version (its throughput leaves out what lies between queries)"
    return str(scenario["name"])


def in_words(scenario: Mapping[str, Any]) -> str:
    """The scenario of a record, without its outcome: what two runs must share to be compared."""
    if scenario["name"] == OFFLINE:
        return f"{kind_in_words(scenario)}, {scenario['streams']} stream{'s' * (scenario['streams'] != 1)}"
    if scenario["name"] == CAMERA:
        return f"camera, {scenario['fps']:g} frames/s, deadline {scenario['deadline_ms']:g} ms"
    return str(scenario["name"])


def outcome_in_words(scenario: Mapping[str, Any]) -> str:
    """What became of the queries; nothing for single-stream, whose latencies say it all."""
    if scenario["name"] == OFFLINE:
        return (
            f"{in_words(scenario)}: {scenario['per_s']:,.1f} queries/s "
            f"(95 %: {scenario['low']:,.1f}..{scenario['high']:,.1f})"
        )
    if scenario["name"] == CAMERA:
        arrived, missed = scenario["arrived"], scenario["late"] + scenario["overwritten"]
        return (
            f"{in_words(scenario)}: {arrived:,} frames, {missed:,} without a result in time ({missed / arrived:.2%}): "
            f"{scenario['late']:,} late, {scenario['overwritten']:,} overwritten by newer ones"
        )
    return ""
