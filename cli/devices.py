"""`helmsight devices`: the boards that helmsight knows, and what is known of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._output import print_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..devices.device import Device, Figures

MARKS = {"verified": "", "secondary": "~", "memory": "?"}
LEGEND = """\
No mark: verified, the source was read and says so.
~: from a source that repeats others.  ?: from memory, no source was opened.
GPU figures are for one GPU, peaks are dense (no sparsity).
`helmsight devices NAME` gives the source of every figure."""
WIDE = 115
"""Columns of a terminal that the whole table needs."""


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
        print_json(found[0].to_json() if name else {"devices": [d.to_json() for d in found]})
    elif name:
        _print_one(_console(), found[0])
    else:
        _print_all(_console(), found)


def _console() -> Console:
    """Off a terminal nothing is folded to fit 80 columns: a file or a pipe has no width."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=200)


def _print_all(console: Console, found: Sequence[Device]) -> None:
    from ..devices.device import states_in_words

    columns = COLUMNS
    if console.width < WIDE:
        columns = {title: cell for title, cell in COLUMNS.items() if title not in WIDE_ONLY}
    table = _table(("device", *columns, "served by"), right=columns)
    for d in found:
        table.add_row(d.id, *(cell(d) for cell in columns.values()), d.served_by.key)
    console.print(table)
    if columns is not COLUMNS:
        left_out = ", ".join(title.replace("\n", " ") for title in WIDE_ONLY)
        console.print(f"Left out for want of room, see --json: {left_out}.")
    console.print(LEGEND)
    servings = _table(("served by", "how", "this version", "what works today"))
    for serving in dict.fromkeys(d.served_by for d in found):
        servings.add_row(serving.key, serving.how, serving.state, serving.today)
    console.print(servings)
    console.print(states_in_words(d.served_by.state for d in found))


def _table(titles: Iterable[str], right: Iterable[str] = ()) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for i, title in enumerate(titles):
        figures = title in right
        table.add_column(title, justify="right" if figures else "left", no_wrap=figures or i == 0, overflow="fold")
    return table


def _gpu(d: Device) -> str:
    """Such as `8x sm_80`, marked like any figure."""
    if d.gpu is None:
        return "none"
    mark = MARKS[d.gpu.origin_of("compute_capability").confidence]
    return f"{f'{d.gpu.count}x ' if d.gpu.count > 1 else ''}sm_{d.gpu.compute_capability.replace('.', '')}{mark}"


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


COLUMNS: dict[str, Callable[[Device], str]] = {
    "GPU": _gpu,
    "FP32\nTFLOP/s": lambda d: _marked(d.gpu or d.cpu, "fp32_gflops", 1e-3),
    "FP16\nTFLOP/s": lambda d: _marked(d.gpu, "fp16_gflops", 1e-3),
    "memory\nGB": lambda d: _marked(d.memory, "size_gb"),
    "memory\nGB/s": lambda d: _marked(d.memory, "bandwidth_gb_s"),
    "max\nW": _watts,
    "price\n$": lambda d: _marked(d.price, "usd"),
}
WIDE_ONLY = ("GPU", "FP32\nTFLOP/s", "memory\nGB/s")


def _print_one(console: Console, d: Device) -> None:
    lines = [f"{d.name} ({d.id})"]
    lines += [f"also called: {', '.join(d.aliases)}"] if d.aliases else []
    lines += [f"served by: {d.served_by.how} ({d.served_by.state})", f"works today: {d.served_by.today}"]
    lines += [d.notes] if d.notes else []
    console.print("\n".join(lines))
    table = _table(("figure", "value", "confidence", "source"))
    sources: dict[str, int] = {}
    for group_name, group in d.groups().items():
        for figure, value in group.known().items():
            origin = group.origin_of(figure)
            number = sources.setdefault(origin.source, len(sources) + 1)
            table.add_row(f"{group_name}.{figure}", _value(value), origin.confidence, f"[{number}]")
        table.add_section()
    console.print(table)
    for source, number in sources.items():
        console.print(f"[{number}] {source}")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " / ".join(f"{v:g}" for v in value)
    return f"{value:,}" if isinstance(value, int | float) else str(value)
