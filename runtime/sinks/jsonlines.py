"""Results as JSON lines: one line a result, written through in a thread of its own."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, TextIO

from ..results import Result
from ._threaded import ThreadedSink
from ._writable import check_writable

QUEUED = 1000
"""Lines that may wait for the disk: half a minute at 30 results a second, some 2 MB with many faces."""


class JsonLines(ThreadedSink[str]):
    """Writes to a file, opened with the first result: a camera that fails does not cost an earlier log.

    A line has `frame` (index), `captured_ns` (`time.perf_counter_ns()`), `age_ms`, `overwritten`, the record of each
    task with the frame and the stage times it came from, and `command`. With `live` it never waits for the disk.
    """

    def __init__(self, path: Path, live: bool = False) -> None:
        check_writable("--log", path)
        self.lines = 0
        self._path = path
        self._file: TextIO | None = None
        super().__init__(f"--log {path}", QUEUED, live)

    def _item(self, result: Result) -> str:
        return json.dumps(as_json(result, time.perf_counter_ns())) + "\n"

    def _write(self, item: str) -> None:
        if self._file is None:
            self._file = self._path.open("w", buffering=1)
        self._file.write(item)
        self.lines += 1

    def _finish(self) -> None:
        if self._file is not None:
            self._file.close()


def as_json(result: Result, now_ns: int) -> dict[str, Any]:
    """The line for `result` as it stands at `now_ns`."""
    line: dict[str, Any] = {
        "frame": result.frame.index,
        "captured_ns": result.frame.captured_ns,
        "age_ms": round((now_ns - result.frame.captured_ns) / 1e6, 3),
        "overwritten": result.overwritten,
    }
    for name, reading in result.readings.items():
        stages = {stage: round(ms, 3) for stage, ms in reading.stage_ms.items()}
        line[name] = reading.record.to_json() | {"of_frame": reading.frame_index, "stage_ms": stages}
    if result.command is not None:
        line["command"] = result.command.to_json()
    return line
