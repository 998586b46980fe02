"""A real sshd on the loopback, Debian's, with keys and folders of its own; and an `ssh` that knows its way there."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

LONG_S = 60.0
PROGRAM = "/usr/sbin/sshd"
PACKAGE = Path(__file__).parents[1] / "typings"

SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv TMPDIR={tmp} PATH={bin}:/usr/bin:/bin
LogLevel ERROR
"""
CLIENT = """\
Host *
  IdentityFile {folder}/key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  StrictHostKeyChecking {check}
"""


class Board:
    """A server's process. `bin` is first on the path of what logs in, `tmp` is where it makes its folders."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tmp, self.bin = folder, folder / "tmp", folder / "bin"
        for one in (self.tmp, self.bin):
            one.mkdir(parents=True)
        for name in ("key", "host_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        self.trust_first("accept-new")
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        self.process: subprocess.Popen[str] | None = None

    @property
    def uri(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    def trust_first(self, check: str) -> None:
        """What the client does with a host that it has not met: ssh's `StrictHostKeyChecking`."""
        (self.folder / "client").write_text(CLIENT.format(folder=self.folder, check=check))

    def start(self) -> None:
        config = self.folder / "server"
        config.write_text(SERVER.format(port=self.port, folder=self.folder, tmp=self.tmp, bin=self.bin))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself in before a login
        command = [PROGRAM, "-D", "-e", "-f", str(config)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for _ in range(100):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        said = self.process.stderr.read() if self.process.stderr and self.process.poll() is not None else ""
        pytest.skip(f"sshd does not start: {said.strip().splitlines()[-1:]}")

    def drop(self) -> None:
        """Kill the server and every connection to it, as when a board loses its power; what runs there runs on."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.process.kill()
        for child in children:
            _kill_tree(int(child))
        self.process.wait()

    def stop(self) -> None:
        if self.process:
            if self.process.poll() is None:
                self.drop()
            if self.process.stderr:
                self.process.stderr.close()

    def install(self) -> None:
        """A `helmsight` there: this tree's."""
        program = self.bin / "helmsight"
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{PACKAGE}" exec "{sys.executable}" -m helmsight "$@"\n')
        program.chmod(0o755)


def _kill_tree(pid: int) -> None:
    """A login's two processes of sshd, which are those named so."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children:
        if Path(f"/proc/{child}/comm").read_text().startswith("sshd"):
            _kill_tree(int(child))
    os.kill(pid, signal.SIGKILL)


def make_board(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """A board that is on, and the `ssh` that reaches it first on this process's path."""
    for program in (PROGRAM, "ssh", "ssh-keygen"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not here: apt-get install openssh-server openssh-client")
    board = Board(folder)
    client = folder / "client-bin"
    client.mkdir()
    (client / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{folder / "client"}" "$@"\n')
    (client / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{client}:{os.environ['PATH']}")
    board.start()
    return board


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def noted(file: Path) -> int:
    """The number of the process, which stands before the tick at which it began."""
    return int(file.read_text().split()[0])
