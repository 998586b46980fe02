"""A connection to a board: its address, what runs over it, and what ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helmsight.devices.errors import BadArtefact, BoardUnavailable, UsageError
from helmsight.runtime.profiler import keeper, ssh
from helmsight.runtime.profiler.address import Address, parse_address
from helmsight.runtime.profiler.ssh import Connection

from ...sshd import LONG_S, Board, noted, wait_for


def runs(pid: int) -> bool:
    """Also a process that nobody has waited for yet has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ssh://board", Address("board")),
        ("ssh://me@Board.local:2222", Address("Board.local", "me", 2222)),
        ("ssh://me@[fe80::1]:22/opt/v/bin/helmsight", Address("[fe80::1]", "me", 22, "/opt/v/bin/helmsight")),
        ("ssh://board:022/", Address("board", "", 22)),
    ],
)
def test_an_address(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text", ["ssh://", "ssh://-oProxyCommand=x", "ssh://-l@h", "ssh://h:99999", "http://h", "ssh://h?x", "ssh://a b"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected ssh://"):
        parse_address(text)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(UsageError, match="leave the password to ssh") as error:
        parse_address("ssh://me:secret@board")
    assert "secret" not in str(error.value)


def test_an_answer_without_end(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "ANSWER_BYTES", 1 << 20)
    left = board.folder / "left"
    with Connection(parse_address(board.uri)) as connection:
        for stream in ("1", "2"):
            with pytest.raises(BadArtefact, match="sends more than 1 MiB"):
                connection.run(f"sh -c 'cat /dev/zero >&{stream} & echo $! >{left}; wait'", "while it answered")
            wait_for(lambda: not runs(int(left.read_text())))
            assert not Path(connection.folder, "pid").exists(), "what has ended is not ended again"
        assert connection.run("echo still", "while it answered").stdout == b"still\n"
    assert connection._keeper.returncode == 0, "it ends by itself, and is not waited for until it is killed"


def test_what_a_process_left_behind_ends_with_the_connection(board: Board) -> None:
    left = board.folder / "left"
    with (
        Connection(parse_address(board.uri)) as connection,
        subprocess.Popen(
            connection._command(keeper.run(connection.folder, f"sh -c 'sleep 600 & echo $! >{left}; wait'"))
        ),
    ):
        wait_for(lambda: left.exists() and left.read_text().endswith("\n"))
        connection._end()
    wait_for(lambda: not runs(int(left.read_text())))


def test_what_runs_is_stopped_and_its_number_is_forgotten(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    command = ["sh", "-c", keeper.run(str(tmp_path), "sleep 60")]
    with subprocess.Popen(command, start_new_session=True) as login:
        wait_for(lambda: pid.exists() and pid.read_text().endswith("\n"))
        running = noted(pid)
        subprocess.run(["sh", "-c", keeper.stop(str(tmp_path))], check=False)
        assert login.wait(LONG_S) != 0
    assert not runs(running)
    assert not pid.exists()


@pytest.mark.parametrize("began", ["1", ""])
def test_another_process_that_has_the_number_now_is_left_alone(tmp_path: Path, began: str) -> None:
    pid = tmp_path / "pid"
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        pid.write_text(f"{stranger.pid} {began}\n")
        done = subprocess.run(["sh", "-c", keeper.stop(str(tmp_path))], check=False, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        assert stranger.poll() is None
        assert not pid.exists()
        stranger.kill()


def test_a_long_folder_for_temporary_files(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("long" * 25)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with Connection(parse_address(board.uri)) as connection:
        assert connection.run("echo here", "while it answered").stdout == b"here\n"


def test_a_connection_that_breaks_while_files_are_copied(board: Board, tmp_path: Path) -> None:
    def files() -> Iterator[tuple[str, bytes, int]]:
        for number in range(1000):
            yield f"many/{number}", bytes(10_000), 0o644
            if number == 500:
                board.drop()

    with (
        Connection(parse_address(board.uri)) as connection,
        pytest.raises(BoardUnavailable, match="the connection was lost while files were copied there"),
    ):
        connection.send(files())
    wait_for(lambda: not list(board.tmp.iterdir()))


def test_a_board_that_hears_nothing_any_more_cleans_up(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a cable was pulled: its server waits on, for hours."""
    monkeypatch.setattr(ssh, "SILENT_S", 4)
    monkeypatch.setattr(ssh, "BEAT_S", 0.5)
    with Connection(parse_address(board.uri)) as connection:
        running = subprocess.Popen(connection._command(keeper.run(connection.folder, "sleep 600")))
        wait_for(lambda: any(file.read_text().endswith("\n") for file in board.tmp.glob("*/pid")))
        pid = noted(Path(connection.folder, "pid"))
        time.sleep(5)
        assert Path(f"/proc/{pid}").exists(), "it heard from us"
        ours = connection._keeper.pid
        os.kill(ours, signal.SIGSTOP)
        wait_for(lambda: not list(board.tmp.iterdir()))
        wait_for(lambda: not Path(f"/proc/{pid}").exists())
        os.kill(ours, signal.SIGCONT)
        assert running.wait(LONG_S) != 0
        with pytest.raises(BoardUnavailable, match="the connection was lost while asked"):
            connection.run("true", "while asked")
