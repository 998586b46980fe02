"""MLPerf loadgen's mlperf_log_summary.txt: lines of `name : value`, percentiles in nanoseconds.

Its form is that of loadgen/results.cc in mlcommons/inference. It holds no samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .foreign import Content, Foreign

_HEADING = "MLPerf Results Summary"
_LINE = re.compile(r"^\s*([^:=*\n]+?)\s*:\s*(\S.*?)\s*$", re.MULTILINE)
_PERCENTILE = re.compile(r"(\d+\.\d+) percentile latency \(ns\)")
_PROCESSED = re.compile(r"\((\d+)\)\.")
_MOST = 1e15
"""Nanoseconds: latencies beyond are refused of other programs too (`nanoseconds`)."""
_RATES = ("Samples per second", "Completed samples per second")


def is_summary(content: Content) -> bool:
    """Whether it has loadgen's heading."""
    return _HEADING in content.text


def read_summary(content: Content) -> list[Foreign]:
    """The percentiles of a run, and its rate where the scenario has one. Raises ValueError where it is cut off."""
    said = dict(_LINE.findall(content.text))
    if "Result is" not in said or "Test Parameters Used" not in content.text:
        raise ValueError("it has no result, or ends before the test's parameters")
    tail = {
        float(m[1]) / 100: _figure(value) / 1e6 for name, value in said.items() if (m := _PERCENTILE.fullmatch(name))
    }
    rate = next((_figure(said[name]) for name in _RATES if name in said), None)
    mean_ns = said.get("Mean latency (ns)")
    offline = said.get("Scenario") == "Offline"  # all queries come at once: when one is answered is no latency of it
    return [
        Foreign(
            program="MLPerf loadgen",
            name=content.name,
            stage="query",
            engine=f"{said.get('SUT name', 'unnamed')}, {said.get('Scenario', 'unknown scenario')}",
            median_ms=None if offline else tail.pop(0.5, None),
            mean_ms=None if offline or mean_ns is None else _figure(mean_ns) / 1e6,
            tail=() if offline else tuple(sorted((p, ms) for p, ms in tail.items() if p in (0.9, 0.99))),
            per_s=rate,
            facts=tuple(_facts(content.text, said)),
            warnings=() if said["Result is"] == "VALID" else (f"loadgen calls the result {said['Result is']}",),
        )
    ]


def _figure(text: str) -> float:
    """A rate, or a latency in ns. Raises ValueError for what is neither."""
    value = float(text)
    if not 0 <= value <= _MOST:  # nor is a NaN
        raise ValueError(f"it has {text[:20]!r} where a figure of 0 to {_MOST:g} stands")
    return value


def _facts(text: str, said: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in ("Mode", "Result is", "samples_per_query", "min_duration (ms)", "QPS w/o loadgen overhead"):
        if name in said:
            yield name, said[name]
    if found := _PROCESSED.search(text):
        yield "queries", found[1]
