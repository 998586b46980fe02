"""Results as JSON lines: one line a result, written through at once so that a crash loses none."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, TextIO

from ...devices.errors import UsageError
from ..results import Result
from ._base import BaseSink


class JsonLines(BaseSink):
    """Writes to a file, opened with the first result: a camera that fails does not cost an earlier log.

    A line has `frame` (index), `captured_ns` (`time.perf_counter_ns()`), `age_ms`, `overwritten`, the record of each
    task with the frame and the stage times it came from, and `command`.
    """

    def __init__(self, path: Path) -> None:
        self.lines = 0
        self._path = path
        self._file: TextIO | None = None
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise UsageError(f"--log {path}: cannot be written; expected a file in a folder that is there")

    def __call__(self, result: Result) -> None:
        if self._file is None:
            self._file = self._path.open("w", buffering=1)
        self._file.write(json.dumps(as_json(result, time.perf_counter_ns())) + "\n")
        self.lines += 1

    def close(self) -> None:
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
