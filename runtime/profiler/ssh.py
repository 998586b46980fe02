"""A board over SSH: one connection, a folder of its own there, files into it and commands in it.

OpenSSH's own client does it, so that keys, passwords, aliases, jump hosts and known hosts are what they are for `ssh`.
Nothing here knows a bundle or a profile.
"""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import urlsplit

from ...devices.errors import BoardUnavailable, DeviceMismatch, MissingExtra, UsageError, reason_of

SCHEME = "ssh://"
CONNECT_S = 10
ALIVE_S, ALIVE_TRIES = 5, 3
"""A board that says nothing for so many seconds, so many times in a row, is lost."""
CLOSE_S = 20
SPARE_BYTES = 4 << 20
"""Room on the board beside the files: for the record and what the file system itself takes."""
READY = "helmsight-ready"

# Holds the board's folder for as long as the connection is there: when stdin ends, whether we closed it or the cable
# was pulled, what still runs there is stopped and the folder goes. Facts come first, `name value`, a line each.
_KEEPER = r"""
d=$(mktemp -d "${TMPDIR:-/tmp}/helmsight.XXXXXX") || exit 73
gone() {
  trap '' HUP INT TERM PIPE
  if p=$(cat "$d/pid" 2>/dev/null); then
    kill "$p" 2>/dev/null
    for i in 1 2 3 4 5; do kill -0 "$p" 2>/dev/null || break; sleep 1; done
    kill -9 "$p" 2>/dev/null
  fi
  rm -rf "$d"
}
trap 'gone; exit 1' HUP INT TERM
echo
echo "folder $d"
echo "machine $(uname -m)"
echo "libc $(getconf GNU_LIBC_VERSION 2>/dev/null)"
echo "free_kb $(df -Pk "$d" | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4)"
for f in $(command -v helmsight) ~/.local/bin/helmsight ~/.venv/bin/helmsight; do
  [ -x "$f" ] && { echo "helmsight $f"; break; }
done
echo READY
cat >/dev/null
gone
exit 0
""".replace("READY", READY)

# The number of the process is noted, so that the keeper can stop it.
_RUN = """cd {folder} && {{ {command} & p=$!; echo $p >pid; wait $p; rc=$?; rm -f pid; exit $rc; }}"""


@dataclass(frozen=True, slots=True)
class Address:
    """`ssh://[user@]host[:port][/path/of/helmsight]`; what is missing is ssh's or the board's to say."""

    host: str
    user: str = ""
    port: int | None = None
    helmsight: str = ""

    def __str__(self) -> str:
        return SCHEME + (f"{self.user}@" if self.user else "") + self.host + (f":{self.port}" if self.port else "")

    @property
    def arguments(self) -> list[str]:
        """For ssh: where to."""
        port = ["-p", str(self.port)] if self.port else []
        return [*port, *(["-l", self.user] if self.user else []), "--", self.host.strip("[]")]


def parse_address(text: str) -> Address:
    """An address out of `--on`. Raises UsageError, which never repeats a password."""
    expected = "expected ssh://[user@]host[:port][/path/of/helmsight]"
    try:
        parts = urlsplit(text)
        host, port, user = parts.hostname or "", parts.port, parts.username or ""
    except ValueError as error:
        raise UsageError(f"--on: {reason_of(error)}; {expected}") from None
    if parts.password is not None:
        raise UsageError(f"--on {SCHEME}{user}:***@{host}: leave the password to ssh, which asks for it; {expected}")
    if parts.scheme != "ssh" or parts.query or parts.fragment or not re.fullmatch(r"[\w.:%][\w.:%-]*", host):
        raise UsageError(f"--on {text}: {expected}")
    if not re.fullmatch(r"([\w.][\w.@-]*)?", user):
        raise UsageError(f"--on {text}: {user!r} is no user's name; {expected}")
    # urlsplit lowers the host, but an alias of ssh's configuration has its case.
    host = re.sub(r":\d*$", "", parts.netloc.rpartition("@")[2])
    return Address(host, user, port, parts.path.rstrip("/"))


