"""What ssh needs of this machine: a short path for its socket, bounds on what is read from it, files as an archive."""

from __future__ import annotations

import io
import os
import selectors
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from typing import IO

from ...devices.errors import UsageError, reason_of

SOCKET_BYTES = 80
"""Of the path that ssh makes a socket of: the system takes 104 to 108, and ssh adds 17 of its own."""


def socket_folder() -> tempfile.TemporaryDirectory[str]:
    """For the socket of a connection: where temporary files go, or else where its path is short enough."""
    usual = tempfile.gettempdir()
    if len(os.fsencode(usual)) + len("/helmsight-ssh-12345678/s") <= SOCKET_BYTES:
        return tempfile.TemporaryDirectory(prefix="helmsight-ssh-")
    try:
        return tempfile.TemporaryDirectory(prefix="helmsight-ssh-", dir="/tmp")
    except OSError as error:
        raise UsageError(
            f"TMPDIR {usual} is too long for a socket of ssh, and /tmp cannot be used ({reason_of(error)}); "
            "set TMPDIR to a shorter folder"
        ) from None


def read_both(process: subprocess.Popen[bytes], most: int) -> tuple[bytes, bytes]:
    """What a process writes to its two streams, until both end or there is more than `most` bytes."""
    assert process.stdout
    assert process.stderr
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as open_:
        open_.register(process.stdout, selectors.EVENT_READ, out)
        open_.register(process.stderr, selectors.EVENT_READ, err)
        while open_.get_map() and len(out) + len(err) <= most:
            for key, _ in open_.select():
                if part := os.read(key.fd, 1 << 16):
                    key.data.extend(part)
                else:
                    open_.unregister(key.fileobj)
    return bytes(out), bytes(err)


def write_tar(stream: IO[bytes], files: Iterable[tuple[str, bytes, int]]) -> None:
    """Write files, as (relative path, content, mode), one after the other: they need not be in memory together."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for name, content, mode in files:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
