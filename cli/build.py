"""`helmsight build`: compiles what must be compiled on the machine that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ._output import print_json, table

if TYPE_CHECKING:
    from ..runtime.engines.build import Built, Report
    from ..runtime.engines.progress import State


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(build)


def build(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or one that ships.")],
    imgsz: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", help="Input size, where the network takes several.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Build it anew where it is there already.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Build a bundle's TensorRT engine for this machine's GPU, try it, and keep it for --device tensorrt."""
    from ..runtime.bundle import open_bundle
    from ..runtime.engines.build import build as build_engine
    from ._options import image_size

    opened = open_bundle(bundle)
    if imgsz:
        opened = opened.resized(image_size(imgsz))
    with _bar() as report:
        built = build_engine(opened, report, force)
    if as_json:
        print_json(built.to_json())
    else:
        _print(built)


def _print(built: Built) -> None:
    record = built.stored.record
    key = record["key"]
    layers = ", ".join(f"{n} {kind}" for kind, n in record["real"].items()) or "not told"
    rows = [
        ("engine", str(built.stored.file)),
        ("was", f"built in {record['build_s']} s" if built.fresh else "there already"),
        ("of", f"{record['network']}, SHA-256 {key['onnx_sha256']}"),
        ("for", f"{key['product']} {key['version']}, {record['gpu']}, compute capability {key['compute_capability']}"),
        ("computes in", f"{record['precision']} (layers: {layers}); exported in {record['asked']}"),
        ("first runs", f"{record['gpu_ms']:.3g} ms on the GPU, which is no measure of speed"),
    ]
    table(record["bundle"], ("", ""), rows)


@contextmanager
def _bar() -> Iterator[Report]:
    """A bar with the time that is left, on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda state: None
        return
    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f}% {task.fields[left]} {task.description}"))
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("", total=1.0, left="")

        def report(state: State) -> None:
            left = "" if state.left_s is None else f"about {state.left_s:.0f} s left"
            shown.update(task, completed=state.share, description=state.phase, left=left)

        yield report
