"""What is drawn of all rows, measured or predicted: a dot for each, with its interval, and the roofline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .drawings import legend, plain_ticks
from .entry import Entry
from .style import FAINT, INK, PAPER, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..stats import Interval

Figure = Callable[[Entry], float | None]
Rows = Sequence[tuple[Entry, Look]]


def line_of(entry: Entry) -> str:
    """The line of a dot plot that a row belongs to: bundles share it, devices and precisions do not."""
    device = entry.device if len(entry.device) <= 27 else entry.device[:26] + "…"
    return f"{device}, {entry.precision}"


def dots(axes: Axes, rows: Rows, figure: Figure, around: Callable[[Entry], Interval], label: str) -> None:
    """A dot for each row on the line of its device, from the first line down; the bar is the row's interval."""
    lines = list(dict.fromkeys(line_of(e) for e, _ in rows))
    for entry, look in rows:
        value = figure(entry)
        if value is None:
            continue
        y, span = lines.index(line_of(entry)), around(entry)
        dash = (0, (2, 1.2)) if look.hollow else "-"
        axes.plot([span.low, span.high], [y, y], ls=dash, color=look.colour, lw=1.3)
        axes.plot([span.low, span.high], [y, y], "|", color=look.colour, ms=5)
        axes.plot(value, y, look.marker, color=look.colour, mfc=look.fill, mew=1.4, ms=7, zorder=3)
    axes.set_yticks(range(len(lines)), lines)
    axes.tick_params(axis="y", length=0)
    axes.set(xscale="log", xlabel=label, ylim=(len(lines) - 0.4, -0.6))
    plain_ticks(axes, "x")
    axes.grid(True)
    key(axes, rows)


def key(axes: Axes, rows: Rows) -> None:
    """What the markers mean: one a bundle, and filled or hollow."""
    from matplotlib.lines import Line2D

    shown: dict[str, Look] = {}
    for entry, look in rows:
        shown.setdefault(entry.bundle, look)
    marks = [(bundle, look.marker, look.colour, look.colour) for bundle, look in shown.items()]
    if any(look.hollow for _, look in rows):
        marks += [("filled: measured", "o", INK, INK), ("hollow: predicted, with its interval", "o", INK, PAPER)]
    handles = [Line2D([], [], ls="", marker=m, color=c, mfc=fill, mew=1.4, ms=7) for _, m, c, fill in marks]
    legend(axes, handles, [label for label, *_ in marks])


def scores(axes: Axes, rows: Rows, metric: str, better: str) -> None:
    """Score over latency, a marker for each row with its number in the table."""
    for entry, look in rows:
        assert entry.score, "only rows with a score"
        span = entry.p50_interval_ms
        axes.plot([span.low, span.high], [entry.score.value] * 2, "-", color=look.colour, lw=1.2)
        axes.plot(entry.p50_ms, entry.score.value, look.marker, color=look.colour, mfc=look.fill, mew=1.4, ms=7)
        axes.annotate(
            str(look.number), (entry.p50_ms, entry.score.value), (0, 7), textcoords="offset points", ha="center",
            fontsize=8.5, weight="bold",
        )  # fmt: skip
    axes.set(xscale="log", xlabel="median latency, ms", ylabel=f"{metric}, {better} is better")
    axes.margins(x=0.12, y=0.35)
    plain_ticks(axes, "x")
    axes.grid(True)
    axes.annotate("better", (0.02, 0.96 if better == "higher" else 0.04), xycoords="axes fraction", color=FAINT,
                  va="top" if better == "higher" else "bottom", fontsize=8.5)  # fmt: skip
