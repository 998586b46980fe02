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


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout; off a terminal it is as wide as it needs, so that nothing is cut."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        drawn.add_column(column, overflow="fold", no_wrap=index == 0)  # the first is what is typed again
    for row in rows:
        drawn.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=160)
    console.print(drawn)


def log_to_stderr() -> None:
    """Warnings of the library, one line each."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="helmsight: %(message)s")
