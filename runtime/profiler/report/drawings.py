"""What is drawn from the samples of rows that were measured: distribution, stages, and sensors over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..record import Percentile
from ..stats import rank
from .entry import Entry
from .style import INK, PAPER, Look

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

MARKERS = {0.5: "o", 0.9: "s", 0.99: "^"}
POINTS = 400
# Fill and hatch by stage; a stage of another name is plain.
BARS = {"prepare": ("", "////"), "inference": ("0.75", ""), "decode": ("", "\\\\\\\\")}


def distribution(axes: Axes, rows: Sequence[tuple[Entry, Look]], names: Sequence[str]) -> None:
    """Cumulative share of queries over latency, with p50, p90, p99; hollow where the samples do not support it."""
    from matplotlib.lines import Line2D

    hollow, lines = False, []
    for entry, look in rows:
        ordered = np.sort(entry.times_ms)
        # Order statistics all of them, the extremes among them, denser where the tail is.
        share = np.concatenate([np.linspace(0, 0.98, POINTS // 2), 1 - np.geomspace(0.02, 1e-6, POINTS // 2)])
        at = np.unique(np.r_[0, (share * (len(ordered) - 1)).round().astype(int), len(ordered) - 1])
        lines += axes.plot(ordered[at], (at + 1) / len(ordered), ls=look.dash, color=look.colour, lw=1.7)
        for found in (Percentile(0.5, entry.p50_ms or 0.0, True, 0), *entry.tail):
            height = (rank(found.p, len(ordered)) + 1) / len(ordered)
            fill = look.colour if found.supported else PAPER
            hollow |= not found.supported
            axes.plot(found.ms, height, MARKERS[found.p], color=look.colour, mfc=fill, ms=6, zorder=3)
    marks = [(f"p{p * 100:g}", marker, INK) for p, marker in MARKERS.items()]
    marks += [("hollow: tail not supported", "o", PAPER)] if hollow else []
    handles: list[Line2D] = [Line2D([], [], ls="", marker=m, color=INK, mfc=fill, ms=6) for _, m, fill in marks]
    _numbers(axes, rows)
    axes.set(xscale="log", xlabel="latency of a query, ms", ylabel="share of queries", ylim=(0, 1.03))
    plain_ticks(axes, "x")
    axes.grid(True)
    rows_named = [f"{look.number}  {name}" for (_, look), name in zip(rows, names, strict=True)]
    legend(axes, [*lines, *handles], [*rows_named, *(label for label, *_ in marks)])


def _numbers(axes: Axes, rows: Sequence[tuple[Entry, Look]]) -> None:
    """The row's number on its line, at a height that its neighbours do not have."""
    heights = (0.12, 0.24, 0.36, 0.6, 0.72)
    for at, (entry, look) in enumerate(sorted(rows, key=lambda row: row[0].p50_ms or 0.0)):
        height = heights[at % len(heights)]
        place = (np.quantile(entry.times_ms, height, method="inverted_cdf"), height)
        axes.annotate(
            str(look.number), place, color=look.colour, fontsize=8.5, weight="bold", ha="center", va="center", zorder=4,
            bbox={"boxstyle": "circle,pad=0.15", "facecolor": PAPER, "edgecolor": look.colour, "linewidth": 0.7},
        )  # fmt: skip


def stage_bars(axes: Axes, rows: Sequence[tuple[Entry, Look]], names: Sequence[str]) -> None:
    """The median of each stage, one bar a row."""
    from matplotlib.patches import Patch

    drawn: dict[str, Patch] = {}
    for at, (entry, _) in enumerate(rows):
        assert entry.profile, "only what was measured has stages"
        left = 0.0
        for summary in (s for s in entry.profile.summaries if s.stage != "total"):
            width = summary.percentiles[0].ms
            fill, hatch = BARS.get(summary.stage, ("0.9", ""))
            drawn[summary.stage] = Patch(facecolor=fill or PAPER, hatch=hatch, edgecolor=INK, lw=0.8)
            axes.barh(at, width, 0.55, left, color=fill or PAPER, hatch=hatch, edgecolor=INK, lw=0.8)
            left += width
        axes.annotate(f"{left:.3g} ms", (left, at), (5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="median of each stage, ms", ylim=(len(rows) - 0.4, -0.6))
    axes.margins(x=0.2)
    legend(axes, list(drawn.values()), list(drawn))


Series = Sequence[tuple[float, float]]
"""(seconds from the run's begin, value), in order."""


def over_time(axes: Axes, rows: Sequence[tuple[Series, Look]], names: Sequence[str], label: str) -> None:
    """A sensor's readings during each row's run, with the row's number at the end."""
    lines = []
    for series, look in rows:
        t, value = zip(*series, strict=True)
        lines += axes.plot(t, value, ls=look.dash, color=look.colour, lw=1.5, marker=look.marker, ms=3.5)
        axes.annotate(
            str(look.number), (t[-1], value[-1]), (6, 0), textcoords="offset points", va="center", fontsize=8.5,
            weight="bold",
        )  # fmt: skip
    axes.set(xlabel="seconds from the begin of the run", ylabel=label)
    axes.margins(x=0.06, y=0.2)
    axes.grid(True)
    legend(axes, lines, [f"{look.number}  {name}" for (_, look), name in zip(rows, names, strict=True)])


def legend(axes: Axes, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Below the picture, in two columns where the labels are short."""
    # matplotlib leaves out what begins with an underscore, and a bundle's name may.
    shown = [f" {label}" if label.startswith("_") else label for label in labels]
    longest = max(map(len, shown))
    axes.figure.legend(handles, shown, loc="outside lower left", ncols=1 if longest > 40 else 2, columnspacing=1)


def plain_ticks(axes: Axes, which: Literal["x", "y"]) -> None:
    """Plain numbers on a logarithmic axis, also between powers of ten: what is drawn seldom spans many."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis = axes.xaxis if which == "x" else axes.yaxis
    if high / low < 4:
        axis.set_major_locator(MaxNLocator(5))
    elif high / low < 50:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
