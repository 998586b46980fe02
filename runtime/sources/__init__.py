"""Sources: where frames come from, picked by a URI. One file each.

To add one, write `NAME.py` beside `video.py` with a class that has the members of `Source` and takes the URI, and
add a line to `_class_for`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from ...devices.errors import UsageError
from ..lens import Lens
from ..results import Command, Frame, Stop

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
"""Of the schemes that are network streams, where an address says none."""


@dataclass(frozen=True, slots=True)
class CameraGeometry:
    """How a camera on a robot looks at the floor: vertical field of view, height over the floor, downward pitch.

    With a `lens`, `fov_y_deg` is that of its pictures without distortion: `lens.Straightener` makes them.
    """

    fov_y_deg: float
    height_m: float
    pitch_deg: float = 0.0
    lens: Lens | None = None


class Source(Protocol):
    """Frames, one after the other. `open`, `read` and `close` are called from one and the same thread."""

    uri: str
    live: bool
    """True when frames come at their own pace and an old one is worth nothing; False for files."""
    fps: float
    """Frames per second that it means to give, known after `open`; 0 when unknown."""
    geometry: CameraGeometry | None
    """How it looks at the floor, where that is known."""
    can_freeze: bool
    """True for a camera: its sensor's noise makes each picture another one, so one that comes again is no new one."""

    @property
    def ended(self) -> bool:
        """True when a live source is over for good and not to be opened again: a drive in the simulator."""
        ...

    def open(self) -> None:
        """Raises CameraUnavailable (a camera or a file that cannot be opened) or UsageError."""
        ...

    def read(self) -> Frame | None:
        """The next frame, or None at the end (for a live source: when the camera was lost)."""
        ...

    def close(self) -> None:
        """May be called twice."""
        ...

    def another(self) -> Source | None:
        """One of the same camera, not opened, to take the place of this one while its `read` hangs in another thread.

        It counts its frames on. None where there is no such thing.
        """
        ...

    def __iter__(self) -> Iterator[Frame]:
        """The frames that `read` gives, until it gives None."""
        ...

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Robot(Protocol):
    """A source that is also the place to send commands: the simulator."""

    driver: str
    """`command` (it waits for the pipeline's commands) or `expert` (it drives itself); set before `open`."""

    def command(self, command: Command | Stop, frame_index: int) -> None:
        """The command that was computed from frame `frame_index`; called from the sinks' thread."""
        ...

    def drive_summary(self) -> dict[str, Any]:
        """How the drive went so far: plain JSON values."""
        ...


def open_source(uri: str) -> Source:
    """The source that `uri` means, not yet opened: use it in a `with` statement, or call `open`.

    `0`, `/dev/video0?size=1280x720`, `csi://0`: a camera. `clip.mp4`, `rtsp://...`: a file, a stream. `frames/*.jpg`,
    `a.png`: pictures. `sample://NAME`: a clip that ships. `sim://COURSE?seed=N`: the simulator. `test://pattern`: a
    live test pattern. `replay://FOLDER`: what was recorded.
    """
    module, name = _class_for(uri)
    source: Source = getattr(import_module(f".{module}", __package__), name)(uri)
    return source


def is_stream(uri: str) -> bool:
    """Whether it comes over a network, where an address may hold a password or a token."""
    return uri.partition("://")[0] in PORTS and "://" in uri


def without_password(uri: str) -> str:
    """`uri` with the password of its user, all up to the last `@`, replaced by `***`."""
    return re.sub(r"(://[^:@]*):.*@", r"\1:***@", uri)


def _class_for(uri: str) -> tuple[str, str]:
    scheme = uri.split("://", 1)[0] if "://" in uri else ""
    if scheme == "sim":
        return "simulator", "SimulatorSource"
    if scheme == "test":
        return "pattern", "PatternSource"
    if scheme == "replay":
        return "replay", "ReplaySource"
    if scheme == "sample":
        return "sample", "SampleSource"
    if is_stream(uri):
        return "stream", "StreamSource"
    if scheme == "csi":
        return "csi", "CsiSource"
    if uri.partition("?")[0].isdigit() or uri.startswith("/dev/video"):
        return "camera", "CameraSource"
    if scheme:
        known = "rtsp://, http://, csi://, sample://, sim://, test://, replay://"
        raise UsageError(
            f"--source {without_password(uri)}: {scheme}:// is unknown; "
            f"expected {known}, a camera index, a file or a glob"
        )
    if any(c in uri for c in "*?[") or uri.lower().endswith((".jpg", ".jpeg", ".png", ".bmp", ".webp")):
        return "pictures", "PicturesSource"
    return "video", "VideoSource"
