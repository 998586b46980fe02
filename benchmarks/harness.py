"""What the benchmarks share: the record of a result, and the clip and the bundle that they run on."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from helmsight.devices.here import here
from helmsight.runtime.results import Frame
from helmsight.runtime.sources.video import VideoSource

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Goal:
    """What a figure has to be: at least or at most `limit`. One that is unknown (None) is not met."""

    figure: str
    actual: float | None
    limit: float
    at_least: bool

    @property
    def met(self) -> bool:
        if self.actual is None:
            return False
        return self.actual >= self.limit if self.at_least else self.actual <= self.limit

    def row(self) -> tuple[Any, ...]:
        return (
            self.figure,
            "unknown" if self.actual is None else f"{self.actual:.4g}",
            "at least" if self.at_least else "at most",
            f"{self.limit:g}",
            self.met,
        )


@dataclass(frozen=True)
class Result:
    """One run of a benchmark: `rows` is a table, its keys the columns; `options` is what the run was given.

    `more` has further tables by title, `notes` the sentences without which the figures mislead.
    """

    name: str
    title: str
    options: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    goals: Sequence[Goal]
    other_cores: float | None
    more: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def write(self, folder: Path) -> None:
        """NAME.json and NAME.md into `folder`, and the latter to stdout."""
        date = datetime.now(timezone.utc).isoformat(timespec="seconds")
        machine = here().to_json()
        record: dict[str, Any] = {
            "benchmark": self.name,
            "date_utc": date,
            "options": dict(self.options),
            "rows": list(self.rows),
            "goals": [asdict(g) | {"met": g.met} for g in self.goals],
            "other_cores": self.other_cores,
            "machine": machine,
        }
        if self.more or self.notes:
            record |= {"more": {title: list(rows) for title, rows in self.more.items()}, "notes": list(self.notes)}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(record, indent=1) + "\n")
        text = self._markdown(date, machine)
        (folder / f"{self.name}.md").write_text(text)
        print(text)

    def _markdown(self, date: str, machine: Mapping[str, Any]) -> str:
        parts = [f"# {self.title}", f"{date}, {describe(machine)}. {self._busy()}"]
        parts.append("Options: " + ", ".join(f"{k} {v}" for k, v in self.options.items()) + ".")
        parts.append(_rows(self.rows))
        for title, rows in self.more.items():
            parts += [f"## {title}", _rows(rows)]
        if self.notes:
            parts += ["## What to know", "\n".join(f"- {note}" for note in self.notes)]
        if self.more:
            parts.append("## Goals")
        parts.append(_table(["figure", "actual", "", "goal", "met"], [g.row() for g in self.goals]))
        return "\n\n".join(parts) + "\n"

    def _busy(self) -> str:
        if self.other_cores is None:
            return "Whether other processes ran is not known."
        return f"Other processes used {self.other_cores:.2f} cores during the run."


def describe(machine: Mapping[str, Any]) -> str:
    """The machine in a few words, out of its record."""
    cpu = machine["cpu"]
    name = machine["device"] or machine["board"] or cpu["model"]
    return f"{name}, {cpu['usable_cores']} cores, {', '.join(cpu['isa'])}, {machine['os']}"


def parser(doc: str) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    return made


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest of a few repetitions."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def write_clip(path: Path, frames: int, hw: tuple[int, int] = (480, 640)) -> Path:
    """A clip with as much detail and motion as a walk through a room: smooth noise that pans, mp4v, 30 frames/s."""
    import cv2

    height, width = hw
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 16, width // 8, 3), dtype=np.uint8)
    scene = cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (width, height))
    for i in range(frames):
        left = round((width - 1) * (0.5 + 0.5 * np.sin(i / 40)))
        writer.write(np.ascontiguousarray(scene[:, left : left + width]))
    writer.release()
    return path


class LiveClip(VideoSource):
    """A clip that stands for a camera: over and over, a frame each `1 / fps` seconds, whoever looks."""

    live = True

    def __init__(self, path: Path, fps: float) -> None:
        super().__init__(str(path))
        self._period_s = 1 / fps
        self._due_s = 0.0
        self._count = 0

    def open(self) -> None:
        import cv2

        super().open()
        self._capture.release()  # and with one decoder's thread, as a camera's stream is opened
        self._capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])

    def read(self) -> Frame | None:
        now_s = time.monotonic()
        self._due_s = max(self._due_s + self._period_s, now_s) if self._due_s else now_s
        time.sleep(self._due_s - now_s)
        frame = super().read()
        if frame is None:  # the clip is over: from its beginning
            self.close()
            LiveClip.open(self)  # whoever says that the camera is away says so of its next frame
            frame = super().read()
        self._count += 1
        return None if frame is None else replace(frame, index=self._count - 1)


def resident_mb() -> float:
    """Resident memory of this process in MB (10^6 bytes), from /proc."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "Nothing was measured."
    columns = list(rows[0])
    return _table(columns, [[_cell(row[c]) for c in columns] for row in rows])


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)
