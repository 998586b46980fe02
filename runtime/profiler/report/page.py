"""The page: one HTML file with everything in it, which asks no other place for anything."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from ....devices.errors import need
from ..record import shapes
from .columns import Column, legend, shown
from .entry import Entry
from .plots import Plot, draw, plots
from .ranking import fastest, in_spans
from .style import inline


def html_page(entries: Sequence[Entry]) -> str:
    """The report as HTML. Raises MissingExtra without jinja2 or matplotlib. Every text in it is escaped."""
    need("jinja2", "plot")
    need("matplotlib", "plot")
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pictures = plots(entries)
    template = environment.from_string(files(__package__).joinpath("page.html").read_text("utf-8"))
    return template.render(
        title=_title(entries),
        subtitle=_subtitle(entries),
        any_predicted=any(e.predicted for e in entries),
        columns=_columns(entries),
        rows=_rows(entries),
        legend=legend(entries),
        warnings=_warnings(entries),
        plots=[_plot(plot) for plot in pictures if plot.draw],
        missing=[plot for plot in pictures if not plot.draw],
        foot=f"Made by helmsight {version('helmsight')}. This page is whole: it loads nothing from anywhere.",
    )


def _title(entries: Sequence[Entry]) -> str:
    """What is seen first: each bundle's lowest median of those that were measured, or predicted where none was."""
    timed = [(number, e) for number, e in enumerate(entries, 1) if e.p50_ms is not None]
    counted = [(number, e) for number, e in timed if not e.predicted] or timed
    if not counted:
        return "No row has a median"
    bundles = list(dict.fromkeys(e.bundle for _, e in counted))
    said = []
    for bundle in bundles[:3]:
        best = fastest([(number, e) for number, e in counted if e.bundle == bundle])
        tied = "" if best.clear else f" (no clear best: rows {in_spans(best.overlapping)} overlap)"
        said.append(f"{bundle} {best.entry.p50_ms:.3g} ms {best.entry.where}{tied}")
    return f"Fastest {counted[0][1].kind}: {'; '.join(said)}{'; ...' * (len(bundles) > 3)}"


def _subtitle(entries: Sequence[Entry]) -> str:
    measured = [e for e in entries if not e.predicted]
    said = [_count(len(measured), "measured row"), _count(len(entries) - len(measured), "predicted row")]
    days = sorted({e.profile.date_utc[:10] for e in measured if e.profile})
    when = f", measured {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else "") if days else ""
    bundles, devices = len({e.bundle for e in entries}), len({e.device for e in entries if not e.program})
    named = ", ".join(_count(n, thing) for n, thing in ((bundles, "bundle"), (devices, "device")) if n)
    return f"{' and '.join(s for s in said if s)}: {named}{when}."


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}{'s' * (n != 1)}" if n else ""


def _columns(entries: Sequence[Entry]) -> list[Column]:
    """Those of the table, without the bundle: on the page it is the heading of its rows."""
    return [column for column in shown(entries) if column.title != "bundle"]


def _rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    columns = _columns(entries)
    return [
        {
            "number": number,
            "name": ", ".join((entry.bundle, entry.device, entry.precision)),
            "kind": entry.kind,
            "first": number == 1 or entries[number - 2].bundle != entry.bundle,
            "bundle": entry.bundle,
            "about": "; ".join(s for s in (entry.stage_in_words, entry.profile and shapes(entry.profile)) if s),
            "cells": [(column, column.cell(entry)) for column in columns],
            "made_by": entry.made_by,
        }
        for number, entry in enumerate(entries, 1)
    ]


def _warnings(entries: Sequence[Entry]) -> list[str]:
    """What a reader must know of rows, each once with their numbers; short tails are left out, the table marks them."""
    rows: dict[str, list[int]] = {}
    for number, entry in enumerate(entries, 1):
        for warning in entry.warnings:
            if not warning.startswith("tail"):
                rows.setdefault(warning, []).append(number)
    return [f"row{'s' * (len(found) > 1)} {in_spans(found)}: {warning}" for warning, found in rows.items()]


def _plot(plot: Plot) -> dict[str, Any]:
    from markupsafe import Markup, escape

    drawn = Markup(inline(draw(plot), plot.name, str(escape(plot.title))))
    return {"name": plot.name, "title": plot.title, "note": plot.note, "svg": drawn}
