"""A board that is reached over SSH, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ...sshd import Board, make_board


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    made = make_board(tmp_path / "board", monkeypatch)
    yield made
    made.stop()
