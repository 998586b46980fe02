"""Tables on a terminal that has no room for all of their columns."""

from __future__ import annotations

import re

import pytest

from helmsight.cli._output import _parts, table

COLUMNS = ("row", "a\nms", "b", "c")
ROWS = [["1", "x" * 20, "y" * 20 + "\nz", "w" * 20]]
WIDTHS = (3, 20, 20, 20)


@pytest.mark.parametrize(
    ("room", "again", "parts"),
    [
        (76, 1, [[0, 1, 2, 3]]),
        (75, 1, [[0, 1, 2], [0, 3]]),
        (40, 1, [[0, 1], [0, 2], [0, 3]]),
        (5, 1, [[0, 1], [0, 2], [0, 3]]),
        (60, 2, [[0, 1, 2], [0, 1, 3]]),
        (5, 0, [[0, 1, 2, 3]]),
    ],
)
def test_columns_go_into_further_tables(room: int, again: int, parts: list[list[int]]) -> None:
    assert _parts(WIDTHS, 3, room, again) == parts


@pytest.mark.parametrize(
    ("width", "tables", "longest"),
    [(76, 1, 76), (75, 1, 68), (68, 1, 68), (60, 2, 53)],
)
def test_a_table_gets_narrower_and_then_is_several(
    width: int, tables: int, longest: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")  # taken for a terminal
    table("title", COLUMNS, ROWS, again=1)
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(len(line) for line in said.splitlines() if "title" not in line) == longest
    assert all(cell in said for cell in ("x" * 20, "y" * 20, "z", "w" * 20))
    assert said.count("row") == tables
    assert said.count("title") == 1
