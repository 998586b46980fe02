"""How commands print: records to stdout as a table or as JSON, everything else to stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def print_json(record: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(record, indent=2))


def short(sha256: str) -> str:
    """As much of a hash as tells it from others in a table; --json has the whole."""
    return f"{sha256[:16]}..."


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], broken: bool = False) -> None:
    """A table on stdout; off a terminal it is as wide as it needs, so that nothing is cut.

    With `broken`, columns that the terminal has no room for go into further tables, each with the first column again.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=160)
    filled = list(rows)
    for part, shown in enumerate(_parts(columns, filled, console.width) if broken else [range(len(columns))]):
        drawn = Table(title=title if part == 0 else None, title_justify="left", header_style="bold")
        for index in shown:
            drawn.add_column(columns[index], overflow="fold", no_wrap=index == 0)  # the first is what is typed again
        for row in filled:
            drawn.add_row(*(row[index] for index in shown))
        console.print(drawn)


def _parts(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Which columns stand together in tables of at most `width`, the first in all of them."""
    widths = [max(len(line) for row in (columns, *rows) for line in row[i].split("\n")) for i in range(len(columns))]
    parts = [[0]]
    for index in range(1, len(columns)):
        needed = 1 + sum(widths[i] + 3 for i in (*parts[-1], index))  # a space on both sides, and a line
        if needed > width and len(parts[-1]) > 1:
            parts.append([0])
        parts[-1].append(index)
    return parts


def log_to_stderr() -> None:
    """Warnings of the library, one line each."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="helmsight: %(message)s")
