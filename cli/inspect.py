"""`helmsight inspect`: what a bundle says of itself."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(inspect)


def inspect(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or one that ships.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Show a bundle: inputs and outputs, size and operations, parity, scores, hashes, what made it."""
    from ..runtime.inspection import describe
    from ._bundle import print_description

    print_description(describe(bundle), as_json)
