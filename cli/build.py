"""`helmsight build`: compiles what must be compiled on the machine that runs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..devices.errors import UsageError
from ._output import print_json, short, table

if TYPE_CHECKING:
    from ..runtime.bundle import Bundle
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
    tune: Annotated[
        bool, typer.Option("--autotune", help="Measure this machine's back ends instead, for --device tuned.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=0, help="Of --autotune: the most to try; 0, as without: all it may use.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(min=0.1, max=3600, help="Of --autotune: seconds for each number of threads; else 5.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Of --autotune: frames to feed, else the clip that ships.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Build a bundle's TensorRT engine for this machine's GPU, try it, and keep it for --device tensorrt.

    With --autotune nothing is built: what runs on the processor is measured, and the fastest that is right is kept.
    """
    from ..runtime.bundle import open_bundle
    from ..runtime.engines.build import build as build_engine
    from ._options import image_size

    for option, value in (("--threads", threads), ("--duration", duration), ("--source", source)):
        if value is not None and not tune:
            raise UsageError(f"{option} {value} is of --autotune; add it, or leave {option} out")
    opened = open_bundle(bundle)
    if imgsz:
        opened = opened.resized(image_size(imgsz))
    if tune:
        _tune(opened, (threads or 0, duration or 5.0, source), as_json)
        return
    try:
        with _bar() as report:
            built = build_engine(opened, report, force)
    except (KeyboardInterrupt, SystemExit) as ended:
        # TensorRT before 8.6 cannot be told to stop: its thread works on, and would do so while Python is taken down.
        os._exit(130 if isinstance(ended, KeyboardInterrupt) else 143)
    if as_json:
        print_json(built.to_json())
    else:
        _print(built)


def _tune(bundle: Bundle, given: tuple[int, float, str | None], as_json: bool) -> None:
    from ..export.autotune import TuneOptions, autotune
    from ..runtime.profiler.others import busy
    from ..runtime.profiler.stats import queries_needed
    from ..runtime.tuning import save

    tuning = autotune(bundle, TuneOptions(*given), say=lambda line: print(line, file=sys.stderr))
    file = save(bundle, tuning)
    if as_json:
        print_json(tuning.to_json())
        return
    needed = queries_needed(0.99)
    rows = [
        (str(row.way), row.refused)
        if row.refused
        else (
            str(row.way),
            row.precision,
            f"{row.p50_ms:.3f}",
            f"{row.p99_ms:.3f}" + ("" if row.n >= needed else "*"),
            f"{row.times_as_fast:.2f}",
            f"{row.max_abs:.2g}",
        )
        for row in tuning.rows
    ]
    columns = ("way", "computes in", "p50 ms", "p99 ms", "times as fast", "largest difference")
    table(f"{tuning.bundle}, in turns", columns, rows)
    if few := [row.n for row in tuning.rows if not row.refused and row.n < needed]:
        print(f"* tail not supported: {min(few):,} samples or more, p99 needs {needed:,} (99 % confidence)")
    if busy(cores := tuning.made["other_cores"]):
        print(f"! busy machine: other processes used {cores:.2f} cores meanwhile; tune again when it is quiet")
    for most in dict.fromkeys(row.way.threads for row in tuning.rows if not row.refused):
        best = tuning.best(most)
        usual = "; the usual way is as fast" if best is tuning.rows[0] else ""
        print(f"kept for {most} thread{'s' * (most != 1)}: {best.way}, {best.times_as_fast:.2f} times as fast{usual}")
    print(f"helmsight camera {bundle.typed} --device tuned uses it; kept in {file}")


def _print(built: Built) -> None:
    record = built.stored.record
    key = record["key"]
    layers = ", ".join(f"{n} {kind}" for kind, n in record["real"].items()) or "not told"
    rows = [
        ("engine", str(built.stored.file)),
        ("was", f"built in {record['build_s']} s" if built.fresh else "there already"),
        ("of", f"{record['network']}, SHA-256 {short(key['onnx_sha256'])}"),
        ("for", f"{key['product']} {key['version']}, {record['gpu']}, compute capability {key['compute_capability']}"),
        ("computes in", f"{record['precision']} (layers: {layers}); exported in {record['asked']}"),
        ("compared", _compared(record["compared"])),
        ("first runs", f"{record['gpu_ms']:.3g} ms on the GPU, which is no measure of speed"),
    ]
    table(record["bundle"], ("", ""), rows)


def _compared(found: Mapping[str, Any]) -> str:
    if not found["n"]:
        return f"NOT compared with ONNX Runtime: {found['why']}"
    n = found["n"]
    return (
        f"with {found['reference']}, on {n} input{'s' * (n != 1)} ({found['inputs']}): off by at most "
        f"{found['max_rel']:.2g} of an output's largest value"
    )


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
