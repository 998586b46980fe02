"""Ways for records to leave this process without ever holding it up: datagrams, and lines on a pipe.

A link's `send` neither waits nor raises: what did not go out is counted and said once in the log.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import socket
import stat
import threading
from abc import ABC, abstractmethod
from urllib.parse import urlsplit

from ...devices.errors import UsageError, system_reason

log = logging.getLogger(__name__)

PIPE_BYTES = 4096
"""What a pipe is made to hold where that may be chosen (Linux): a reader that falls behind finds new records, not a
queue of old ones. So many bytes are also written whole or not at all (PIPE_BUF of Linux, pipe(7))."""
FINISH_S = 0.5
"""How long the last record may wait for a reader that is busy."""
REFUSAL_S = 0.02
"""How long to wait for the network's word that nobody listens for the last datagram."""


class Link(ABC):
    """Where records go. `failed` counts those that an error met, `overtaken` those that a newer one replaced."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failed = 0
        self.overtaken = 0
        self.error: OSError | None = None

    @abstractmethod
    def send(self, record: bytes) -> None: ...

    @abstractmethod
    def finish(self) -> bool:
        """Give the last record a moment; False when it is known not to have gone out. Then the link is closed."""
        ...

    def _note(self, error: OSError) -> None:
        self.failed += 1
        if self.error is None:
            log.warning(
                "--robot %s: a command did not get there: %s; such are counted", self.name, system_reason(error)
            )
        self.error = error

    @property
    def reason(self) -> str | None:
        """The last error in words."""
        return system_reason(self.error) if self.error else None


class Datagrams(Link):
    """UDP to one address. A refusal is told when the next datagram is sent: it speaks of one before."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        host, port = _address(uri)
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setblocking(False)
            self._socket.connect(address)
        except OSError as error:
            raise UsageError(
                f"--robot {uri}: {system_reason(error)}; expected udp://HOST:PORT that can be reached"
            ) from error

    def send(self, record: bytes) -> None:
        for _ in range(2):  # one that is refused was not sent, so it is sent again
            try:
                self._socket.send(record)
            except ConnectionRefusedError as error:
                self._note(error)
            except OSError as error:
                self._note(error)
                return
            else:
                return

    def finish(self) -> bool:
        refused = select.poll()
        refused.register(self._socket, 0)
        refused.poll(REFUSAL_S * 1e3)
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._socket.close()
        if code:
            self._note(OSError(code, os.strerror(code)))
        return not code


class Lines(Link):
    """Lines on a file descriptor, which stays the caller's.

    Where the reader keeps up they are written at once. Else the newest record waits for it, in a thread of its own;
    a newer one takes its place, and nobody waits but that thread.
    """

    def __init__(self, name: str, descriptor: int) -> None:
        super().__init__(name)
        self._descriptor = os.dup(descriptor)
        mode = os.fstat(descriptor).st_mode
        # What `poll` calls ready takes PIPE_BYTES without waiting: that holds for these two only.
        self._sure = stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
        if stat.S_ISFIFO(mode) and hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._changed = threading.Condition()
        self._waiting: bytes | None = None
        self._writing = self._ended = self._last_failed = False
        self._thread: threading.Thread | None = None

    def send(self, record: bytes) -> None:
        with self._changed:
            if self._sure and self._waiting is None and not self._writing and self._ready(0):
                self._write(record)
                return
            self.overtaken += self._waiting is not None
            self._waiting = record
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="robot", daemon=True)
                self._thread.start()

    def finish(self) -> bool:
        with self._changed:
            out = self._changed.wait_for(lambda: self._waiting is None and not self._writing, FINISH_S)
            self._ended = True
            self._changed.notify_all()
        if not out:  # the thread still has the descriptor, which goes with the process
            self._note(TimeoutError(None, f"nobody has read for {FINISH_S:g} s"))
            return False
        os.close(self._descriptor)
        return not self._last_failed

    def _ready(self, timeout_s: float) -> bool:
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        return bool(ready.poll(timeout_s * 1e3))

    def _write(self, record: bytes) -> None:
        self._last_failed = False
        try:
            os.write(self._descriptor, record + b"\n")
        except OSError as error:
            self._last_failed = True
            self._note(error)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._ended)
                if self._ended:
                    return
            if not self._ready(0.1):
                continue
            with self._changed:
                record, self._waiting = self._waiting, None
                self._writing = record is not None
            if record is not None:
                self._write(record)
            with self._changed:
                self._writing = False
                self._changed.notify_all()


def open_link(uri: str) -> Link:
    """The link that `uri` means: `udp://HOST:PORT`, or `-` for lines on standard output."""
    if uri == "-":
        return Lines("-", 1)
    if uri.startswith("udp://"):
        return Datagrams(uri)
    raise UsageError(f"--robot {uri}: expected udp://HOST:PORT, or - for JSON lines on standard output")


def _address(uri: str) -> tuple[str, int]:
    parts = urlsplit(uri)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.path or parts.query:
        raise UsageError(f"--robot {uri}: expected udp://HOST:PORT, such as udp://192.168.1.5:9870")
    return host, port
