"""Where the preview listens, and whom it answers."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from ...devices.errors import UsageError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; port 0 takes a free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine gets there."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def url(self, port: int, token: str | None = None) -> str:
        """The page's address on the port that was taken."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}/" + (f"?token={token}" if token else "")


def parse_address(text: str) -> Address:
    """`HOST:PORT`, an IPv6 host in brackets. Raises UsageError."""
    parts = urlsplit(f"//{text}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None or parts.netloc != text or parts.username is not None:
        raise UsageError(f"--preview {text}: expected HOST:PORT, such as 127.0.0.1:8080, or 0.0.0.0:8080 for all")
    return Address(host, port)


@dataclass(frozen=True, slots=True)
class Gate:
    """Who is let in: with a `token` those who have it, without one those who mean this very machine.

    A web page elsewhere that points a name of its own at 127.0.0.1 sends that name as Host; one that posts here sends
    its own Origin. Both are refused.
    """

    address: Address
    token: str | None

    def refusal(self, method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, str] | None:
        """The status and the reason why a request is not answered, or None."""
        host = headers.get("Host", "")
        if self.token is None and not self._means_here(host):
            return 403, f"Host is {host!r}; expected the address that --preview has"
        if self.token is not None and not self.knows(query, headers):
            return 401, "the token is missing or wrong; open the whole address that helmsight printed at its start"
        origin = headers.get("Origin")
        if method == "POST" and origin is not None and urlsplit(origin).netloc != host:
            return 403, f"Origin is {origin!r}; expected this page's own"
        if method == "POST" and headers.get("Content-Type", "").split(";")[0].strip() != "application/json":
            return 415, "expected Content-Type: application/json"
        return None

    def knows(self, query: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        """Whether the request has the token: in its address, as `Authorization: Bearer`, or in the page's cookie."""
        given = query.get("token") or headers.get("Authorization", "").removeprefix("Bearer ") or self._cookie(headers)
        return hmac.compare_digest(given.encode(), (self.token or "").encode())

    @property
    def cookie_name(self) -> str:
        """Cookies are shared among the ports of a host."""
        return f"helmsight_{self.address.port}"

    def _cookie(self, headers: Mapping[str, str]) -> str:
        try:
            cookies = SimpleCookie(headers.get("Cookie", ""))
        except CookieError:
            return ""
        return cookies[self.cookie_name].value if self.cookie_name in cookies else ""

    def _means_here(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name in (*LOOPBACK_NAMES, self.address.host.lower())
