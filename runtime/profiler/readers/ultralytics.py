"""The table that ultralytics' `benchmark` prints and appends to benchmarks.log: a row for each format.

Below a line `Benchmarks complete for MODEL on DATA at imgsz=SIZE` (ultralytics/utils/benchmarks.py) it is written by
pandas, or in newer versions by polars, which wraps long cells and leaves out the middle of long tables. Its time is a
mean over the images of a validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .foreign import Content, Foreign

_TITLE = re.compile(r"^Benchmarks complete for (\S+) on (.+?) at imgsz=(\S+)", re.MULTILINE)
_TIME = "Inference time (ms/im)"
_NAMES = re.compile(r"Format|Size \(MB\)|metrics/\S+|Inference time \(ms/im\)|FPS")
"""The columns but the status, whose mark is no letter and may be lost."""
_BAR = re.compile("[│┆]")
_NONE = ("NaN", "nan", "None", "null", "-")
_LEFT_OUT = "…"

Row = dict[str, str]


def is_table(content: Content) -> bool:
    """Whether it has a table's title and the column of times."""
    return bool(_TITLE.search(content.text)) and "Inference time" in content.text


def read_table(content: Content) -> list[Foreign]:
    """A result for each format that has a time; those that did not run are named. Raises ValueError without a row."""
    found: list[Foreign] = []
    titles = list(_TITLE.finditer(content.text))
    for number, title in enumerate(titles):
        end = titles[number + 1].start() if number + 1 < len(titles) else len(content.text)
        lines = content.text[title.end() : end].splitlines()
        bars = [line for line in lines if _BAR.search(line) or line.startswith("╞")]
        found += _results(title, _between_bars(bars) if bars else _by_words(lines))
    if not found:
        raise ValueError("its table has no row with a time, or is cut off")
    return found


def _results(title: re.Match[str], rows: Sequence[Row]) -> Iterator[Foreign]:
    whole = [row for row in rows if row.get("Format", _LEFT_OUT) != _LEFT_OUT]
    failed = [row["Format"] for row in whole if _number(row.get(_TIME, "")) is None]
    for row in whole:
        metric = next((name for name in row if name.startswith("metrics/")), "")
        mean_ms, score = _number(row.get(_TIME, "")), _number(row.get(metric, ""))
        if mean_ms is None:
            continue
        facts = [("data", f"{title[2]}, imgsz {title[3]}"), ("size, MB", row.get("Size (MB)", "not available"))]
        facts += [("not run there", ", ".join(failed))] if failed else []
        yield Foreign(
            program="ultralytics benchmark",
            name=title[1],
            engine=row["Format"],
            mean_ms=mean_ms,
            score=None if score is None else (metric, score),
            facts=tuple(facts),
            warnings=("the log itself leaves out rows of the table",) if len(whole) < len(rows) else (),
        )


def _between_bars(lines: Sequence[str]) -> list[Row]:
    """The rows of a table with bars: a line whose first cell, the number, is empty goes on with the one before."""
    head = next((number for number, line in enumerate(lines) if line.startswith("╞")), len(lines))
    columns = list(zip(*map(_cells, lines[:head]), strict=True)) if head else []
    names = [" ".join(part for part in column if part).partition(" ---")[0] for column in columns]
    cells: list[list[str]] = []
    for line in lines[head + 1 :]:
        new = _cells(line)
        if len(new) != len(names):
            continue
        if new[0] or not cells:
            cells.append(new)
        else:
            cells[-1] = [f"{old} {more}".strip() for old, more in zip(cells[-1], new, strict=True)]
    return [dict(zip(names, row, strict=True)) for row in cells]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in _BAR.split(line)[1:-1]]


def _by_words(lines: Sequence[str]) -> list[Row]:
    """The rows of a table without bars: only the format's name, which comes first, has spaces in it."""
    head = next((number for number, line in enumerate(lines) if _TIME in line), len(lines))
    values = [name for name in _NAMES.findall(lines[head]) if name != "Format"] if head < len(lines) else []
    rows = []
    for line in lines[head + 1 :]:
        words = line.split()
        words = words[1:] if words and words[0].isdigit() else words
        last = words[-len(values) :]
        if len(words) > len(values) and all(word in _NONE or _number(word) is not None for word in last):
            name = " ".join(word for word in words[: -len(values)] if word.isascii())  # without the mark of its status
            rows.append(dict(zip(values, last, strict=True)) | {"Format": name})
    return rows


def _number(text: str) -> float | None:
    """A figure of 0 or more; None for what is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
