"""A board that asks for a secret: on a terminal ssh asks the user, elsewhere nobody is asked."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from helmsight.runtime.bundle import Bundle
from helmsight.runtime.profiler import load_profiles

from ...sshd import Board, make_board

LONG_S = 120.0
SECRET = "a-secret-of-the-test"
PROMPT = b"Enter passphrase for key"


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """Its key has a passphrase, which ssh asks for as it asks for a password: on the terminal, unless in batch mode."""
    made = make_board(tmp_path / "board", monkeypatch)
    made.install()
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", SECRET, "-f", str(made.folder / "key")]
    subprocess.run(command, check=True)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)  # else a window would ask
    yield made
    made.stop()


def command(board: Board, bundle: Bundle, record: Path) -> list[str]:
    words = [sys.executable, "-m", "helmsight", "profile", str(bundle.path), "--device", "fake", "--on", board.uri]
    return [*words, "--duration", "0", "--queries", "20", "-o", str(record)]


@pytest.mark.parametrize(("answer", "code"), [(SECRET, 0), ("wrong", 5)])
def test_on_a_terminal_ssh_asks(board: Board, face_bundle: Bundle, tmp_path: Path, answer: str, code: int) -> None:
    if shutil.which("script") is None:
        pytest.skip("script, which makes a terminal, is not here: apt-get install bsdutils")
    record = tmp_path / "p.json"
    in_terminal = ["script", "-qec", shlex.join(command(board, face_bundle, record)), "/dev/null"]
    pipe = subprocess.PIPE
    with subprocess.Popen(in_terminal, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, bufsize=0) as running:
        assert running.stdin
        assert running.stdout
        hung = threading.Timer(LONG_S, running.kill)  # its terminal goes with it, and so ssh does and the reading ends
        hung.start()
        said, asked = b"", 0
        while part := running.stdout.read(4096):
            said += part
            if said.count(PROMPT) > asked:
                asked += 1
                running.stdin.write(f"{answer}\n".encode())
        hung.cancel()
    assert running.returncode == code, said.decode()
    assert asked >= 1
    assert SECRET.encode() not in said
    assert b"Traceback" not in said
    assert record.exists() is (code == 0)
    if code:
        assert b"cannot be reached" in said.splitlines()[-1]
    else:
        assert SECRET not in record.read_text()
        assert [one.bundle for one in load_profiles(record)] == ["face"]
    assert list(board.tmp.iterdir()) == []


def test_elsewhere_nobody_is_asked(board: Board, face_bundle: Bundle, tmp_path: Path) -> None:
    record = tmp_path / "p.json"
    run = command(board, face_bundle, record)
    done = subprocess.run(run, stdin=subprocess.DEVNULL, capture_output=True, timeout=LONG_S, check=False)
    assert done.returncode == 5
    assert PROMPT not in done.stdout + done.stderr
    assert b"Permission denied" in done.stderr.splitlines()[-1]
    assert not record.exists()
