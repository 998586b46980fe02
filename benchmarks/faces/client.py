"""This side of the worker process."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from helmsight.runtime.results import Image

from .peers import Found
from .worker import load

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A peer that is installed: `version` is its package with version; `work` the published (parameters, MFLOPs) where
    there is no ONNX file, `network` that file and `shapes` of its inputs where there is one.
    """

    name: str
    version: str
    threshold: float
    probability: bool
    work: tuple[int, float] | None
    network: Path | None
    shapes: dict[str, list[int]] | None


class Worker:
    """The peers in a process of their own, on one core and one thread. A context manager."""

    def __init__(self, python: Path, core: int) -> None:
        one = dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_CPP_MIN_LOG_LEVEL", "GLOG_minloglevel"), "1"
        )
        self._folder = tempfile.TemporaryDirectory()
        self._log = (Path(self._folder.name) / "log").open("w+")
        self._process = subprocess.Popen(
            [str(python), "-m", "benchmarks.faces.worker", str(core)],
            cwd=ROOT,
            env=os.environ | one,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def open(self, name: str) -> PeerInfo | None:
        """Load a peer; None where its package is not installed."""
        network = Path(self._folder.name) / f"{name}.onnx"
        answer = self._ask(what="open", peer=name, network=str(network))
        if "missing" in answer:
            return None
        work = (int(answer["work"][0]), float(answer["work"][1])) if answer["work"] else None
        file = network if answer["shapes"] else None
        facts = answer["version"], answer["threshold"], answer["probability"]
        return PeerInfo(name, *facts, work, file, answer["shapes"])

    def detect(self, name: str, images: list[Image], threshold: float, out: Path) -> list[Found]:
        """The faces in pictures of one size, also left in `out` as `load` reads it."""
        file = Path(self._folder.name) / "images.npy"
        np.save(file, np.stack(images))
        beside = out.with_name(f".{out.name}")
        self._ask(what="detect", peer=name, images=str(file), threshold=threshold, out=str(beside))
        beside.replace(out)
        return load(out)

    def measure(self, name: str, image: Image, calls: int) -> list[tuple[float, float]]:
        """Wall and processor milliseconds of each of `calls`."""
        file = Path(self._folder.name) / "image.npy"
        np.save(file, image)
        return [(wall, cpu) for wall, cpu in self._ask(what="measure", peer=name, image=str(file), calls=calls)["ms"]]

    def _ask(self, **request: Any) -> dict[str, Any]:
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None
        assert answers is not None
        line = ""
        try:
            pipe.write(json.dumps(request) + "\n")
            pipe.flush()
            line = answers.readline()
        except BrokenPipeError:
            pass
        answer: dict[str, Any] = json.loads(line or '{"error": "the process of the peers ended"}')
        if "error" in answer:
            self._log.seek(0)
            raise RuntimeError(
                f"{request['what']} {request.get('peer')}: {answer['error']}\n{self._log.read()[-3000:]}"
            )
        return answer

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                pipe.close()
        self._process.wait(30)
        self._folder.cleanup()
