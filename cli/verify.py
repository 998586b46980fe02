"""`helmsight verify`: is a bundle whole, and does it run here?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ._output import print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)


def verify(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or one that ships.")],
    device: Annotated[str, typer.Option(help="cpu, openvino, tuned, cuda, tensorrt or tensorrt-rtx.")] = "cpu",
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Whose signature it must have: a public key or an authority's certificate."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Check every file's hash and, with --key, who signed them; load the network and run it once.

    Exit 4 when it was changed, is not signed by that key, or does not run.
    """
    from ..runtime.backends import SessionOptions
    from ..runtime.inspection import verify as check

    found = check(bundle, SessionOptions(device=device), key)
    for file in found.unlisted:
        print(f"helmsight: {found.path}/{file} is not in the manifest; nothing reads it", file=sys.stderr)
    if as_json:
        print_json(found.to_json())
        return
    signed = f"signed by {found.signed_by}, " if found.signed_by else ""
    print(
        f"{found.name}: {found.files} files as the manifest says, {signed}runs on {found.device} in {found.precision} "
        f"(loaded in {found.load_ms:.0f} ms); manifest SHA-256 {found.manifest_sha256}"
    )
