"""TensorRT 8.5 and later, on the first GPU: runs the engine that `helmsight build` made on this machine."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np

from ...devices.errors import DeviceMismatch
from ..bundle import Bundle, TensorSpec
from ..engines import tensorrt
from ..engines._cuda import open_cuda
from ..engines.build import engine_key, rebuild_command
from ..engines.engine import Engine
from ..engines.layers import runs_of
from ..engines.source import input_shapes, network_file
from ..engines.store import Store
from . import Feeds, Outputs, Session, SessionOptions
from . import onnxruntime as onnxruntime_backend
from ._tensors import fits
from .layer_times import EngineRun

log = logging.getLogger(__name__)


def load(bundle: Bundle, options: SessionOptions) -> Session:
    """Load the engine of `bundle`; see `backends.load`. It is never built here, which may take minutes.

    Raises DeviceMismatch without TensorRT, a GPU, or an engine that fits both and the bundle, with the command that
    builds it; BadArtefact for an engine that was changed.
    """
    try:
        library, cuda = tensorrt(), open_cuda()
        key = engine_key(bundle, network_file(bundle, library), library, cuda)
        stored = Store().find(key, bundle.manifest.name, rebuild_command(bundle))
        engine = Engine(library, cuda, stored.read(), input_shapes(bundle), profiled=options.layers is not None)
        return EngineSession(bundle, engine, "tensorrt", str(stored.record["precision"]), rebuild_command(bundle))
    except DeviceMismatch as error:
        if not options.allow_fallback:
            raise
        log.warning("%s; %s runs on the CPU in place of TensorRT, as --allow-fallback allows", error, bundle.path)
        return onnxruntime_backend.load(bundle, replace(options, device="cpu"))


class EngineSession:
    """A network in an engine, which it owns. `precision` is what was read back when the engine was built."""

    layer_profiler = "TensorRT's profiler"

    def __init__(self, bundle: Bundle, engine: Engine, device: str, precision: str, rebuild: str) -> None:
        self._engine = engine
        found = engine.outputs
        try:
            _check_outputs(bundle, found, rebuild)
        except DeviceMismatch:
            engine.close()
            raise
        if not engine.graph and not engine.profiled:
            log.warning("%s: no CUDA graph of it could be made here; each run is launched layer by layer", bundle.path)
        self.inputs = bundle.manifest.inputs
        self.outputs: tuple[TensorSpec, ...] = tuple(
            replace(spec, shape=found[spec.name][0]) for spec in bundle.manifest.outputs
        )
        self.device = device
        self.precision = precision

    @property
    def gpu_ms(self) -> float:
        """What the last run took on the GPU, between two CUDA events, copies included."""
        return self._engine.gpu_ms

    def run(self, feeds: Feeds) -> Outputs:
        made = self._engine.run(feeds)
        return {spec.name: made[spec.name] for spec in self.outputs}

    def layer_runs(self) -> tuple[EngineRun, ...]:
        """See `HasLayers`."""
        return runs_of(self._engine.runs, self._engine.layers())

    def close(self) -> None:
        self._engine.close()

    def __enter__(self) -> EngineSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_outputs(bundle: Bundle, found: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], rebuild: str) -> None:
    """The engine gives what the manifest says; at another size than the usual one shapes are the engine's own.

    Raises DeviceMismatch with both.
    """
    resized = any(spec.multiple for spec in bundle.manifest.inputs)
    for spec in bundle.manifest.outputs:
        if spec.name not in found:
            raise DeviceMismatch(f"the engine has no output {spec.name}, only {', '.join(found)}; {rebuild}")
        shape, dtype = found[spec.name]
        if str(dtype) != spec.dtype or not (resized or fits(spec.shape, shape)):
            raise DeviceMismatch(
                f"the engine's output {spec.name} is {dtype} {shape}, the manifest says {spec.dtype} {spec.shape}; "
                f"{rebuild}"
            )
