"""Profiles as one picture: the latency distribution, and the stages as bars. Readable without colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...devices.errors import UsageError, need
from .record import Profile
from .report.drawings import distribution, stage_bars
from .report.entry import Entry, names
from .report.rows import entries_of
from .report.style import GREYS, looks, settings

ENDINGS = (".png", ".svg", ".pdf")


def plot_profiles(profiles: Sequence[Profile], path: Path) -> None:
    """Draw `profiles` into one picture at `path`; see `check_path` for the errors."""
    check_path(path)
    from matplotlib.figure import Figure

    entries = entries_of(profiles)
    rows, named = list(zip(entries, looks(entries, GREYS), strict=True)), names(entries)
    with settings():
        # Figure without pyplot: no global state, no window system, nothing to close.
        figure = Figure(figsize=(11, 3.6 + 0.1 * len(rows)), layout="constrained")
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(3, 2))[0]
        distribution(left.subplots(), rows, [f"{name}: {_figures(e)}" for name, e in zip(named, entries, strict=True)])
        stage_bars(right.subplots(), rows, named)
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
    if path.is_dir():
        raise UsageError(f"--plot {path}: a folder; expected a file in it")


def _figures(entry: Entry) -> str:
    found = (entry.p50_ms, *(q.ms for q in entry.tail))
    return " / ".join(f"{ms:.3g}" for ms in found) + f" ms, n {len(entry.times_ms):,}"
