"""`helmsight compare`: profiles side by side, a gate on getting slower, and the report of many of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..devices.errors import GateFailed, UsageError
from ._options import boards as named_boards
from ._options import share
from ._output import print_json, table

if TYPE_CHECKING:
    from ..runtime.profiler.compare import Comparison, Result, Row
    from ..runtime.profiler.report import Entry
    from ..runtime.profiler.report.columns import Cell


@dataclass(frozen=True, slots=True)
class _Outputs:
    """Files to write beside what is printed."""

    report: Path | None
    plots: Path | None
    table: Path | None

    def __bool__(self) -> bool:
        return bool(self.report or self.plots or self.table)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(
    files: Annotated[list[Path], typer.Argument(metavar="A.json B.json...", help="Results: first what it was.")],
    fail_if_slower: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Exit 1 when B's median is slower by more, such as 5%.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write one HTML page of all of it (.html).")] = None,
    plots: Annotated[Path | None, typer.Option(help="Write each picture as PNG and SVG into this folder.")] = None,
    table_file: Annotated[Path | None, typer.Option("--table", help="Write the table (.md, .csv).")] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(metavar="BOARD", help="Rows predicted for a board that is not here; may be repeated."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare unlike things all the same.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Compare files of `helmsight profile -o` or other programs: two as ratios, any number as a table and a report."""
    from ..runtime.profiler.compare import has_samples
    from ..runtime.profiler.readers import read_results
    from ..runtime.profiler.report import check_outputs, entries_of

    outputs = _Outputs(report, plots, table_file)
    boards = named_boards(on or ())
    tolerance = None if fail_if_slower is None else share(fail_if_slower, "--fail-if-slower")
    if tolerance is not None and len(files) != 2:
        raise UsageError(f"--fail-if-slower compares two files, and {len(files)} are given; expected A.json B.json")
    if len(files) == 1 and not outputs and not boards:
        raise UsageError("compare has one file; expected two or more, or one with --on, --report, --plots or --table")
    check_outputs(report, plots, table_file)
    loaded = [read_results(path) for path in files]
    results = [one for found in loaded for one in found]
    if tolerance is None and (outputs or boards or len(files) != 2 or not all(map(has_samples, results))):
        _many(entries_of(results, boards), outputs, force, as_json)
        return
    found = _two(loaded[0], loaded[1], force, as_json)
    if outputs:
        _write(entries_of(results, boards), outputs)
    if tolerance is not None:
        _gate(found, tolerance)


def _two(a: Sequence[Result], b: Sequence[Result], force: bool, as_json: bool) -> list[Comparison]:
    """Two files as ratios, bundle by bundle."""
    from ..runtime.profiler.compare import compare as side_by_side
    from ..runtime.profiler.compare import pairs

    found = [side_by_side(p, q) for p, q in pairs(a, b)]
    for one in found:
        if one.unlike and not force:
            raise UsageError(f"{one.a} and {one.b} are unlike ({'; '.join(one.unlike)}); --force compares them anyway")
    if as_json:
        print_json({"comparisons": [one.to_json() for one in found]})
    else:
        for one in found:
            _report(one)
    return found


def _many(entries: Sequence[Entry], outputs: _Outputs, force: bool, as_json: bool) -> None:
    """Any number of files as a table, and what `outputs` asks for."""
    from ..runtime.profiler.report import columns, unlike

    differ = unlike(entries)
    if differ and not force:
        raise UsageError(f"{'; '.join(differ)}: these do not belong together; --force compares them anyway")
    if as_json:
        print_json({"rows": [columns.flat(entry) for entry in entries]})
    else:
        titles = [f"{c.title}\n{c.unit}" for c in columns.shown(entries)]
        rows = [[str(i), *_lines(cells)] for i, cells in enumerate(columns.rows(entries), 1)]
        table("latency, energy and price", ("row", *titles), rows, again=1)
        print("\n".join([*columns.legend(entries), *_of_others(entries), *(f"! unlike, {d}" for d in differ)]))
    _write(entries, outputs)


def _of_others(entries: Sequence[Entry]) -> Iterator[str]:
    """What other programs' files tell beside the columns."""
    for number, entry in enumerate(entries, 1):
        if entry.program:
            yield f"row {number}: " + "; ".join(f"{name} {value}" for name, value in entry.made_by)
            yield from (f"! row {number}: {warning}" for warning in entry.warnings)


def _lines(cells: Sequence[Cell]) -> list[str]:
    """Each cell with its small print on a line of its own."""
    return [f"{cell.text}\n{cell.small}" if cell.small else cell.text for cell in cells]


def _write(entries: Sequence[Entry], outputs: _Outputs) -> None:
    from ..runtime.profiler.report import write_plots, write_report, write_table

    written: list[Path] = []
    if outputs.table:
        written.append(write_table(entries, outputs.table))
    if outputs.report:
        written.append(write_report(entries, outputs.report))
    if outputs.plots:
        pictures, missing = write_plots(entries, outputs.plots)
        written += pictures
        for line in missing:
            print(f"helmsight: {line}", file=sys.stderr)
    for path in written:
        print(f"wrote {path}", file=sys.stderr)


def _report(one: Comparison) -> None:
    print(f"A: {one.a}\nB: {one.b}")
    table("latency in ms, and B over A", ("stage", "", "A", "B", "B / A", "its 95 %"), [_cells(r) for r in one.rows])
    for line in (*(f"! unlike, {u}" for u in one.unlike), *(f"! {n}" for n in one.notes)):
        print(line)
    if not all(row.supported for row in one.rows):
        print("* tail not supported: too few samples in A or B")


def _cells(row: Row) -> list[str]:
    mark = "" if row.supported else "*"
    around = f"{row.ratio_95.low:.3f}..{row.ratio_95.high:.3f}"
    return [row.stage, f"p{row.p * 100:g}{mark}", f"{row.a_ms:.3f}", f"{row.b_ms:.3f}", f"{row.ratio:.3f}", around]


def _gate(found: Sequence[Comparison], tolerance: float) -> None:
    for one in found:
        if one.undecided(tolerance):
            print(
                f"helmsight: {one.b}: whether it is slower by more than {tolerance:.1%} is not certain", file=sys.stderr
            )
    slower = [one for one in found if one.slower(tolerance)]
    if slower:
        which = "; ".join(f"{one.b} by {_percent(one.gate)}" for one in slower)
        raise GateFailed(f"slower by more than {tolerance:.1%}: {which}; find the change, or allow more")


def _percent(row: Row) -> str:
    return f"{row.ratio - 1:.1%} (95 %: {row.ratio_95.low - 1:.1%} to {row.ratio_95.high - 1:.1%})"
