"""What is drawn of all rows, measured or predicted: a dot for each, with its interval, and the roofline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from .drawings import legend, plain_ticks
from .entry import Entry, Work
from .style import DASHES, FAINT, INK, PAPER, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..stats import Interval

Figure = Callable[[Entry], float | None]
Rows = Sequence[tuple[Entry, Look]]


NUMBERED = 8
"""Up to so many rows all have their number beside them; of more, only those that were measured."""
ROOF_NAME_PT = 10
"""From one name at the right of a roofline to the next, in points."""


def line_of(entry: Entry) -> str:
    """The line of a dot plot that a row belongs to: bundles share it, devices and precisions do not."""
    if entry.program:
        return entry.program
    device = entry.device if len(entry.device) <= 27 else entry.device[:26] + "…"
    return f"{device}, {entry.precision}"


def dots(axes: Axes, rows: Rows, figure: Figure, around: Callable[[Entry], Interval], label: str) -> None:
    """A dot for each row on the line of its device, from the first line down; the bar is the row's interval.

    Where several rows of a bundle stand on one line, each has its number above or below it.
    """
    bundles, devices = (list(dict.fromkeys(getattr(e, name) for e, _ in rows)) for name in ("bundle", "device"))
    lines = list(dict.fromkeys(line_of(e) for e, _ in sorted(rows, key=lambda row: devices.index(row[0].device))))
    shared = Counter((line_of(e), e.bundle) for e, _ in rows)
    sides = _sides([((line_of(e), e.bundle), figure(e) or 0.0) for e, _ in rows])
    for (entry, look), side in zip(rows, sides, strict=True):
        value = figure(entry)
        if value is None:
            continue
        # Bundles share a line and stand one above the other on it, so that no interval hides another.
        apart = (bundles.index(entry.bundle) - (len(bundles) - 1) / 2) * min(0.26, 0.7 / len(bundles))
        y, span = lines.index(line_of(entry)) + apart, around(entry)
        dash = (0, (2, 1.2)) if look.hollow else "-"
        axes.plot([span.low, span.high], [y, y], ls=dash, color=look.colour, lw=1.3)
        axes.plot([span.low, span.high], [y, y], "|", color=look.colour, ms=5)
        axes.plot(value, y, look.marker, color=look.colour, mfc=look.fill, mew=1.3, ms=6, zorder=3)
        if shared[line_of(entry), entry.bundle] > 1:
            _number(axes, look, (value, y), (0, 9 * side))
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


def roofline(axes: Axes, rows: Rows) -> None:
    """Operations a second over operations a byte: the roof of each device, and below it what its rows reach."""
    reached = [(e, look, e.work) for e, look in rows if e.work]
    intensities = [work.intensity for _, _, work in reached]
    low, high = min(intensities) / 3, max(intensities) * 4
    roofs = _roofs([(e, work) for e, _, work in reached])
    for at, (peak, bandwidth) in enumerate(roofs.values()):
        ridge = min(max(peak / bandwidth, low), high)
        x = [low, ridge, high]
        axes.plot(x, [min(peak, v * bandwidth) for v in x], ls=DASHES[at % len(DASHES)], color=FAINT, lw=0.9)
    sides = _sides([((e.bundle, look.hollow), work.gflops) for e, look, work in reached])
    for (_, look, work), side in zip(reached, sides, strict=True):
        span, gflops = work.gflops_interval, work.gflops
        dash = (0, (2, 1.2)) if look.hollow else "-"
        axes.plot([work.intensity] * 2, [span.low, span.high], ls=dash, color=look.colour, lw=1.1)
        axes.plot(
            work.intensity,
            gflops,
            look.marker,
            color=look.colour,
            mfc=look.fill,
            mew=1.3,
            ms=6,
            zorder=3 if look.hollow else 4,
        )
        if not look.hollow or len(reached) <= NUMBERED:
            _number(axes, look, (work.intensity, gflops), (9 * side, 0))
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    axes.set(xlabel="operations a byte that must be moved", ylabel="1e9 operations a second")
    plain_ticks(axes, "x")
    plain_ticks(axes, "y")
    axes.grid(True)
    _name_roofs(axes, {name: min(peak, high * bandwidth) for name, (peak, bandwidth) in roofs.items()})
    key(axes, rows)


def _roofs(rows: Sequence[tuple[Entry, Work]]) -> dict[str, tuple[float, float]]:
    """Peak and bandwidth by the name of what has them. Of what was measured several times it is the highest figure."""
    engines: dict[str, set[str]] = {}
    for entry, _ in rows:
        engines.setdefault(line_of(entry), set()).add(entry.engine)
    found: dict[str, tuple[float, float]] = {}
    for entry, work in rows:
        if work.peak_gflops and work.bandwidth_gb_s:
            line = line_of(entry)
            name = line
            if len(engines[line]) > 1:
                name = entry.engine if len(engines) == 1 else f"{line}, {entry.engine}"
            peak, bandwidth = found.get(name, (0.0, 0.0))
            found[name] = max(peak, work.peak_gflops), max(bandwidth, work.bandwidth_gb_s)
    return found


def _name_roofs(axes: Axes, ends: dict[str, float]) -> None:
    """The name of each roof right of its end, moved apart where ends are close, with a line to it."""
    if not ends:
        return
    low, high = axes.get_ylim()
    height_pt = axes.bbox.height * 72 / axes.figure.dpi  # before the legend takes some of it
    step = (high / low) ** (ROOF_NAME_PT / height_pt)
    ordered = sorted(ends.items(), key=lambda item: item[1])
    places: list[float] = []
    for _, end in ordered:
        places.append(max(end, places[-1] * step) if places else end)
    excess = max(places[-1] / high, 1.0)
    right = axes.get_xlim()[1]
    line: dict[str, Any] = {
        "arrowstyle": "-",
        "color": FAINT,
        "lw": 0.5,
        "shrinkA": 0,
        "shrinkB": 0,
        "relpos": (0, 0.5),
    }
    for (name, end), place in zip(ordered, places, strict=True):
        axes.annotate(
            name, (right, end), (right * 1.35, place / excess), fontsize=8, va="center", annotation_clip=False,
            arrowprops=line,
        )  # fmt: skip


def _sides(rows: Sequence[tuple[Hashable, float]]) -> list[int]:
    """1 or -1 for each (group, value): in turns by value within a group, so that neighbours' numbers stand apart."""
    sides = [1] * len(rows)
    seen: Counter[Hashable] = Counter()
    for at in sorted(range(len(rows)), key=lambda i: rows[i][1]):
        sides[at] = 1 if seen[rows[at][0]] % 2 == 0 else -1
        seen[rows[at][0]] += 1
    return sides


