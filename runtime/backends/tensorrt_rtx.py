"""TensorRT-RTX on the first GPU: runs the engine that export built ahead of time for its compute capability."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

from ...devices.errors import DeviceMismatch
from ..bundle import Bundle
from ..engines import tensorrt_rtx
from ..engines._cuda import open_cuda
from ..engines.engine import Engine
from ..engines.source import input_shapes, rtx_command, rtx_engine
from ..engines.store import Store
from ..engines.trial import try_engine
from . import Session, SessionOptions
from . import onnxruntime as onnxruntime_backend
from .tensorrt import EngineSession

log = logging.getLogger(__name__)


def load(bundle: Bundle, options: SessionOptions) -> Session:
    """Load the engine of `bundle` for this GPU; see `backends.load`. The first time, a child process loads it before.

    Raises MissingExtra without TensorRT-RTX, DeviceMismatch without a GPU or an engine that fits it and the version.
    """
    library = tensorrt_rtx()
    try:
        cuda = open_cuda()
        file = rtx_engine(bundle, cuda.gpu.compute_capability, library.version)
        shapes, store = input_shapes(bundle), Store()
        tried = f"tried-{file.sha256[:32]}.json"
        if not store.read(tried):
            found = try_engine(bundle.path / file.name, file.sha256, shapes, library=library.name)
            store.write(tried, json.dumps({"bundle_file": file.name, **found}).encode())
        engine = Engine(library, cuda, file.data, shapes)
        rebuild = rtx_command(bundle, cuda.gpu.compute_capability)
        return EngineSession(bundle, engine, "tensorrt-rtx", file.precision, rebuild)
    except DeviceMismatch as error:
        if not options.allow_fallback:
            raise
        log.warning("%s; %s runs on the CPU in place of TensorRT-RTX, as --allow-fallback allows", error, bundle.path)
        return onnxruntime_backend.load(bundle, replace(options, device="cpu"))
