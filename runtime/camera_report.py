"""What a run of the camera did."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .driving.pilot import Pilot
from .mapping.from_results import MapReport
from .meter import Summary
from .sinks.difference import Compared
from .sinks.robot import RobotReport


@dataclass(frozen=True, slots=True)
class CameraReport:
    """What a run did. `models` says where and in what precision each ran; `drive` is the simulator's account.

    `goal` is None without one, else `reached`, `not reached` or `no way`; `map` is None without one. `replay` says of
    each task how many of its readings are as they were recorded.
    """

    source: str
    models: dict[str, dict[str, Any]]
    summary: Summary
    recording: str | None = None
    recorded_frames: int = 0
    recording_dropped: int = 0
    recording_error: str | None = None
    log_dropped: int = 0
    log_error: str | None = None
    drive: dict[str, Any] | None = None
    robot: RobotReport | None = None
    goal: str | None = None
    map: MapReport | None = None
    replay: dict[str, Compared] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def outcome(pilot: Pilot) -> str | None:
    """What became of the goal, as the report has it."""
    if pilot.route is None or pilot.arrived:
        return "reached" if pilot.arrived else None
    return "no way" if pilot.route.unreachable else "not reached"
