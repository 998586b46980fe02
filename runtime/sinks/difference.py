"""What a replay says beside what was said when it was recorded, reading by reading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..recording import Recording
from ..results import Result

BESIDE = ("of_frame", "stage_ms", "free_space", "way")
"""In a recorded line, but no part of the record."""


@dataclass(slots=True)
class Compared:
    """Of one task: how many readings are the `same` as recorded, how many are `different`, and the first such frame."""

    same: int = 0
    different: int = 0
    first_frame: int | None = None


def said_of_frames(recording: Recording) -> Iterator[tuple[tuple[str, int], dict[str, Any], dict[str, Any]]]:
    """Of each recorded reading its task and frame, its whole line, and the record alone as `to_json` makes it."""
    for line in recording.results():
        for task, said in line.items():
            if isinstance(said, dict) and isinstance(said.get("of_frame"), int):
                record = {name: value for name, value in said.items() if name not in BESIDE}
                yield (task, said["of_frame"]), said, record


class Difference:
    """A sink that compares each reading of a replay with the recorded one of the same task and frame.

    `tasks` has what was found so far; a reading that was not recorded, of a frame that this task did not look at then,
    counts nowhere.
    """

    def __init__(self, recording: Recording) -> None:
        self.tasks: dict[str, Compared] = {}
        self._recorded = {key: said for key, _, said in said_of_frames(recording)}

    def __call__(self, result: Result) -> None:
        for reading in result.readings.values():
            # Once each: a slower model's reading comes with several results.
            recorded = self._recorded.pop((reading.task, reading.frame_index), None)
            if recorded is None:
                continue
            found = self.tasks.setdefault(reading.task, Compared())
            if reading.record.to_json() == recorded:
                found.same += 1
                continue
            found.different += 1
            if found.first_frame is None:
                found.first_frame = reading.frame_index
