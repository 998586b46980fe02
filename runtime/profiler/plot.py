"""Profiles as a picture: the latency distribution, and the stages as bars. Readable without colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...devices.errors import UsageError, need
from .record import Profile
from .stats import rank

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".png", ".svg", ".pdf")
LINES = ("-", "--", ":", "-.")
GREYS = ("black", "0.45")
# By stage: fill and hatch.
BARS = {"prepare": ("white", "///"), "inference": ("0.7", ""), "decode": ("white", "...")}
MARKERS = {0.5: "o", 0.9: "s", 0.99: "^"}
POINTS = 2000


def plot_profiles(profiles: Sequence[Profile], path: Path) -> None:
    """Draw `profiles` into one picture at `path`; see `check_path` for the errors."""
    check_path(path)
    from matplotlib.figure import Figure

    # Figure without pyplot: no global state, no window system, nothing to close.
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _distribution(left, profiles)
    _stage_bars(right, profiles)
    figure.savefig(path, dpi=130)


def check_path(path: Path) -> None:
    """What can be known before there is something to draw.

    Raises MissingExtra without matplotlib, UsageError for a folder that is not there or an unknown ending.
    """
    need("matplotlib", "plot")
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"--plot {path}: the ending is {path.suffix!r}; expected {', '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise UsageError(f"--plot {path}: there is no folder {path.parent}; make it first")


def _distribution(axes: Axes, profiles: Sequence[Profile]) -> None:
    """Cumulative share of queries over latency, with p50, p90, p99; hollow where the samples do not support it."""
    for i, profile in enumerate(profiles):
        ordered = np.sort(profile.total) / 1e6
        # At most 2000 points, all of them order statistics, the extremes among them.
        at = np.unique(np.linspace(0, len(ordered) - 1, POINTS).round().astype(int))
        colour = GREYS[i // len(LINES) % len(GREYS)]
        label = f"{profile.bundle}: {_figures(profile)}"
        axes.plot(ordered[at], (at + 1) / len(ordered), LINES[i % len(LINES)], color=colour, lw=1.6, label=label)
        for found in profile.summaries[-1].percentiles:
            fill = colour if found.supported else "white"
            share = (rank(found.p, len(ordered)) + 1) / len(ordered)
            axes.plot(found.ms, share, MARKERS[found.p], color=colour, markerfacecolor=fill, ms=7, zorder=3)
    for p, marker in MARKERS.items():
        axes.plot([], [], marker, color="black", label=f"p{p * 100:g}")
    if not all(q.supported for profile in profiles for q in profile.summaries[-1].percentiles):
        axes.plot([], [], "o", color="black", markerfacecolor="white", label="hollow: tail not supported")
    axes.set(xscale="log", xlabel="latency, ms", ylabel="share of queries", title="Latency", ylim=(0, 1.02))
    _plain_ticks(axes)
    axes.grid(True, which="both", color="0.9", lw=0.6)
    axes.legend(fontsize=8, loc="lower right")


def _stage_bars(axes: Axes, profiles: Sequence[Profile]) -> None:
    """The median of each stage, one bar a profile."""
    named: set[str] = set()
    for row, profile in enumerate(profiles):
        left = 0.0
        for summary in (s for s in profile.summaries if s.stage != "total"):
            width = summary.percentiles[0].ms
            fill, hatch = BARS[summary.stage]
            label = None if summary.stage in named else summary.stage
            axes.barh(row, width, 0.5, left, color=fill, hatch=hatch, edgecolor="black", label=label)
            named.add(summary.stage)
            left += width
        axes.text(left, row, f" {left:.3g} ms", va="center", fontsize=8)
    axes.set_yticks(range(len(profiles)), [p.bundle for p in profiles])
    axes.set(xlabel="median, ms", title="Stages")
    axes.set_ylim(len(profiles) - 0.4, -1.1)
    axes.margins(x=0.18)
    axes.legend(fontsize=8, ncols=3, loc="upper right")


def _figures(profile: Profile) -> str:
    found = profile.summaries[-1].percentiles
    return " / ".join(f"{q.ms:.3g}" for q in found) + f" ms, n {len(profile.samples):,}"


def _plain_ticks(axes: Axes) -> None:
    """Milliseconds as plain numbers, also between powers of ten: a distribution seldom spans one."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    low, high = axes.get_xlim()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    few = high / low < 30
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:.3g}") if few else NullFormatter())
    axes.tick_params(axis="x", which="minor", labelsize=7)
