"""A board over SSH: one connection, a folder of its own there, files into it and commands in it.

OpenSSH's own client does it, so that keys, passwords, aliases, jump hosts and known hosts are what they are for `ssh`.
Nothing here knows a bundle or a profile.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from types import TracebackType
from typing import IO

from ...devices.errors import BadArtefact, BoardUnavailable, DeviceMismatch, MissingExtra, reason_of
from .address import Address
from .client import read_both, socket_folder, write_tar
from .keeper import READY, keeper, run, stop

CONNECT_S = 10
ALIVE_S, ALIVE_TRIES = 5, 3
"""A board that says nothing for so many seconds, so many times in a row, is lost."""
GREETING_S = 60
"""A login that is not ready by then never will be; not counted where a password may be asked for."""
BEAT_S, SILENT_S = 15, 60
"""How often the board is told that we are still here, and the silence after which it takes us for gone: what a server
does not notice by itself for hours when a cable was pulled or a laptop sleeps."""
CLOSE_S = 20
SPARE_BYTES = 4 << 20
"""Room on the board beside the files: for the record and what the file system itself takes."""
ANSWER_BYTES = 64 << 20
"""Of one answer of a board: the times of five million queries in plain figures."""
GREETING_LINES, LINE_BYTES = 10_000, 4096
PROGRESS = ("measuring ", "timing the layers", "wrote ")
"""How lines begin in which a helmsight tells of what it does."""
WARNINGS = 20
"""Lines of one run that are repeated here."""

log = logging.getLogger(__name__)


class Connection:
    """`with Connection(address) as board: ...`: connected, and a folder there that goes when the connection does.

    `facts` has what the board said of itself: `folder`, `machine` (as `uname -m`), `libc`, `free_kb`, and `helmsight`
    where it was found. With `ask`, ssh may ask for a password on the terminal. Entering raises BoardUnavailable.
    """

    def __init__(self, address: Address, ask: bool = False) -> None:
        self.address = address
        self.facts: Mapping[str, str] = {}
        self._ask = ask
        self._ended = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Connection:
        with ExitStack() as stack:
            self._socket = f"{stack.enter_context(socket_folder())}/s"
            self._said = stack.enter_context(tempfile.TemporaryFile())
            self._keeper = self._start()
            stack.callback(self._end)
            self.facts = self._greeting()
            threading.Thread(target=self._beat, name="helmsight-ssh", daemon=True).start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def folder(self) -> str:
        """The board's folder, which is this connection's alone."""
        return self.facts["folder"]

    @property
    def lost(self) -> bool:
        """True once the connection is gone."""
        return self._keeper.poll() is not None

    def check_room(self, needed: int) -> None:
        """Raises DeviceMismatch when the board has no room for `needed` bytes."""
        free = self.facts.get("free_kb", "")
        if free.isdigit() and int(free) * 1024 < needed + SPARE_BYTES:
            raise DeviceMismatch(
                f"{self.address}: {self.folder} has {int(free) * 1024 / 1e6:.1f} MB of room, "
                f"{(needed + SPARE_BYTES) / 1e6:.1f} MB are needed; make room, or set TMPDIR there to a larger place"
            )

    def send(self, files: Iterable[tuple[str, bytes, int]]) -> None:
        """Put files, as (relative path, content, mode), into the board's folder.

        Raises BoardUnavailable when the connection is lost, DeviceMismatch with the board's words where it cannot
        write them.
        """
        command = self._command(f"tar -xf - -C {shlex.quote(self.folder)}")
        with tempfile.TemporaryFile() as said:
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said) as process:
                assert process.stdin
                with suppress(BrokenPipeError):
                    write_tar(process.stdin, files)
                with suppress(BrokenPipeError):
                    process.stdin.close()
            if process.returncode:
                self._check_lost(process.returncode, "while files were copied there")
                raise DeviceMismatch(f"{self.address} does not take the files: {_last_line(said)}; make room there")

    def read(self, relative: str) -> bytes:
        """A file of the board's folder. Raises BoardUnavailable when it does not come, BadArtefact when it is large."""
        done = self._do(f"cat {shlex.quote(f'{self.folder}/{relative}')}")
        if done.returncode:
            self._check_lost(done.returncode, f"while {relative} was read")
            raise BoardUnavailable(f"{self.address}: {relative} cannot be read there: {_last(done.stderr)}")
        return done.stdout

    def run(self, command: str, doing: str) -> subprocess.CompletedProcess[bytes]:
        """Run a line of the shell in the board's folder; it is stopped when the connection goes.

        `doing` says in an error what was going on. Raises BoardUnavailable when the connection is lost, BadArtefact
        when it prints more than ANSWER_BYTES.
        """
        done = self._do(run(self.folder, command))
        self._check_lost(done.returncode, doing)
        return done

    def warn(self, said: bytes) -> None:
        """Pass on what a run that ended well wrote beside its answer, but for what it says of its progress."""
        lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
        told = [line.removeprefix("helmsight: ") for line in lines if not line.startswith(PROGRESS)]
        for line in told[:WARNINGS]:
            log.warning("%s: %s", self.address, reason_of(RuntimeError(line)))
        if len(told) > WARNINGS:
            log.warning("%s: and %d lines more", self.address, len(told) - WARNINGS)

    def _do(self, script: str) -> subprocess.CompletedProcess[bytes]:
        command, pipe = self._command(script), subprocess.PIPE
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process:
            try:
                out, err = read_both(process, ANSWER_BYTES)
            except BaseException:
                process.kill()
                raise
            if len(out) + len(err) > ANSWER_BYTES:
                process.kill()
                self._stop()
                raise BadArtefact(f"{self.address} sends more than {ANSWER_BYTES >> 20} MiB; no answer is so large")
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def _stop(self) -> None:
        """End what runs there, which would wait for ever to be read, and hold the connection when it is to end."""
        none = subprocess.DEVNULL
        with suppress(subprocess.TimeoutExpired):
            command = self._command(stop(self.folder))
            subprocess.run(command, stdin=none, stdout=none, stderr=none, timeout=CLOSE_S, check=False)

    def _command(self, script: str) -> list[str]:
        """ssh over the connection that is there; where it is gone no other one is made, which `false` sees to."""
        only = ("-o", "ControlMaster=no", "-o", "ProxyCommand=false")
        return ["ssh", "-T", "-S", self._socket, *only, *_OPTIONS, *self.address.arguments, _shell(script)]

    def _start(self) -> subprocess.Popen[bytes]:
        alive = ("-o", f"ServerAliveInterval={ALIVE_S}", "-o", f"ServerAliveCountMax={ALIVE_TRIES}")
        asking = ("-o", f"BatchMode={'no' if self._ask else 'yes'}", "-o", f"ConnectTimeout={CONNECT_S}")
        master = ("-M", "-S", self._socket, "-o", "ControlPersist=no")
        command = ["ssh", "-T", *master, *asking, *alive, *_OPTIONS, *self.address.arguments, _shell(keeper(SILENT_S))]
        pipe = subprocess.PIPE
        try:  # without buffers, whose locks one thread would hold while another closes
            return subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=self._said)
        except FileNotFoundError:
            raise MissingExtra(
                f"--on {self.address} needs ssh, which is not here; install it: apt-get install openssh-client"
            ) from None

    def _greeting(self) -> dict[str, str]:
        """What the board says of itself; lines before it are its login's."""
        late = threading.Timer(GREETING_S, self._keeper.kill)
        late.daemon = True
        if not self._ask:
            late.start()
        try:
            facts = self._facts()
        finally:
            late.cancel()
        if facts is None:
            raise BoardUnavailable(f"{self.address} {self._refusal(self._keeper.wait())}")
        return facts

    def _facts(self) -> dict[str, str] | None:
        """None when the connection ends before the board is ready."""
        assert self._keeper.stdout
        facts: dict[str, str] = {}
        for number, line in enumerate(iter(partial(self._keeper.stdout.readline, LINE_BYTES), b"")):
            text = line.decode(errors="replace").strip()
            if text == READY:
                return facts
            name, _, value = text.partition(" ")
            facts[name] = value
            if number == GREETING_LINES:
                self._keeper.kill()
        return None

    def _refusal(self, code: int) -> str:
        """Why there is no connection, and the next step; `code` is what ssh ended with."""
        if code == -signal.SIGKILL:
            return f"cannot be reached: its login was not ready in {GREETING_S} s, or says too much; see with `ssh`"
        why = _last_line(self._said) or f"ssh ended with {code}"
        if code != _SSH_FAILED:
            return f"makes no folder: {why}; make room, or set TMPDIR there"
        step = next((step for said, step in _NEXT_STEPS if said in why), "see that `ssh` gets there by itself")
        return f"cannot be reached: {why}; {step}"

    def _beat(self) -> None:
        assert self._keeper.stdin
        with suppress(OSError, ValueError):  # gone, or closed
            while not self._ended.wait(BEAT_S):
                self._keeper.stdin.write(b".")

    def _check_lost(self, code: int, doing: str) -> None:
        """Raises BoardUnavailable if an ssh ended with `code` because the connection is gone."""
        if not code:
            return
        with suppress(subprocess.TimeoutExpired):  # the other ssh notices first
            self._keeper.wait(1)
        if self.lost:
            why = _last_line(self._said) or "ssh said nothing"
            raise BoardUnavailable(
                f"{self.address}: the connection was lost {doing} ({why}); its folder "
                f"{self.folder} goes when the board notices, else remove it; what was measured before is kept"
            )

    def _end(self) -> None:
        """Close, and wait until the board has cleaned up."""
        self._ended.set()
        for stream in (self._keeper.stdin, self._keeper.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()
        try:
            self._keeper.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()


_SSH_FAILED = 255
_NEXT_STEPS = (
    ("Host key verification failed", "its key is unknown here or has changed: `ssh` there once and compare it"),
    ("Permission denied", "no key of yours opens it: `ssh-copy-id` gives it one"),
)
_OPTIONS = ("-x", "-a", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes", "-o", "LogLevel=ERROR")


def _shell(script: str) -> str:
    """For a login shell of any kind: a script for the plain one."""
    return f"exec sh -c {shlex.quote(script)}"


def _last_line(stream: IO[bytes]) -> str:
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - LINE_BYTES))
    return _last(stream.read())


def _last(said: bytes) -> str:
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    return reason_of(RuntimeError(lines[-1])) if lines else ""
