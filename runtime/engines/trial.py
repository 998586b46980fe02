"""The first load of an engine, in a process of its own: when it crashes there, that is a message here.

`python -m helmsight.runtime.engines.trial FILE SHA256 SHAPES LIBRARY` prints {"graph", "gpu_ms", "layers"} as JSON.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...devices.errors import BadArtefact, DeviceMismatch, HelmsightError

TIMEOUT_S = 300


def try_engine(
    file: Path,
    digest: str,
    shapes: Mapping[str, tuple[int, ...]],
    command: Sequence[str] = (),
    library: str = "TensorRT",
) -> Mapping[str, Any]:
    """Load and run `file` once in a child process, and return what that printed.

    Raises DeviceMismatch with its last words, or with the signal that ended it. `command` is in place of this module's.
    """
    start = command or (sys.executable, "-m", "helmsight.runtime.engines.trial")
    asked = [*start, str(file), digest, json.dumps({name: list(shape) for name, shape in shapes.items()}), library]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise DeviceMismatch(f"the engine {file} was not loaded within {TIMEOUT_S} s") from None
    if done.returncode < 0:
        raise DeviceMismatch(
            f"loading the engine {file} crashed its process ({signal.Signals(-done.returncode).name}); it was built by "
            "another TensorRT or for another GPU, or a driver is broken"
        )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["no word"]
        raise DeviceMismatch(f"the engine {file} does not run: {said[0].removeprefix('helmsight: ')}")
    try:
        found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise DeviceMismatch(f"the trial of the engine {file} ended without a result") from None
    return found


def main(arguments: Sequence[str]) -> int:
    """The child. Errors of helmsight's are one line on stderr."""
    file, digest, library = Path(arguments[0]), arguments[1], arguments[3]
    shapes = {name: tuple(shape) for name, shape in json.loads(arguments[2]).items()}
    try:
        print(json.dumps(_load_and_run(file, digest, shapes, library)))
    except HelmsightError as error:
        print(f"helmsight: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _load_and_run(file: Path, digest: str, shapes: Mapping[str, tuple[int, ...]], library: str) -> dict[str, Any]:
    from . import tensorrt, tensorrt_rtx
    from ._cuda import open_cuda
    from .engine import Engine

    plan = file.read_bytes()
    if hashlib.sha256(plan).hexdigest() != digest:
        raise BadArtefact(f"{file} was changed after it was checked")
    opened = tensorrt() if library == "TensorRT" else tensorrt_rtx()
    with Engine(opened, open_cuda(), plan, shapes) as engine:
        engine.run({name: np.zeros(shape, engine.input_dtype(name)) for name, shape in shapes.items()})
        return {"graph": engine.graph, "gpu_ms": engine.gpu_ms, "layers": engine.layers()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
