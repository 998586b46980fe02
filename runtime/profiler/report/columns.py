"""The headline table: its columns once, written as Markdown and CSV, and read by the page and the terminal."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .entry import Entry

NOT_AVAILABLE = "not available"


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure as it is printed, and below it in small what must be read with it."""

    text: str
    small: str = ""

    @property
    def known(self) -> bool:
        return self.text != NOT_AVAILABLE

    def __str__(self) -> str:
        return f"{self.text} ({self.small})" if self.small else self.text


@dataclass(frozen=True, slots=True)
class Column:
    """A title with its unit, and the cell of a row. `number` is set flush right."""

    title: str
    unit: str
    cell: Callable[[Entry], Cell]
    number: bool = True
    asked: Callable[[Entry], bool] | None = None
    """Whether a row is a reason to show the column; else each row is that has something in it."""

    def shown_for(self, entry: Entry) -> bool:
        cell = self.cell(entry)
        return self.asked(entry) if self.asked else cell.known or bool(cell.small)

    @property
    def heading(self) -> str:
        return f"{self.title}, {self.unit}" if self.unit else self.title


def plain(value: float) -> str:
    """Three digits at least, never an exponent: 0.000512, 1.23, 456, 12,345."""
    if value >= 100:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return text if "e" not in text else f"{value:.9f}".rstrip("0")


def milliseconds(value: float) -> str:
    """To the microsecond, as `helmsight profile` prints it."""
    return f"{value:.3f}"


def _p50(entry: Entry) -> Cell:
    around = entry.p50_interval_ms
    if entry.p50_ms is None:
        return Cell(NOT_AVAILABLE)
    if around is None:
        return Cell(milliseconds(entry.p50_ms), "no interval")
    return Cell(milliseconds(entry.p50_ms), f"{milliseconds(around.low)} to {milliseconds(around.high)}")


def _mean(entry: Entry) -> Cell:
    times = entry.times_ms
    mean = float(times.mean()) if len(times) else entry.mean_ms
    return Cell(NOT_AVAILABLE if mean is None else milliseconds(mean))


def _fps(entry: Entry) -> Cell:
    return Cell(NOT_AVAILABLE if entry.fps is None else plain(entry.fps))


def _power(entry: Entry) -> Cell:
    if entry.watts is None:
        return Cell(NOT_AVAILABLE)
    return Cell(plain(entry.watts.value), "at most" if entry.watts.bound else "measured")


def _tail(p: float) -> Callable[[Entry], Cell]:
    def cell(entry: Entry) -> Cell:
        for found in entry.tail:
            if found.p == p:
                return Cell(milliseconds(found.ms) + ("" if found.supported else "*"))
        return Cell(NOT_AVAILABLE)

    return cell


def _per_watt(entry: Entry) -> Cell:
    watts, figure = entry.watts, entry.fps_per_watt
    if watts is None or figure is None:
        return Cell(NOT_AVAILABLE)
    return Cell(plain(figure), f"{'at most ' if watts.bound else ''}{plain(watts.value)} W")


def _per_usd(entry: Entry) -> Cell:
    usd, figure = entry.usd, entry.fps_per_usd
    if usd is None or figure is None:
        return Cell(NOT_AVAILABLE)
    return Cell(plain(figure), f"${usd.value:,.2f}".removesuffix(".00"))


def _energy(entry: Entry) -> Cell:
    if entry.watts is None or entry.energy_mj is None:
        return Cell(NOT_AVAILABLE)
    return Cell(plain(entry.energy_mj), "at most" if entry.watts.bound else "measured")


def _score(entry: Entry) -> Cell:
    score = entry.score
    if score is None:
        return Cell(NOT_AVAILABLE)
    n = "" if score.n is None else f", n {score.n:,}"
    return Cell(f"{score.value:.3f}", f"{score.metric}{n}")


def _memory(entry: Entry) -> Cell:
    need = entry.memory_bytes
    if need is None:
        return Cell(NOT_AVAILABLE)
    size = entry.board.memory.size_gb if entry.board else None
    return Cell(plain(need.value / 1e6), f"of {size * 1e3:,g}" if size else "")


COLUMNS = (
    Column("bundle", "", lambda e: Cell(e.bundle, e.stage_in_words), number=False),
    Column("device", "", lambda e: Cell(e.device, e.engine), number=False),
    Column("precision", "", lambda e: Cell(e.precision), number=False),
    Column("result", "", lambda e: Cell(e.kind, f"by {e.program}" if e.program else ""), number=False),
    Column("p50", "ms", _p50),
    Column("mean", "ms", _mean, asked=lambda e: e.mean_ms is not None),
    Column("p90", "ms", _tail(0.9)),
    Column("p99", "ms", _tail(0.99)),
    Column("FPS", "1 / p50", _fps),
    Column("power", "W", _power, asked=lambda e: bool(e.program) and e.watts is not None),
    Column("FPS per watt", "", _per_watt),
    Column("FPS per dollar", "", _per_usd),
    Column("energy a query", "mJ", _energy),
    Column("accuracy", "", _score),
    Column("memory", "MB, at least", _memory),
)


def shown(entries: Sequence[Entry]) -> tuple[Column, ...]:
    """The columns in which at least one row has something; `legend` names the others."""
    return tuple(column for column in COLUMNS if any(map(column.shown_for, entries)))


