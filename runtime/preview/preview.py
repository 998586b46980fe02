"""The preview as a sink."""

from __future__ import annotations

import logging
import secrets
import socket
import time
from contextlib import ExitStack
from dataclasses import replace

from ...devices.errors import need
from ...devices.sensors import Sensors
from ..results import Result
from ..sinks._base import BaseSink
from ..sinks.overlay import Overlay
from .gate import parse_address
from .picture import LivePicture
from .server import Server
from .site import Site
from .status import Running, Watched
from .tally import Tally

log = logging.getLogger(__name__)

SENSORS_S = 2.0


class Preview(BaseSink):
    """Serves the page of a run at `address`, `HOST:PORT`, from its making until `close`.

    On an address that others reach, it answers those alone that have the token: `token`, or one that is drawn.
    `url` is the page's whole address. Raises UsageError where it cannot listen there.
    """

    def __init__(self, address: str, overlay: Overlay, token: str | None = None) -> None:
        need("cv2", "cpu")
        listening = parse_address(address)
        if token is None and not listening.loopback:
            token = secrets.token_urlsafe(16)
        with ExitStack() as opened:
            self._server = server = Server(listening, token)
            opened.callback(server.close)
            self._watched = Watched(Tally(time.perf_counter_ns()), Sensors(SENSORS_S, kept=1))
            opened.enter_context(self._watched.sensors)
            self._picture = LivePicture(overlay)
            opened.callback(self._picture.close)
            site = Site(lambda: self._watched, self._picture)
            server.routes, server.open_to_all = site.routes, frozenset({"GET /healthz"})
            server.start()
            self._opened = opened.pop_all()
        reached = replace(listening, host=_this_machine()) if listening.host in ("0.0.0.0", "::") else listening
        self.url = reached.url(server.port, token)
        self.port = server.port
        log.warning("preview at %s", self.url)

    def follow(self, running: Running) -> None:
        """The run whose results come."""
        self._watched = replace(self._watched, running=running)

    def __call__(self, result: Result) -> None:
        now_ns = time.perf_counter_ns()
        self._watched.tally.add(result, now_ns)
        self._picture.offer(result, now_ns)

    def close(self) -> None:
        self._opened.close()


def _this_machine() -> str:
    """The address by which others reach this machine, or else its name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address of documentation (RFC 5737): nothing is sent
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])
