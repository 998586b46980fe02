"""The preview's routes: the page, its figures and pictures, metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...devices.errors import BadArtefact, UsageError
from ..json_form import Fields, check_form
from ..sinks.inset import draw_map_view
from ..strict_json import parse_json
from .metrics import CONTENT_TYPE, metrics
from .picture import LivePicture
from .server import Request, Response, Route, text
from .status import Watched, status

PAGE = Path(__file__).with_name("page.html")
WAIT_S = 5.0
"""How long a request for a picture waits for one; the page asks again."""
MAP_PX = 480
BOUNDARY = "picture"


class Site:
    """Answers requests; each in a thread of its own."""

    def __init__(self, watched: Callable[[], Watched], picture: LivePicture) -> None:
        self._watched, self._picture = watched, picture
        self._page = PAGE.read_bytes()

    @property
    def routes(self) -> Mapping[str, Route]:
        """By method and path."""
        return {
            "GET /": lambda request: Response("text/html; charset=utf-8", self._page),
            "GET /status.json": lambda request: _json(status(self._watched(), _number(request, "after"))),
            "GET /picture.jpg": self._one,
            "GET /stream.mjpg": self._stream,
            "GET /map.png": self._map,
            "GET /metrics": lambda request: Response(CONTENT_TYPE, metrics(self._watched()).encode()),
            "POST /record": self._record,
            "GET /healthz": lambda request: text(200, "ok"),
        }

    def _one(self, request: Request) -> Response:
        """The newest picture after number `after`, waited for: who is slow asks less often, and nothing queues up."""
        found = self._picture.newer(_number(request, "after"), WAIT_S)
        if found is None and self._picture.ended:
            return text(503, "there are no more pictures")
        if found is None:
            return Response("text/plain", b"", 204)
        number, jpeg = found
        return Response("image/jpeg", jpeg, headers={"X-Number": str(number)})

    def _stream(self, request: Request) -> Response:
        return Response(f"multipart/x-mixed-replace; boundary={BOUNDARY}", self._parts())

    def _parts(self) -> Iterator[bytes]:
        """Every picture that the client is quick enough for, as motion JPEG."""
        number = 0
        yield f"--{BOUNDARY}\r\n".encode()
        while not self._picture.ended:
            found = self._picture.newer(number, WAIT_S)
            if found is not None:
                number, jpeg = found
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                yield head.encode() + jpeg + f"\r\n--{BOUNDARY}\r\n".encode()

    def _map(self, request: Request) -> Response:
        import cv2

        newest = self._watched().tally.newest
        if newest is None or newest.map is None:
            return text(404, "there is no map")
        return Response("image/png", cv2.imencode(".png", draw_map_view(newest.map, MAP_PX))[1].tobytes())

    def _record(self, request: Request) -> Response:
        """`{"on": true}` starts a recording, false ends it; the answer is its state, or why there is none."""
        running = self._watched().running
        if running is None or running.takes is None:
            return text(409, "nothing can be recorded yet")
        try:
            wanted = parse_json(request.body, "the request")
            check_form(wanted, Fields({"on": bool}), "the request")
            if wanted["on"]:
                running.takes.start()
            else:
                running.takes.stop()
        except (BadArtefact, ValueError) as error:
            return text(400, str(error))
        except UsageError as error:
            return text(409, str(error))
        return _json(running.takes.state())


def _json(value: Any) -> Response:
    return Response("application/json", json.dumps(value, allow_nan=False).encode())


def _number(request: Request, name: str) -> int:
    text = request.query.get(name, "0")
    return int(text) if text.isdecimal() and len(text) < 16 else 0
