"""Where a board is: `ssh://...` as `--on` takes it. Never a password: that is for ssh to ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...devices.errors import UsageError, reason_of

SCHEME = "ssh://"


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
    def board(self) -> tuple[str, str, int]:
        """What is the same in two addresses of one board."""
        return self.user, self.host.lower(), self.port or 22

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
