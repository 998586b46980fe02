"""The report of a comparison: rows, their table as Markdown or CSV, pictures, and one HTML page with all of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ....devices.errors import UsageError, need
from . import columns
from .columns import csv_text, markdown
from .entry import Entry
from .page import html_page
from .plots import draw, figure, plots
from .rows import entries_of, unlike
from .style import settings

__all__ = ["Entry", "check_outputs", "columns", "entries_of", "unlike", "write_plots", "write_report", "write_table"]

TABLES = {".md": markdown, ".csv": csv_text}


def check_outputs(report: Path | None, pictures: Path | None, table: Path | None) -> None:
    """What can be known before anything is read or drawn.

    Raises MissingExtra without the extra `plot` where it is needed, UsageError for a folder that is not there or an
    unknown ending.
    """
    if report or pictures:
        need("matplotlib", "plot")
    if report:
        need("jinja2", "plot")
        _check("--report", report, (".html", ".htm"))
    if table:
        _check("--table", table, tuple(TABLES))
    if pictures and not pictures.parent.is_dir():
        raise UsageError(f"--plots {pictures}: there is no folder {pictures.parent}; make it first")
    if pictures and pictures.exists() and not pictures.is_dir():
        raise UsageError(f"--plots {pictures} is a file; expected a folder, which is made if it is not there")


def write_report(entries: Sequence[Entry], path: Path) -> Path:
    """The page at `path`, which is returned."""
    path.write_text(html_page(entries), encoding="utf-8")
    return path


def write_table(entries: Sequence[Entry], path: Path) -> Path:
    """The table at `path`, which is returned; its ending says in which form."""
    path.write_text(TABLES[path.suffix.lower()](entries), encoding="utf-8")
    return path


def write_plots(entries: Sequence[Entry], folder: Path) -> tuple[list[Path], list[str]]:
    """Each picture as PNG and SVG into `folder`; returns the files, and why other pictures are not available."""
    folder.mkdir(exist_ok=True)
    written, missing = [], []
    for plot in plots(entries):
        if plot.draw is None:
            missing.append(f"{plot.name}: not available, {plot.missing}")
            continue
        png, svg = (folder / f"{plot.name}{ending}" for ending in (".png", ".svg"))
        svg.write_text(draw(plot, titled=True), encoding="utf-8")
        with settings():
            figure(plot, titled=True).savefig(png, dpi=200, metadata={"Software": None})
        written += [png, svg]
    return written, missing


def _check(option: str, path: Path, endings: tuple[str, ...]) -> None:
    if path.suffix.lower() not in endings:
        raise UsageError(f"{option} {path}: the ending is {path.suffix!r}; expected {' or '.join(endings)}")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise UsageError(f"{option} {path}: a folder; expected a file in it")
