"""Which row of a comparison is best, and which others it cannot be told from because their intervals overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..stats import Interval
from .entry import Entry

Numbered = Sequence[tuple[int, Entry]]
"""Rows with their numbers in the table."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best row, and the numbers of all rows whose intervals overlap with its own: that one alone if it is clear."""

    entry: Entry
    overlapping: tuple[int, ...]

    @property
    def clear(self) -> bool:
        return len(self.overlapping) == 1


def highest(rows: Numbered, value: Callable[[Entry], float | None]) -> Best:
    """The row with the highest `value`, a figure that is proportional to the rate of queries; every row has one."""
    return _best([(number, entry, value(entry) or 0.0, entry.spread(value(entry) or 0.0)) for number, entry in rows])


def fastest(rows: Numbered) -> Best:
    """The row with the lowest median; every row has one."""
    spans = [(number, entry, entry.p50_ms or 0.0, entry.p50_interval_ms) for number, entry in rows]
    return _best([(n, e, -ms, Interval(-(i.high if i else ms), -(i.low if i else ms))) for n, e, ms, i in spans])


def _best(rows: Sequence[tuple[int, Entry, float, Interval]]) -> Best:
    _, entry, _, around = max(rows, key=lambda row: row[2])
    return Best(entry, tuple(number for number, one, _, other in rows if one is entry or other.high >= around.low))


def in_spans(numbers: Sequence[int]) -> str:
    """Ascending numbers with their runs of three and more drawn together, such as `1, 2, 4 to 7`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return ", ".join(f"{s[0]} to {s[-1]}" if len(s) > 2 else ", ".join(map(str, s)) for s in spans)
