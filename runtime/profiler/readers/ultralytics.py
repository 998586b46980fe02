"""The table that ultralytics' `benchmark` prints and appends to benchmarks.log: a row for each format.

It is a pandas or, in newer versions, a polars table below a line `Benchmarks complete for MODEL on DATA at imgsz=SIZE`
(ultralytics/utils/benchmarks.py). Its inference time is a mean over the images of a validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .foreign import Content, Foreign

_TITLE = re.compile(r"^Benchmarks complete for (\S+) on (.+?) at imgsz=(\S+)", re.MULTILINE)
_TIME = "Inference time (ms/im)"
_NAMES = re.compile(r"Format|Size \(MB\)|metrics/\S+|Inference time \(ms/im\)|FPS")
"""The columns but the status, whose mark is no letter and may be lost."""
_BARS = re.compile("[│┆|]")
_NONE = ("NaN", "nan", "None", "null", "-")


def is_table(content: Content) -> bool:
    """Whether it has a table's title and the column of times."""
    return bool(_TITLE.search(content.text)) and _TIME in content.text


def read_table(content: Content) -> list[Foreign]:
    """A result for each format that has a time; those that failed there are named. Raises ValueError without a row."""
    found: list[Foreign] = []
    titles = list(_TITLE.finditer(content.text))
    for number, title in enumerate(titles):
        end = titles[number + 1].start() if number + 1 < len(titles) else len(content.text)
        found += _table(title, content.text[title.end() : end])
    if not found:
        raise ValueError("its table has no row with a time, or is cut off")
    return found


def _table(title: re.Match[str], text: str) -> Iterator[Foreign]:
    model, data, size = title[1], title[2], title[3]
    lines = [_BARS.sub(" ", line) for line in text.splitlines()]
    at = next((number for number, line in enumerate(lines) if _TIME in line), len(lines))
    names = _NAMES.findall(lines[at]) if at < len(lines) else []
    rows = [row for line in lines[at + 1 :] if (row := _row(line, names))]
    metric = next((name for name in names if name.startswith("metrics/")), "")
    failed = [row["Format"] for row in rows if _number(row[_TIME]) is None]
    for row in rows:
        mean_ms, score = _number(row[_TIME]), _number(row.get(metric, ""))
        if mean_ms is None:
            continue
        facts = [("data", f"{data}, imgsz {size}"), ("size, MB", row.get("Size (MB)", "not available"))]
        facts += [("not run there", ", ".join(failed))] if failed else []
        yield Foreign(
            program="ultralytics benchmark",
            name=model,
            engine=row["Format"],
            mean_ms=mean_ms,
            score=None if score is None else (metric, score),
            facts=tuple(facts),
        )


def _row(line: str, names: Sequence[str]) -> dict[str, str]:
    """The cells of a line by the names of `names`, empty where it is none: only the format's own name has spaces."""
    words = line.split()
    words = words[1:] if words and words[0].isdigit() else words
    values = [name for name in names if name != "Format"]
    if len(words) <= len(values) or any(word not in _NONE and _number(word) is None for word in words[-len(values) :]):
        return {}
    head = [word for word in words[: -len(values)] if word.isascii()]  # without the mark of its status
    return dict(zip(values, words[-len(values) :], strict=True)) | {"Format": " ".join(head)}


def _number(text: str) -> float | None:
    """A figure of 0 or more; None for what is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