class Connection:
    """`with Connection(address) as board: ...`: connected, and a folder there that goes when the connection does.

    `facts` has what the board said of itself: `folder`, `machine` (as `uname -m`), `libc`, `free_kb`, and `helmsight`
    where it was found. With `ask`, ssh may ask for a password on the terminal. Entering raises BoardUnavailable.
    """

    def __init__(self, address: Address, ask: bool = False) -> None:
        self.address = address
        self.facts: Mapping[str, str] = {}
        self._ask = ask
        self._stack = ExitStack()

    def __enter__(self) -> Connection:
        with ExitStack() as stack:
            self._socket = str(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="helmsight-ssh-"))) / "s")
            self._said = stack.enter_context(tempfile.TemporaryFile())
            self._keeper = self._start()
            stack.callback(self._end)
            self.facts = self._greeting()
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
                    _write_tar(process.stdin, files)
                with suppress(BrokenPipeError):
                    process.stdin.close()
            if process.returncode:
                self._check_lost(process.returncode, "while files were copied there")
                raise DeviceMismatch(f"{self.address} does not take the files: {_last_line(said)}; make room there")

    def read(self, relative: str) -> bytes:
        """A file of the board's folder. Raises BoardUnavailable when it does not come."""
        done = self._do(f"cat {shlex.quote(f'{self.folder}/{relative}')}")
        if done.returncode:
            self._check_lost(done.returncode, f"while {relative} was read")
            raise BoardUnavailable(f"{self.address}: {relative} cannot be read there: {_last(done.stderr)}")
        return done.stdout

    def run(self, command: str, doing: str) -> subprocess.CompletedProcess[bytes]:
        """Run a line of the shell in the board's folder; it is stopped when the connection goes.

        `doing` says in an error what was going on. Raises BoardUnavailable when the connection is lost.
        """
        done = self._do(_RUN.format(folder=shlex.quote(self.folder), command=command))
        self._check_lost(done.returncode, doing)
        return done

    def _do(self, script: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(self._command(script), stdin=subprocess.DEVNULL, capture_output=True, check=False)

    def _command(self, script: str) -> list[str]:
        """ssh over the connection that is there; where it is gone no other one is made, which `false` sees to."""
        only = ("-o", "ControlMaster=no", "-o", "ProxyCommand=false")
        return ["ssh", "-T", "-S", self._socket, *only, *_OPTIONS, *self.address.arguments, _shell(script)]

    def _start(self) -> subprocess.Popen[bytes]:
        alive = ("-o", f"ServerAliveInterval={ALIVE_S}", "-o", f"ServerAliveCountMax={ALIVE_TRIES}")
        asking = ("-o", f"BatchMode={'no' if self._ask else 'yes'}", "-o", f"ConnectTimeout={CONNECT_S}")
        master = ("-M", "-S", self._socket, "-o", "ControlPersist=no")
        command = ["ssh", "-T", *master, *asking, *alive, *_OPTIONS, *self.address.arguments, _shell(_KEEPER)]
        try:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said)
        except FileNotFoundError:
            raise MissingExtra(
                f"--on {self.address} needs ssh, which is not here; install it: apt-get install openssh-client"
            ) from None

    def _greeting(self) -> dict[str, str]:
        """What the board says of itself; lines before it are its login's."""
        assert self._keeper.stdout
        facts: dict[str, str] = {}
        for line in self._keeper.stdout:
            text = line.decode(errors="replace").strip()
            if text == READY:
                return facts
            name, _, value = text.partition(" ")
            facts[name] = value
        code = self._keeper.wait()
        why = _last_line(self._said) or f"ssh ended with {code}"
        if code == _SSH_FAILED:
            raise BoardUnavailable(f"{self.address} cannot be reached: {why}; see that `ssh` gets there by itself")
        raise BoardUnavailable(f"{self.address}: no folder can be made there: {why}; make room, or set TMPDIR there")

    def _check_lost(self, code: int, doing: str) -> None:
        """Raises BoardUnavailable if an ssh ended with `code` because the connection is gone."""
        if code != _SSH_FAILED:
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
_OPTIONS = ("-x", "-a", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes", "-o", "LogLevel=ERROR")


def _shell(script: str) -> str:
    """For a login shell of any kind: a script for the plain one."""
    return f"exec sh -c {shlex.quote(script)}"


def _write_tar(stream: IO[bytes], files: Iterable[tuple[str, bytes, int]]) -> None:
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for name, content, mode in files:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))


def _last_line(stream: IO[bytes]) -> str:
    stream.seek(0)
    return _last(stream.read())


def _last(said: bytes) -> str:
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    return reason_of(RuntimeError(lines[-1])) if lines else ""
