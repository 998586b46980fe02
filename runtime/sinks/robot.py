"""Commands to a robot that is not simulated, one JSON object each; docs/robot.md has the protocol."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..driving.local import RobotShape
from ..results import Command, Result, Stop
from ._base import BaseSink
from ._links import open_link

LONGEST_REASON = 300
"""Characters, so that a record stays far below 1024 bytes."""


@dataclass(frozen=True, slots=True)
class RobotReport:
    """What became of the commands.

    Of `sent` records, `stops` of them stops, `failed` met an error, of which `error` is the last, and `overtaken` were
    replaced by a newer one, since the reader was slow. `stopped` is False when the last stop did not go out.
    """

    uri: str
    sent: int
    stops: int
    failed: int
    overtaken: int
    stopped: bool
    error: str | None


class RobotSink(BaseSink):
    """Sends the command of each result at once, and a stop when it is closed, however the run ended.

    It never holds up the caller, and an error never ends the run: see `report`. Raises UsageError for a `uri` that is
    neither `udp://HOST:PORT` nor `-`.
    """

    def __init__(self, uri: str, shape: RobotShape) -> None:
        self._uri, self._shape = uri, shape
        self._link = open_link(uri)
        self._sent = self._stops = 0
        self._last: tuple[int, int] | None = None
        self._standing = False
        self._ending = "the run ended"
        self._stopped: bool | None = None

    def __call__(self, result: Result) -> None:
        if self._stopped is not None:
            raise RuntimeError("this sink is closed")
        if result.command is not None:
            self._last = result.frame.index, result.frame.captured_ns
            self._send(result.command)

    def close(self) -> None:
        """Send a stop, unless that was the last record, and see it off. May be called twice."""
        if self._stopped is not None:
            return
        if not self._standing:
            self._send(Stop(self._ending))
        self._stopped = self._link.finish()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._ending = f"the run ended with an error: {error or kind}"
        self.close()

    @property
    def report(self) -> RobotReport:
        """The counts, whole after `close`."""
        link = self._link
        return RobotReport(
            self._uri, self._sent, self._stops, link.failed, link.overtaken, bool(self._stopped), link.reason
        )

    def _send(self, command: Command | Stop) -> None:
        self._standing = isinstance(command, Stop)
        record = {"seq": self._sent, **_origin(self._last), **_told(command, self._shape)}
        self._sent += 1
        self._stops += self._standing
        self._link.send(json.dumps(record).encode())


def _origin(last: tuple[int, int] | None) -> dict[str, Any]:
    """Which frame a command comes from and how old that is; null before the first one."""
    if last is None:
        return {"frame": None, "captured_ns": None, "age_ms": None}
    index, captured_ns = last
    return {
        "frame": index,
        "captured_ns": captured_ns,
        "age_ms": round((time.perf_counter_ns() - captured_ns) / 1e6, 3),
    }


def _told(command: Command | Stop, shape: RobotShape) -> dict[str, Any]:
    """The command as shares and in SI units, signs as in REP 103; a stop is also a speed of zero."""
    if isinstance(command, Stop):
        return {"stop": command.reason[:LONGEST_REASON], "linear_mps": 0.0, "angular_rps": 0.0}
    return command.to_json() | {
        "linear_mps": round(command.speed * shape.max_speed_mps, 4),
        "angular_rps": round(command.steer * shape.max_yaw_rate_rps, 4),
    }
