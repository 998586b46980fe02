"""The pictures of a comparison: which there are, what each shows in a sentence, and why one is not available."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING, Any

from ..stats import Interval
from .boards import dots, line_of, roofline, scores
from .columns import plain
from .drawings import distribution, over_time, stage_bars
from .entry import Entry, names, sensor
from .ranking import highest, in_spans
from .style import WIDTH_IN, Look, looks, settings, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW_IN = 0.23


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture: `name` is that of its file, `title` says what is seen.

    `draw` is None when there is nothing to draw, and then `missing` says why.
    """

    name: str
    title: str
    note: str = ""
    height_in: float = 3.4
    draw: Callable[[Axes], None] | None = None
    missing: str = ""


def plots(entries: Sequence[Entry]) -> list[Plot]:
    """Every picture of a comparison, in the order of the page."""
    rows = list(zip(entries, looks(entries), strict=True))
    return [
        _latency(rows),
        _dots(rows, "fps", "FPS", lambda e: e.fps, ""),
        _stages(rows),
        *_scores(rows),
        _roofline(rows),
        _dots(rows, "fps-per-watt", "FPS per watt", lambda e: e.fps_per_watt, _WATTS),
        _dots(rows, "fps-per-dollar", "FPS per dollar", lambda e: e.fps_per_usd, _DOLLARS),
        _over_time(rows, "clock", "mhz", "MHz"),
        _over_time(rows, "temperature", "temperature_c", "degrees Celsius"),
    ]


def draw(plot: Plot, titled: bool = False) -> str:
    """The picture as an SVG document; `titled`: with its title in it, for a picture that stands alone."""
    with settings():
        return svg(figure(plot, titled))


def figure(plot: Plot, titled: bool) -> Any:
    """The picture as a figure of matplotlib's; to be called inside of `settings()`."""
    from matplotlib.figure import Figure

    assert plot.draw, plot.missing
    # Figure without pyplot: no global state, no window system, nothing to close.
    made = Figure(figsize=(WIDTH_IN, plot.height_in + (0.4 if titled else 0)), layout="constrained")
    plot.draw(made.subplots())
    if titled:
        made.suptitle(fill(plot.title, 62), fontsize=10, weight="bold", x=0.01, ha="left")
    return made


_WATTS = (
    "Watts are those that were measured, else the most that the board takes: then the figure is at least what is shown."
)
_NO_PRICE = "price of no row's device is"
_DOLLARS = "List prices of the time; boards with several GPUs count each of them as busy."

Rows = Sequence[tuple[Entry, Look]]


def _latency(rows: Rows) -> Plot:
    found = [(e, look) for e, look in rows if len(e.times_ms)]
    if not found:
        return Plot("latency", "Distribution of latency", missing="no row was measured, so there are no samples")
    named = names([e for e, _ in found])
    medians = [e.p50_ms or 0.0 for e, _ in found]
    order = sorted(range(len(found)), key=medians.__getitem__)
    ends = [f"{plain(medians[i])} ms ({named[i]})" for i in dict.fromkeys((order[0], order[-1]))]
    title = f"Latency: half of the queries end within {' to '.join(ends)}"
    left_out = len(rows) - len(found)
    predicted = "" if any(e.program for e, _ in rows) else "predicted "
    note = f"{left_out} {predicted}rows have no samples and are not in it." if left_out else ""
    height = 3.1 + 0.19 * (len(found) + 2)
    return Plot("latency", title, note, height, partial(distribution, rows=found, names=named))


def _stages(rows: Rows) -> Plot:
    found = [(e, look) for e, look in rows if e.profile and len(e.profile.stages) > 1]
    if not found:
        why = "no row was measured stage by stage; `helmsight profile --stages` does it"
        return Plot("stages", "Stages from frame to result", missing=why)
    named = [f"{look.number}  {name}" for (_, look), name in zip(found, names([e for e, _ in found]), strict=True)]
    shares = [_share(e, "inference") for e, _ in found]
    span = f"{min(shares):.0%}" if len(found) == 1 else f"{min(shares):.0%} to {max(shares):.0%}"
    title = f"Stages: the network takes {span} of the time from frame to result"
    height = 1.2 + 0.42 * len(found)
    return Plot("stages", title, "", height, partial(stage_bars, rows=found, names=named))


def _share(entry: Entry, stage: str) -> float:
    assert entry.profile
    medians = {s.stage: s.percentiles[0].ms for s in entry.profile.summaries if s.stage != "total"}
    return medians.get(stage, 0.0) / max(sum(medians.values()), 1e-9)