def _number(axes: Axes, look: Look, at: tuple[float, float], beside: tuple[float, float]) -> None:
    """The row's number beside its mark, `beside` in points."""
    axes.annotate(
        str(look.number), at, beside, textcoords="offset points", fontsize=8.5, weight="bold", ha="center", va="center"
    )


def scores(axes: Axes, rows: Rows, metric: str, better: str) -> None:
    """Score over latency, a marker for each row with its number in the table."""
    sides = _sides([(metric, entry.p50_ms or 0.0) for entry, _ in rows])
    for (entry, look), side in zip(rows, sides, strict=True):
        assert entry.score, "only rows with a score"
        assert entry.p50_ms, "only rows with a median"
        span = entry.p50_interval_ms
        if span:
            axes.plot([span.low, span.high], [entry.score.value] * 2, "-", color=look.colour, lw=1.2)
        axes.plot(entry.p50_ms, entry.score.value, look.marker, color=look.colour, mfc=look.fill, mew=1.4, ms=7)
        if not look.hollow or len(rows) <= NUMBERED:
            _number(axes, look, (entry.p50_ms, entry.score.value), (0, 9 * side))
    axes.set(xscale="log", xlabel="median latency, ms", ylabel=f"{metric}, {better} is better")
    axes.margins(x=0.12, y=0.35)
    plain_ticks(axes, "x")
    axes.grid(True)
    axes.annotate("better", (0.02, 0.96 if better == "higher" else 0.04), xycoords="axes fraction", color=FAINT,
                  va="top" if better == "higher" else "bottom", fontsize=8.5)  # fmt: skip
