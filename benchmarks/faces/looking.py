"""Every detector over every set of pictures; what peers found is kept, since neither they nor the pictures change."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .client import PeerInfo, Worker
from .ours import Ours
from .peers import FLOOR, Found, source_of
from .pictures import PictureSet
from .worker import load

FIRST = "320x320"
"""The set of whole pictures, on which the default threshold is judged."""


OUR_FLOOR = 0.002
"""Our scores are probabilities: below a peer's 0.02 there are still faces among them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Detections of a detector: `ranked` by set, with the lowest threshold; `shown` in the first set, with its own."""

    ranked: Mapping[str, list[Found]]
    shown: list[Found]


def look_ours(ours: Ours, sets: Mapping[str, PictureSet]) -> Seen:
    """The bundle's detections, at the input size that fits the pictures."""

    def over(name: str, threshold: float) -> list[Found]:
        images = [picture.image for picture in sets[name].pictures]
        size = ours.input_hw((images[0].shape[0], images[0].shape[1]))
        faces = [ours.detect(image, threshold, size) for image in images]
        return [Found(f.xyxy, f.score, f.landmarks) for f in faces]

    return Seen({name: over(name, min(OUR_FLOOR, ours.threshold)) for name in sets}, over(FIRST, ours.threshold))


def look_peer(worker: Worker, peer: PeerInfo, sets: Mapping[str, PictureSet], cache: Path) -> Seen:
    """A peer's detections, from `cache` where this version of it has seen this very set before."""
    cache.mkdir(parents=True, exist_ok=True)
    adapter = hashlib.sha256(source_of(peer.name).read_bytes()).hexdigest()

    def over(pictures: PictureSet, threshold: float) -> list[Found]:
        key = hashlib.sha256(f"{peer.name} {peer.version} {adapter} {pictures.sha256} {threshold}".encode()).hexdigest()
        file = cache / f"{key[:32]}.npz"
        if file.is_file():
            return load(file)
        return worker.detect(peer.name, [picture.image for picture in pictures.pictures], threshold, file)

    ranked = {name: over(pictures, FLOOR) for name, pictures in sets.items()}
    return Seen(ranked, over(sets[FIRST], peer.threshold))
