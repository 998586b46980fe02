"""Back ends: what runs a bundle's network. One file each, the same small surface.

A back end is a module with `load(bundle, options) -> Session`. To add one, write `NAME.py` beside `onnxruntime.py`
and name it in `BACKENDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import UsageError
from ...devices.processor import processor
from ..bundle import Bundle, TensorSpec

Feeds = Mapping[str, NDArray[Any]]
Outputs = dict[str, NDArray[np.float32]]

BACKENDS = {
    "cpu": "onnxruntime",
    "openvino": "openvino",
    "tuned": "tuned",
    "cuda": "onnxruntime",
    "tensorrt": "tensorrt",
    "tensorrt-rtx": "tensorrt_rtx",
    "fake": "fake",
}
"""What `--device` accepts, and the back end that serves it."""
ON_CPU = ("cpu", "openvino")
"""Those of them that run on the processor, as a session names them."""
MOST_THREADS = 256
"""Of a session, where the process may not use more cores: an engine starts as many as it is told."""


@dataclass(frozen=True, slots=True)
class OnnxRuntimeSettings:
    """`optimisation` of the graph is `all`, `extended`, `basic` or `off`, "" for what the bundle's export chose.

    With `spinning` threads wait by working. `arena` keeps freed memory for the next run; with `io_binding` arrays are
    bound rather than handed over. What is usual here was measured: benchmarks/results/cpu_engines.md.
    """

    optimisation: str = ""
    spinning: bool = False
    arena: bool = True
    io_binding: bool = False


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """`device` is a key of BACKENDS. `threads` 0 means as many as the process may use; `settings` are ONNX Runtime's.

    `layers` is a folder for what the engine's own profiler writes, which slows it down; None: that is off.
    Raises UsageError for a number of threads that no machine has.
    """

    device: str = "cpu"
    threads: int = 0
    allow_fallback: bool = False
    layers: Path | None = None
    settings: OnnxRuntimeSettings = field(default_factory=OnnxRuntimeSettings)

    def __post_init__(self) -> None:
        # A machine with more cores may use all of them.
        if not 0 <= self.threads <= MOST_THREADS and not 0 < self.threads <= processor().usable_cores:
            most = max(MOST_THREADS, processor().usable_cores)
            raise UsageError(f"--threads {self.threads}: expected 1 to {most}, or 0 for as many as may be used")


class Session(Protocol):
    """A network that is ready to run. It owns its buffers: outputs of `run` are the caller's to keep."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    device: str
    """Where it really runs, as the engine reports it."""
    precision: str
    """What it really computes in: fp32, fp16, int8 or mixed."""

    def run(self, feeds: Feeds) -> Outputs:
        """Run once, one array an input; after `close` it raises RuntimeError."""
        ...

    def close(self) -> None:
        """Free what it holds; may be called twice."""
        ...

    def __enter__(self) -> Session: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def load(bundle: Bundle, options: SessionOptions | None = None) -> Session:
    """Load `bundle` on the device the options name.

    Raises UsageError for an unknown device, MissingExtra when its package is not installed, DeviceMismatch when it
    would run elsewhere than asked and `allow_fallback` is False, BadArtefact when the file is no network.
    """
    options = options or SessionOptions()
    if options.device not in BACKENDS:
        known = ", ".join(name for name in BACKENDS if name != "fake")  # which is for tests
        raise UsageError(f"--device {options.device} is unknown; expected one of {known}")
    module = import_module(f".{BACKENDS[options.device]}", __package__)
    session: Session = module.load(bundle, options)
    return session
