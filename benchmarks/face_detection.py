"""Face detectors side by side: a bundle and what people use today, on photographs with boxes and on mosaics of them.

The peers run in an environment of their own (`python -m benchmarks.faces.environment` makes it); what they found in a
set of pictures is kept beside it, times never are.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from helmsight.runtime.bundle import Bundle, open_bundle

from .faces import report
from .faces.client import PeerInfo, Worker
from .faces.environment import default_folder, python_in
from .faces.looking import look_ours, look_peer
from .faces.ours import Ours
from .faces.peers import PEERS
from .faces.pictures import PictureSet, read_sets
from .faces.report import Detector
from .faces.timing import Timing, here, in_turns, on_core
from .faces.work import count
from .harness import Result, parser

OURS = "helmsight"
FRAMES = ((480, 640), (240, 320))
"""Height and width of the frames whose time is taken."""
Timings = dict[str, tuple[Timing, Timing]]


def main() -> None:
    """Run and write the result."""
    args = _arguments()
    sets = read_sets(args.pictures, args.limit)
    bundle = open_bundle(args.bundle)
    core = max(os.sched_getaffinity(0))
    with on_core(core), Ours(bundle, args.device) as ours, Worker(python_in(args.peers), core) as worker:
        peers = [peer for name in PEERS if (peer := worker.open(name))]
        seen = {OURS: look_ours(ours, sets)}
        seen |= {peer.name: look_peer(worker, peer, sets, args.peers / "found") for peer in peers}
        timings, others = _time(ours, worker, peers, sets["2x2"], args.rounds)
        first = bundle.manifest.files["model.onnx"][:12], ours.threshold, True, _our_size(bundle, args.device)
        detectors = [Detector(OURS, *first, seen[OURS], timings[OURS])]
        for peer in peers:
            facts = peer.version, peer.threshold, peer.probability, _size(peer)
            detectors.append(Detector(peer.name, *facts, seen[peer.name], timings[peer.name]))
    rows, cost = report.accuracy(detectors, sets), report.costs(detectors)
    options = {"bundle": args.bundle, "device": args.device, "rounds": args.rounds}
    more = {"Cost": cost, "Boxes corrected": report.fitted(detectors, sets), "Pictures": _pictures(sets)}
    goals = report.goals(rows, cost, OURS)
    title = "Face detectors side by side"
    Result("face_detection", title, options, rows, goals, others, more, report.NOTES).write(args.out)


def _arguments() -> argparse.Namespace:
    made = parser(__doc__ or "")
    made.add_argument("pictures", type=Path, help="a folder with boxes.json, as `helmsight evaluate --data` takes it")
    made.add_argument("--bundle", default="face")
    made.add_argument("--device", default="cpu")
    made.add_argument(
        "--peers", type=Path, default=default_folder(), help="folder of the peers' venv and what they found"
    )
    made.add_argument("--rounds", type=int, default=15, help="of timing")
    made.add_argument("--limit", type=int, help="only so many pictures with and without a face")
    return made.parse_args()


def _time(
    ours: Ours, worker: Worker, peers: Sequence[PeerInfo], pictures: PictureSet, rounds: int
) -> tuple[Timings, float | None]:
    """Both sizes of a frame with two rows of pictures in it, so that there is something to decode."""
    import cv2

    cv2.setNumThreads(1)
    made: list[dict[str, Timing]] = []
    busy: list[float | None] = []
    faces = [len(picture.boxes) for picture in pictures.pictures]
    frame = pictures.pictures[faces.index(max(faces))].image
    for height, width in FRAMES:
        image = np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        detectors = {OURS: here(partial(ours.detect, image, ours.threshold))}
        detectors |= {peer.name: partial(worker.measure, peer.name, image) for peer in peers}
        timings, others = in_turns(detectors, report.BASE, rounds)
        made.append(timings)
        busy.append(others)
    known = [cores for cores in busy if cores is not None]
    return {name: (made[0][name], made[1][name]) for name in made[0]}, max(known) if known else None


def _our_size(bundle: Bundle, device: str) -> tuple[int | None, float | None]:
    """Counted at 320x240; the fake back end has no network."""
    picture = bundle.manifest.inputs[0]
    return (None, None) if device == "fake" else count(bundle.read_model(), {picture.name: [1, 240, 320, 3]})


def _size(peer: PeerInfo) -> tuple[int | None, float | None]:
    if peer.network and peer.shapes:
        return count(peer.network.read_bytes(), peer.shapes)
    return peer.work or (None, None)


def _pictures(sets: Mapping[str, PictureSet]) -> list[dict[str, object]]:
    return [
        {
            "set": name,
            "pictures": len(s.pictures),
            "faces": sum(len(boxes) for boxes in s.truth),
            "median height of a face, pixels": s.median_face_px,
            "sha256": s.sha256[:12],
        }
        for name, s in sets.items()
    ]


if __name__ == "__main__":
    main()
