"""`helmsight doctor`: what this machine is, and what of helmsight works on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ._output import print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..devices.here import Here
    from ..runtime.doctor import Report
    from ..runtime.extras import Extra


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Say what this machine is and what works on it; exit 0 unless something breaks a basic command."""
    from ..runtime.doctor import examine

    report = examine()
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    raise typer.Exit(report.exit_code)


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..runtime.extras import advice

    console = Console(highlight=False, markup=False)
    console = console if console.is_terminal else Console(highlight=False, markup=False, width=200)
    table = Table.grid(padding=(0, 2))
    table.add_row("helmsight", report.helmsight)
    for label, text in _machine(report.here):
        table.add_row(label, text)
    for extra in report.extras:
        table.add_row(f"extra {extra.name}", _extra(extra))
        if extra.missing:
            table.add_row("", f"-> {advice(extra, report.here)}")
    for finding in report.findings:
        label = finding.subject if finding.status == "ok" else f"{finding.subject}: {finding.status}"
        table.add_row(label, finding.detail)
        if finding.fix:
            table.add_row("", f"-> {finding.fix}")
    console.print(table)
    console.print(_verdict(report))


def _machine(here: Here) -> Iterator[tuple[str, str]]:
    cpu = here.cpu
    cores = f"{cpu.physical_cores} cores, {cpu.logical_cores} threads, {cpu.usable_cores} usable by this process"
    yield "board", f"{here.board or 'no name'}; {here.device or here.device_note}"
    yield "processor", f"{cpu.model} ({cpu.architecture}): {cores}"
    yield "instructions", ", ".join(cpu.isa) or "none of those that matter"
    limit = f", limited to {here.memory_limit_bytes / 1e9:.1f} GB" if here.memory_limit_bytes else ""
    yield "memory", f"{here.memory_bytes / 1e9:.1f} GB{limit}"
    l4t = f", Jetson Linux {here.l4t}" if here.l4t else ""
    if here.power_mode:
        yield "power mode", here.power_mode
    if here.governor:
        yield "clock governor", here.governor
    yield "system", f"{here.os}{l4t}, kernel {here.kernel}, {here.libc}, Python {here.python}"
    for gpu in here.gpus:
        memory = f", {gpu.memory_bytes / 1e9:.0f} GB" if gpu.memory_bytes else ""
        yield f"GPU {gpu.index}", f"{gpu.name} (sm {gpu.compute_capability}{memory}), driver {gpu.driver}"
    if here.gpus_note:
        yield "GPU", here.gpus_note


def _extra(extra: Extra) -> str:
    return ", ".join(f"{p.name} {p.version}" if p.version else f"{p.name} missing" for p in extra.packages)


def _verdict(report: Report) -> str:
    if not report.problems:
        return "No problem found."
    return "\n".join(f"Problem: {p.detail} -> {p.fix}" for p in report.problems)
