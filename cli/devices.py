"""`helmsight devices`: the boards that helmsight knows, and what is known of one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..devices.device import Device, Figures

MARKS = {"verified": "", "secondary": "~", "memory": "?"}
LEGEND = (
    "No mark: verified, in the maker's document or on a board.  ~: read elsewhere.  ?: from memory, no source opened.\n"
    "GPU figures are for one GPU, peaks are dense. `helmsight devices NAME` gives the source of every figure.\n"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(devices)


def devices(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One device: an id or an alias.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """List the boards that helmsight knows, or show one of them with the source of every figure."""
    from ..devices.device import catalog, device

    found = (device(name),) if name else catalog()
    if as_json:
        record: Any = found[0].to_json() if name else {"devices": [d.to_json() for d in found]}
        print(json.dumps(record, indent=1))
        return
    console = _console()
    if name:
        _print_one(console, found[0])
        return
    console.print(_overview(found))
    console.print(LEGEND, markup=False, highlight=False)
    console.print(_servings(found))


def _console() -> Console:
    """Off a terminal nothing is cut or folded to fit 80 columns: a file or a pipe has no width."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=200)


def _overview(found: tuple[Device, ...]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table("device", "GPU", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("FP32\nTFLOP/s", "FP16\nTFLOP/s", "memory\nGB", "memory\nGB/s", "max\nW", "price\n$"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("served by")
    for d in found:
        table.add_row(d.id, _gpu(d), *_numbers(d), d.served_by.key)
    return table


def _servings(found: tuple[Device, ...]) -> Table:
    """What the column `served by` means, and how much of it is there."""
    from rich import box
    from rich.table import Table

    table = Table("served by", "how", "this version", "what works today", box=box.SIMPLE_HEAD, pad_edge=False)
    for serving in dict.fromkeys(d.served_by for d in found):
        table.add_row(serving.key, serving.how, serving.state, serving.today)
    return table


def _gpu(d: Device) -> str:
    """Such as `8x sm_80`, marked like any figure."""
    if d.gpu is None:
        return "none"
    mark = MARKS[d.gpu.origin_of("compute_capability").confidence]
    return f"{f'{d.gpu.count}x ' if d.gpu.count > 1 else ''}sm_{d.gpu.compute_capability.replace('.', '')}{mark}"


def _numbers(d: Device) -> list[str]:
    peaks: Figures | None = d.gpu or d.cpu
    return [
        _marked(peaks, "fp32_gflops", 1e-3),
        _marked(d.gpu, "fp16_gflops", 1e-3),
        _marked(d.memory, "size_gb"),
        _marked(d.memory, "bandwidth_gb_s"),
        _watts(d),
        _marked(d.price, "usd"),
    ]


def _watts(d: Device) -> str:
    """The most that the board takes, or its highest power mode where that is all that is known."""
    power = d.power
    if power and power.board_max_w is None and power.modes_w:
        return f"{power.modes_w[-1]:g}{MARKS[power.origin_of('modes_w').confidence]}"
    return _marked(power, "board_max_w")


def _marked(group: Figures | None, figure: str, scale: float = 1.0) -> str:
    """A figure with the mark of its confidence, `-` when nobody knows it."""
    value = group.known().get(figure) if group else None
    if group is None or value is None:
        return "-"
    return f"{_short(value * scale)}{MARKS[group.origin_of(figure).confidence]}"


def _short(value: float) -> str:
    """Three digits, whole numbers with thousands apart."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _print_one(console: Console, d: Device) -> None:
    from rich.table import Table

    lines = [f"{d.name} ({d.id})"]
    if d.aliases:
        lines.append(f"also called: {', '.join(d.aliases)}")
    lines += [f"served by: {d.served_by.how} ({d.served_by.state})", f"works today: {d.served_by.today}"]
    lines += [d.notes] if d.notes else []
    for line in lines:
        console.print(line, markup=False, highlight=False)
    table = Table("figure", "value", "confidence", "source", pad_edge=False)
    for group_name, group in d.groups().items():
        for figure, value in group.known().items():
            origin = group.origin_of(figure)
            table.add_row(f"{group_name}.{figure}", _value(value), origin.confidence, origin.source)
        table.add_section()
    console.print(table)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " / ".join(f"{v:g}" for v in value)
    return f"{value:,}" if isinstance(value, int | float) else str(value)
