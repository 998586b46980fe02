"""HTTP for a handful of viewers, in threads: requests that the gate lets through go to the site's routes.

Each connection has a thread that holds one answer at most, so a reader that is slow keeps nothing but itself waiting.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ...devices.errors import UsageError, reason_of
from .gate import Address, Gate

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 64
SLOW_S = 10.0
"""A client that neither reads nor says anything for so long is left."""
SEND_BUFFER_BYTES = 1 << 17
"""What the kernel may hold for a reader that is slow: a picture or two, not seconds of them."""
MOST_BODY_BYTES = 4096
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self' blob: data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a route sees of a request."""

    query: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """`body` is sent as a whole, or part by part until the client goes."""

    content_type: str
    body: bytes | Iterator[bytes]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Route = Callable[[Request], Response]


class Server(ThreadingHTTPServer):
    """Listens from its making on, so that a port that is taken is known at once; answers between `start` and `close`.

    `routes` go by method and path, such as `GET /`. Those in `open_to_all` need no token.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, address: Address, token: str | None) -> None:
        self.routes: Mapping[str, Route] = {}
        self.open_to_all: frozenset[str] = frozenset()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        try:
            family, _, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
            self.address_family = family
            super().__init__(where[:2], _Handler)  # type: ignore[arg-type]
        except OSError as error:
            raise UsageError(f"--preview {_shown(address)}: {_why(error)}") from error
        self.port: int = self.server_address[1]
        self.gate = Gate(Address(address.host, self.port), token)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="preview", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End every connection too. May be called twice."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join(timeout=1)
        self.server_close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self._lock:
            return len(self._open) < MOST_CONNECTIONS

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):  # a client that went is no news
            log.error("--preview: %s: %s", type(error).__name__, reason_of(error))


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "helmsight"
    sys_version = ""
    timeout = SLOW_S
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        super().setup()

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: there are many, and their addresses may hold the token."""

    def _answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        name = f"{method} {parts.path}"
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MOST_BODY_BYTES or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self._send(text(413, f"expected a body of at most {MOST_BODY_BYTES} bytes"))
            return
        request = Request(query, self.rfile.read(int(length)))
        headers = {key: str(value) for key, value in self.headers.items()}
        refused = None if name in self.server.open_to_all else self.server.gate.refusal(method, query, headers)
        if refused:
            self._send(text(*refused))
        elif name not in self.server.routes:
            self._send(text(404, f"there is no {name}"))
        else:
            self._send(
                self.server.routes[name](request), with_cookie="token" in query and self.server.gate.token is not None
            )

    def _send(self, response: Response, with_cookie: bool = False) -> None:
        body = response.body
        self.send_response(response.status)
        for key, value in {**HEADERS, "Content-Type": response.content_type, **response.headers}.items():
            self.send_header(key, value)
        if with_cookie:  # so that the page's own requests need no token in their addresses
            cookie = f"{self.server.gate.cookie_name}={self.server.gate.token}; Path=/; HttpOnly; SameSite=Strict"
            self.send_header("Set-Cookie", cookie)
        if isinstance(body, bytes):
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.close_connection = True
        self.send_header("Connection", "close")
        self.end_headers()
        for part in body:
            self.wfile.write(part)


def text(status: int, said: str) -> Response:
    """One line."""
    return Response("text/plain; charset=utf-8", f"{said}\n".encode(), status)


def _shown(address: Address) -> str:
    return address.url(address.port).removeprefix("http://").rstrip("/")


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; take another one, or end what listens there"
    if error.errno == errno.EACCES:
        return "this port needs privileges; take one from 1024 on"
    return f"cannot listen there: {(error.strerror or str(error)).lower()}; expected an address of this machine"
