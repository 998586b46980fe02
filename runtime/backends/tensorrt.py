"""TensorRT 8.5 and later, on the first GPU: runs the engine that `helmsight build` made on this machine."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import TracebackType

from ...devices.errors import DeviceMismatch
from ..bundle import Bundle, TensorSpec
from ..engines import tensorrt
from ..engines._cuda import open_cuda
from ..engines.build import engine_key, rebuild_command
from ..engines.engine import Engine
from ..engines.source import network_file
from ..engines.store import Store
from . import Feeds, Outputs, Session, SessionOptions
from . import onnxruntime as onnxruntime_backend

log = logging.getLogger(__name__)


def load(bundle: Bundle, options: SessionOptions) -> Session:
    """Load the engine of `bundle`; see `backends.load`. It is never built here, which may take minutes.

    Raises DeviceMismatch without TensorRT, a GPU, or an engine that fits both and the bundle, with the command that
    builds it; BadArtefact for an engine that was changed.
    """
    try:
        library, cuda = tensorrt(), open_cuda()
        key = engine_key(bundle, network_file(bundle), library, cuda)
        stored = Store().find(key, bundle.manifest.name, rebuild_command(bundle))
        engine = Engine(library, cuda, stored.read(), input_shapes(bundle))
        return EngineSession(bundle, engine, "tensorrt", str(stored.record["precision"]), rebuild_command(bundle))
    except DeviceMismatch as error:
        if not options.allow_fallback:
            raise
        log.warning("%s; %s runs on the CPU in place of TensorRT, as --allow-fallback allows", error, bundle.path)
        return onnxruntime_backend.load(bundle, replace(options, device="cpu"))


def input_shapes(bundle: Bundle) -> dict[str, tuple[int, ...]]:
    """The shape of each input at the size of the manifest."""
    return {spec.name: tuple(int(side) for side in spec.shape) for spec in bundle.manifest.inputs}


class EngineSession:
    """A network in an engine, which it owns. `precision` is what was read back when the engine was built."""

    def __init__(self, bundle: Bundle, engine: Engine, device: str, precision: str, rebuild: str) -> None:
        self._engine = engine
        found = engine.outputs
        missing = {spec.name for spec in bundle.manifest.outputs} - found.keys()
        if missing:
            engine.close()
            raise DeviceMismatch(f"the engine has no output {', '.join(sorted(missing))}; {rebuild}")
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

    def close(self) -> None:
        self._engine.close()

    def __enter__(self) -> EngineSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
