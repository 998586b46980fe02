"""What `camera.py` is asked to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .driving.local import RobotShape
from .pipeline_options import PipelineOptions
from .sources import CameraGeometry


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """What to run and where results go.

    `threads` 0 shares the cores among the models and leaves one for the rest. `image_hw` is the input's size for the
    networks that take several. `tile`: faces are also looked for in parts of the frame at full size.
    `track`: faces get ids that last, and smooth boxes. With `follow` or `goal` a pilot drives on the map that it makes:
    along the way, or to a place (metres ahead and to the left of the start) until that is reached; else the network's
    own word goes. `robot` is where commands go (`udp://HOST:PORT`, or `-` for standard output), `shape` what robot it
    is; None is that of the simulator. `periods_ms` and `priorities` are by task, as `Model` has them; what drives has
    priority 1 and the others 0 where nothing is said. `record` is a video's name, or one without suffix for a recording
    that can be replayed. `side_by_side`: of a replay, what is drawn has beside it what was recorded.
    """

    bundles: Sequence[str]
    source: str
    show: bool = False
    preview: str | None = None
    preview_token: str | None = None
    record: Path | None = None
    side_by_side: bool = False
    log: Path | None = None
    map: Path | None = None
    geometry: CameraGeometry | None = None
    image_hw: tuple[int, int] | None = None
    tile: bool = False
    track: bool = False
    follow: bool = False
    goal: tuple[float, float] | None = None
    robot: str | None = None
    shape: RobotShape | None = None
    periods_ms: Mapping[str, float] = field(default_factory=dict)
    priorities: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 0
    allow_fallback: bool = False
    pipeline: PipelineOptions = field(default_factory=PipelineOptions)

    @property
    def piloted(self) -> bool:
        """Whether a pilot drives."""
        return self.follow or self.goal is not None
