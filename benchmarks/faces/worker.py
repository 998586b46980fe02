"""The process that runs the peers, in their own virtual environment: requests come as lines of JSON, one answer each.

Pictures and detections travel in files, so that neither side must read the other's numpy.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .peers import Found, Peer, make

_loaded: dict[str, Peer] = {}


def open_peer(request: dict[str, Any]) -> dict[str, Any]:
    """Load a peer and say what it is, or that it is missing."""
    try:
        peer = _loaded.setdefault(request["peer"], make(request["peer"]))
        number = version(peer.package)
    except (ImportError, PackageNotFoundError) as error:
        return {"missing": f"{type(error).__name__}: {error}"}
    shapes = None
    if network := peer.network():
        Path(request["network"]).write_bytes(network[0])
        shapes = network[1]
    known = {"threshold": peer.threshold, "probability": peer.probability, "work": peer.work, "shapes": shapes}
    return {"version": f"{peer.package} {number}", **known}


def detect(request: dict[str, Any]) -> dict[str, Any]:
    """Run on all pictures of a file and leave what was found in another."""
    peer = _loaded[request["peer"]]
    save(Path(request["out"]), [peer.detect(image, request["threshold"]) for image in np.load(request["images"])])
    return {}


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Time some calls on one picture: on the wall, and of this process on the processor."""
    peer = _loaded[request["peer"]]
    image = np.load(request["image"])
    return {"ms": timed(lambda: peer.detect(image, peer.threshold), request["calls"])}


def timed(call: Any, calls: int) -> list[tuple[float, float]]:
    """Wall and processor milliseconds of each call."""
    made = []
    for _ in range(calls):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        made.append(((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3))
    return made


def save(file: Path, found: list[Found]) -> None:
    """Detections of several pictures in one `.npz`."""
    counts = np.array([len(f.score) for f in found])
    parts = {name: np.concatenate([getattr(f, name) for f in found]) for name in ("xyxy", "score", "landmarks")}
    np.savez(file, counts=counts, xyxy=parts["xyxy"], score=parts["score"], landmarks=parts["landmarks"])


def load(file: Path) -> list[Found]:
    """What `save` wrote."""
    with np.load(file) as stored:
        cuts = np.cumsum(stored["counts"])[:-1]
        parts = [np.split(stored[name], cuts) for name in ("xyxy", "score", "landmarks")]
    return [Found(*values) for values in zip(*parts, strict=True)]


def main() -> None:
    """Answer until the other side closes the pipe."""
    import cv2

    # Packages print what they please: that goes to stderr, the answers have a pipe of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    cv2.setNumThreads(1)
    os.sched_setaffinity(0, {int(sys.argv[1])})
    work = {"open": open_peer, "detect": detect, "measure": measure}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = work[request["what"]](request)
        except Exception as error:  # told to the other side, which has the user's terminal
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