def rows(entries: Sequence[Entry]) -> list[list[Cell]]:
    """The cells of every row, of the columns that are shown."""
    columns = shown(entries)
    return [[column.cell(entry) for column in columns] for entry in entries]


def legend(entries: Sequence[Entry]) -> list[str]:
    """What must be known to read the table, a sentence each; only what is in it."""
    said = ["Below p50 is its interval: 95 % by bootstrap where it was measured."]
    if predicted := [e for e in entries if e.predicted]:
        held = f"{predicted[0].coverage * 100:.0f} %"
        said[0] += f" Predicted rows were not measured, nobody ran them; theirs holds {held} of such."
    said.append("FPS is one query after the other, 1 / p50.")
    if any(e.throughput for e in entries):
        said[-1] += " Of offline it is what all streams answered together, of camera what was answered at its pace."
    if any(not q.supported for e in entries for q in e.tail):
        said.append("* tail not supported: too few samples (p90 needs 23,886, p99 262,742, by MLPerf's rule).")
    if any(e.program for e in entries):
        said.append(
            "What another program measured is as its file has it: a percentile without samples is never supported, and "
            "without its samples a median has no interval."
        )
    if any(e.watts and e.watts.bound for e in entries):
        said.append(
            "Watts were not measured where it says at most: they are what the whole board takes in its highest mode."
        )
    if meters := list(dict.fromkeys(e.watts.origin for e in entries if e.watts and not e.watts.bound)):
        apart = ", which are unlike" if len(meters) > 1 else ""
        said.append(f"Watts were {'; '.join(meters)}{apart}.")
    if any(e.usd for e in entries):
        said.append("Prices are list prices of the time in US dollars without tax, the highest where several were met.")
    if any(e.streams > 1 for e in entries):
        said.append(
            "Watts and dollars of a board with several GPUs are shared among them: each answers its own queries."
        )
    if low := list(dict.fromkeys(e.score.metric for e in entries if e.score and not e.score.higher_is_better)):
        said.append(f"Of {' and '.join(low)} less is better, of other scores more.")
    if any(e.memory_bytes for e in entries):
        said.append(
            "Memory at least: weights and the tensors that live at one time; what the engine adds is not in it."
        )
        if not all(e.memory_bytes or e.program for e in entries):
            said[-1] += " Of a bundle whose export did not count those tensors it is not available."
    if missing := [c.title for c in COLUMNS if c not in shown(entries) and c.asked is None]:
        said.append(f"Not available for any row: {', '.join(missing)}.")
    return said


def markdown(entries: Sequence[Entry]) -> str:
    """The table in Markdown, its legend below."""
    columns = shown(entries)
    lines = [[c.heading for c in columns], ["---:" if c.number else "---" for c in columns]]
    lines += [[_for_markdown(str(cell)) for cell in row] for row in rows(entries)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return table + "\n\n" + "\n".join(f"- {line}".replace("- *", "- \\*") for line in legend(entries)) + "\n"


def csv_text(entries: Sequence[Entry]) -> str:
    """The table as CSV: plain numbers in full, units in the names, an empty field where a figure is not available."""
    stream = io.StringIO()
    records = [flat(entry) for entry in entries]
    writer = csv.DictWriter(stream, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def flat(entry: Entry) -> dict[str, Any]:
    """A row as plain values, units in their names; None where a figure is not available."""
    tail = {q.p: q for q in entry.tail}
    p90, p99 = tail.get(0.9), tail.get(0.99)
    return {
        "device": entry.device,
        "board": entry.board.id if entry.board else None,
        "bundle": entry.bundle,
        "stage": entry.stage,
        "precision": entry.precision,
        "engine": entry.engine,
        "result": entry.kind,
        "program": entry.program or None,
        "queries": len(entry.times_ms) or None,
        "mean_ms": entry.mean_ms,
        "p50_ms": entry.p50_ms,
        "p50_low_ms": entry.p50_interval_ms and entry.p50_interval_ms.low,
        "p50_high_ms": entry.p50_interval_ms and entry.p50_interval_ms.high,
        "interval": entry.coverage,
        "p90_ms": p90 and p90.ms,
        "p90_supported": p90 and p90.supported,
        "p99_ms": p99 and p99.ms,
        "p99_supported": p99 and p99.supported,
        "fps": entry.fps,
        "streams": entry.streams,
        "watts": entry.watts and entry.watts.value,
        "watts_from": entry.watts and entry.watts.origin,
        "idle_watts": entry.idle_watts,
        "fps_per_watt": entry.fps_per_watt,
        "usd": entry.usd and entry.usd.value,
        "usd_from": entry.usd and entry.usd.origin,
        "fps_per_usd": entry.fps_per_usd,
        "energy_mj": entry.energy_mj,
        "metric": entry.score and entry.score.metric,
        "score": entry.score and entry.score.value,
        "score_n": entry.score and entry.score.n,
        "memory_bytes": entry.memory_bytes and entry.memory_bytes.value,
        "operations": entry.work and entry.work.operations,
        "moved_bytes": entry.work and entry.work.moved_bytes,
        "gflops": entry.work and entry.work.gflops,
        "attainable_gflops": entry.work and entry.work.attainable_gflops(),
    }


def _for_markdown(text: str) -> str:
    """One line that no table and no HTML in it breaks."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|").replace("*", "\\*")
