"""A recording on disk that can be replayed: its files, and how they are read. `sinks/take.py` writes them.

NAME/recording.json    the source, its rate and how it looks at the floor, the models
NAME/frames.mkv        the frames that a model looked at, without loss (HuffYUV)
NAME/frames.jsonl      index and time of capture of each frame, in the order of the video
NAME/results.jsonl     the results, as `--log` writes them, with the free space that is drawn
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..devices.errors import BadArtefact, CameraUnavailable
from .json_form import NUMBER, Fields, check_form
from .sources import CameraGeometry, Source
from .strict_json import parse_json

SCHEMA_VERSION = 1
HEAD, VIDEO, FRAMES, RESULTS = "recording.json", "frames.mkv", "frames.jsonl", "results.jsonl"
CODEC = "HFYU"
LONGEST_LINE_BYTES = 1 << 20

FORM = Fields(
    {"schema_version": int, "source": str, "fps": NUMBER, "models": dict},
    {"geometry": (dict, type(None)), "live": bool, "started": str},
)
GEOMETRY = Fields({"fov_y_deg": NUMBER, "height_m": NUMBER, "pitch_deg": NUMBER})
FRAME = Fields({"frame": int, "captured_ns": int})


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording's head, and `indices`: of each frame of the video, its index at the source."""

    path: Path
    source: str
    fps: float
    geometry: CameraGeometry | None
    models: dict[str, Any]
    indices: tuple[int, ...]

    @property
    def video(self) -> Path:
        return self.path / VIDEO

    def results(self) -> Iterator[dict[str, Any]]:
        """The results, as they were written."""
        return _lines(self.path / RESULTS)


def head_of(source: Source, models: dict[str, Any], started: str) -> dict[str, Any]:
    """What is known when a recording begins, for `recording.json`. A lens is not kept: it has a file of its own."""
    geometry = source.geometry
    flat = asdict(geometry) if geometry and geometry.lens is None else None
    return {
        "schema_version": SCHEMA_VERSION,
        "source": source.uri,
        "live": source.live,
        "fps": source.fps,
        "geometry": {name: flat[name] for name in GEOMETRY.needed} if flat else None,
        "models": models,
        "started": started,
    }


def open_recording(path: Path) -> Recording:
    """Read all but the frames and the results. Raises CameraUnavailable when there is none, BadArtefact for a broken
    one."""
    head_file = path / HEAD
    if not head_file.is_file():
        raise CameraUnavailable(
            f"--source replay://{path}: there is no recording; expected a folder that --record made, with {HEAD}"
        )
    head = parse_json(head_file.read_bytes(), str(head_file))
    try:
        check_form(head, FORM, HEAD)
        if head["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version is {head['schema_version']}; this helmsight reads {SCHEMA_VERSION}")
        if geometry := head.get("geometry"):
            check_form(geometry, GEOMETRY, f"{HEAD}.geometry")
        indices = []
        for row in _lines(path / FRAMES):
            check_form(row, FRAME, FRAMES)
            indices.append(row["frame"])
        if len(set(indices)) < len(indices) or min(indices, default=0) < 0:
            raise ValueError(f"{FRAMES} has a frame twice, or before the first")
    except ValueError as error:
        raise BadArtefact(f"{path}: {error}; record it again") from error
    looks = CameraGeometry(geometry["fov_y_deg"], geometry["height_m"], geometry["pitch_deg"]) if geometry else None
    return Recording(path, head["source"], float(head["fps"]), looks, head["models"], tuple(indices))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """One object a line; a last line without its end, as after a power cut, is left out."""
    if not path.is_file():
        raise BadArtefact(f"{path.parent} has no {path.name}; it is no whole recording")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                value = parse_json(line, f"{path}, line {number},", LONGEST_LINE_BYTES)
                if not isinstance(value, dict):
                    raise BadArtefact(f"{path}, line {number}: expected an object")
                yield value
