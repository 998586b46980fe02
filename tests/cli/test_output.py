"""Tables on a terminal that has no room for all of their columns."""

from __future__ import annotations

import pytest

from helmsight.cli._output import _parts, table

COLUMNS = ("row", "a\nms", "b", "c")
ROWS = [["1", "x" * 20, "y" * 20 + "\nz", "w" * 20]]


@pytest.mark.parametrize(
    ("width", "parts"),
    [
        (200, [[0, 1, 2, 3]]),
        (76, [[0, 1, 2, 3]]),
        (75, [[0, 1, 2], [0, 3]]),
        (40, [[0, 1], [0, 2], [0, 3]]),
        (5, [[0, 1], [0, 2], [0, 3]]),
    ],
)
def test_columns_go_into_further_tables(width: int, parts: list[list[int]]) -> None:
    assert _parts(COLUMNS, ROWS, width) == parts


def test_what_is_broken_is_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")  # taken for a terminal
    monkeypatch.setenv("NO_COLOR", "1")
    table("title", COLUMNS, ROWS, broken=True)
    said = capsys.readouterr().out
    assert all(len(line) <= 60 + said.count("\x1b") * 4 for line in said.splitlines())
    assert all(cell in said for cell in ("x" * 20, "y" * 20, "z", "w" * 20))
    assert said.count("row") == 2
    assert said.count("title") == 1
