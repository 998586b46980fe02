"""The table of driven laps, without driving them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from benchmarks import driving

PREFIXES = ("", "expert_", "straight_on_")
METRICS = {f"{prefix}{name}": {"value": 1.0, "n": 2} for prefix in PREFIXES for name in driving.FIGURES}
STOPS = {"stops_before_a_box": {"value": 2, "n": 2}}


def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> dict[str, Any]:
    """The record of a run in which the processes with an option fail."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        metrics = json.dumps({"metrics": METRICS | STOPS})
        failed = failing in command
        return subprocess.CompletedProcess(command, int(failed), "" if failed else metrics)

    monkeypatch.setattr(driving.subprocess, "run", run)
    monkeypatch.setattr("sys.argv", ["driving", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        driving.main()
    assert ended.value.code == 1
    record: dict[str, Any] = json.loads((tmp_path / "driving.json").read_text())
    return record


def test_a_process_that_fails_leaves_the_other_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = drive(tmp_path, monkeypatch, "--light")
    laps = {row["driver"]: row["laps"] for row in record["rows"]}
    assert laps.pop("half the light") is None
    assert set(laps.values()) == {2}
    assert record["notes"][-1] == "Not measured, its process failed: half the light."
    unknown = [goal["figure"] for goal in record["goals"] if goal["actual"] is None]
    assert unknown == ["laps lost, half the light"]


def test_all_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = drive(tmp_path, monkeypatch, "evaluate")
    assert {row["laps"] for row in record["rows"]} == {None}
    assert not any(goal["met"] for goal in record["goals"])
    assert record["notes"][-1] == "Not measured, its process failed: boxes."