def _dots(rows: Rows, name: str, label: str, value: Callable[[Entry], float | None], note: str) -> Plot:
    found = [(e, look) for e, look in rows if value(e) is not None]
    if not found:
        what = {"fps-per-watt": "power of no row is", "fps": "median of no row is"}.get(name, _NO_PRICE)
        return Plot(name, label, missing=f"the {what} known")
    title = f"{label}: {_best(found, value)}"
    left_out = len(rows) - len(found)
    note = f"{note} {left_out} rows are not available." if left_out else note

    def around(entry: Entry) -> Interval:
        return entry.spread(value(entry) or 0)

    lines = len({line_of(e) for e, _ in found})
    height = 1.5 + ROW_IN * lines
    return Plot(name, title, note.strip(), height, lambda axes: dots(axes, found, value, around, label))


def _best(rows: Rows, value: Callable[[Entry], float | None]) -> str:
    """The best row of the first bundles, in words; where intervals overlap, that none is."""
    said = []
    for bundle in list(dict.fromkeys(e.bundle for e, _ in rows))[:2]:
        group = [(look.number, e) for e, look in rows if e.bundle == bundle]
        best = highest(group, value)
        figure = f"{plain(value(best.entry) or 0)} ({best.entry.kind})"
        # Rows of one line differ in what its name does not tell, as in their threads.
        shared = sum(line_of(e) == line_of(best.entry) for _, e in group) > 1
        where = best.entry.where if best.entry.program else f"{best.entry.where} in {best.entry.precision}"
        where += f", row {next(n for n, e in group if e is best.entry)}" if shared else ""
        if len(group) == 1:
            said.append(f"{bundle} {where} {figure}")
        elif best.clear:
            said.append(f"{bundle} is best {where}, {figure}")
        else:
            said.append(f"{bundle} has no clear best, rows {in_spans(best.overlapping)} overlap; {figure} {where}")
    return "; ".join(said)


def _roofline(rows: Rows) -> Plot:
    found = [(e, look) for e, look in rows if e.work]
    if not found:
        why = "no record has operations and bytes; bundles of this version's export carry them"
        return Plot("roofline", "Roofline", missing=why)
    shares = [e.work.gflops / roof for e, _ in found if e.work and (roof := e.work.attainable_gflops())]
    title = "Roofline: what the devices could do at the most is not known"
    if shares:
        title = f"Roofline: rows reach {_percent(min(shares))} to {_percent(max(shares))} of what their device could"
    note = (
        "Two operations a multiply-accumulate; weights and each tensor moved once. Lines: what one GPU could by the "
        "catalogue, or the machine as --layers measured it."
    )
    if not shares:
        note += " There is none here: the catalogue does not have the machine, and no row was measured with --layers."
    lines = len({line_of(e) for e, _ in found})
    return Plot("roofline", title, note, 3.2 + 0.1 * lines, partial(roofline, rows=found))


def _over_time(rows: Rows, name: str, kind: str, unit: str) -> Plot:
    """The clock of what ran the network, or the hottest sensor, during each run."""
    found = [(e, look, seen) for e, look in rows if (seen := sensor(e, kind))]
    if not found:
        return Plot(name, f"{name.capitalize()} over time", missing="no record has samples of such a sensor")
    values = [[value for _, value in series] for _, _, (_, series) in found]
    low, high = plain(min(map(min, values))), plain(max(map(max, values)))
    title = f"{name.capitalize()} over time: " + (
        f"steady at {low} {unit}" if low == high else f"{low} to {high} {unit}"
    )
    named = [f"{one}: {seen[0]}" for one, (_, _, seen) in zip(names([e for e, _, _ in found]), found, strict=True)]
    lines = [(series, look) for _, look, (_, series) in found]
    draw = partial(over_time, rows=lines, names=named, label=unit)
    return Plot(name, title, "", 2.6 + 0.19 * len(found), draw)


def _percent(share: float) -> str:
    """To two digits, a few percent or many."""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def _scores(rows: Rows) -> list[Plot]:
    """One picture for each metric: scores of different ones have no common axis."""
    made = []
    for metric in dict.fromkeys(e.score.metric for e, _ in rows if e.score and e.p50_ms):
        found = [(e, look) for e, look in rows if e.score and e.score.metric == metric and e.p50_ms]
        better = "higher" if found[0][0].score and found[0][0].score.higher_is_better else "lower"
        values = [e.score.value for e, _ in found if e.score]
        low, high = plain(min(values)), plain(max(values))
        spread = f"all rows score {low}" if low == high else f"scores go from {low} to {high}"
        title = f"Accuracy against latency ({metric}): {spread}"
        draw = partial(scores, rows=found, metric=metric, better=better)
        # The name becomes a file's, and a metric is whatever a record says.
        name = "accuracy-" + re.sub(r"[^A-Za-z0-9_]+", "-", metric)
        made.append(Plot(name, title, "Numbers are the rows of the table.", 2.9, draw))
    if not made:
        why = "no record has a score; bundles that were exported with a task carry it"
        made.append(Plot("accuracy", "Accuracy against latency", missing=why))
    return made
