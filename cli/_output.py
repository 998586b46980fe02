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


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], again: int = 0) -> None:
    """A table on stdout; off a terminal it is as wide as it needs, so that nothing is cut.

    With `again`, columns that the terminal has no room for go into further tables, each with the first `again` ones.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=160)
    filled = list(rows)
    widths = [max(len(line) for row in (columns, *filled) for line in row[i].split("\n")) for i in range(len(columns))]
    fits, fits_without_spaces = (1 + sum(w + between for w in widths) <= console.width for between in (3, 1))
    beside = 0 if again and fits_without_spaces and not fits else 1
    for part, shown in enumerate(_parts(widths, 1 + 2 * beside, console.width, again)):
        drawn = Table(title=None if part else title, title_justify="left", header_style="bold", padding=(0, beside))
        for index in shown:
            drawn.add_column(columns[index], overflow="fold", no_wrap=index == 0)  # the first is what is typed again
        for row in filled:
            drawn.add_row(*(row[index] for index in shown))
        console.print(drawn)


def _parts(widths: Sequence[int], between: int, room: int, again: int) -> list[list[int]]:
    """Which columns stand together in tables of at most `room`, the first `again` in all; all in one without."""
    if not again:
        return [list(range(len(widths)))]
    parts = [list(range(again))]
    for index in range(again, len(widths)):
        needed = 1 + sum(widths[i] + between for i in (*parts[-1], index))
        if needed > room and len(parts[-1]) > again:
            parts.append(list(range(again)))
        parts[-1].append(index)
    return parts


def log_to_stderr() -> None:
    """Warnings of the library, one line each."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="helmsight: %(message)s")
