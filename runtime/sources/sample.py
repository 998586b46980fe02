"""The clips that ship: a video and a JSON file beside it that says how its camera looks at the floor."""

from __future__ import annotations

import json

from ...devices.errors import UsageError
from ..bundle import SHIPPED
from . import CameraGeometry
from .video import VideoSource


class SampleSource(VideoSource):
    """`sample://corridor`: a drive through corridors with portraits on their walls, made by the simulator."""

    def __init__(self, uri: str) -> None:
        name = uri.removeprefix("sample://").strip("/")
        clip = SHIPPED / f"{name}.mp4"
        if not clip.is_file():
            known = ", ".join(f"sample://{p.stem}" for p in sorted(SHIPPED.glob("*.mp4")))
            raise UsageError(f"--source {uri}: no such sample; expected one of {known}")
        super().__init__(uri, clip)
        camera = json.loads(clip.with_suffix(".json").read_text())["camera"]
        self.geometry = CameraGeometry(camera["fov_y_deg"], camera["height_m"], camera["pitch_deg"])
