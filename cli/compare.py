"""`helmsight compare`: two profiles side by side, and a gate on getting slower."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..devices.errors import GateFailed, UsageError
from ._options import share
from ._output import print_json, table

if TYPE_CHECKING:
    from ..runtime.profiler.compare import Comparison, Row


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="A profile: what it was.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="A profile: what it is now.")],
    fail_if_slower: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="Exit 1 when B's median is slower by more, such as 5%.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare unlike things all the same.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Compare two files of `helmsight profile -o`: ratios with their 95 % bootstrap intervals."""
    from ..runtime.profiler import load_profiles
    from ..runtime.profiler.compare import compare as side_by_side
    from ..runtime.profiler.compare import pairs

    tolerance = None if fail_if_slower is None else share(fail_if_slower, "--fail-if-slower")
    found = [side_by_side(p, q) for p, q in pairs(load_profiles(a), load_profiles(b))]
    for one in found:
        if one.unlike and not force:
            raise UsageError(f"{one.a} and {one.b} are unlike ({'; '.join(one.unlike)}); --force compares them anyway")
    if as_json:
        print_json({"comparisons": [one.to_json() for one in found]})
    else:
        for one in found:
            _report(one)
    if tolerance is not None:
        _gate(found, tolerance)


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
