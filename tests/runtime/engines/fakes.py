"""A fake of TensorRT's Python module and of CUDA, for what helmsight does around them; no result here is TensorRT's.

The fake engine is the bytes PLAN and gives y = 2 * x, x float32 of the shape it is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from helmsight.runtime.engines import Library
from helmsight.runtime.engines._cuda import GpuFound

PLAN = b"a fake engine"
LAYERS = json.dumps({"Layers": [{"LayerType": "CaskConvolution", "Inputs": [{"Format/Datatype": "Float"}]}]})
TIMES = (("conv1 + relu1", 0.3), ("Reformatting CopyNode for Output Tensor 0 to fc", 0.05), ("fc", 0.1))
"""What a profiler is told of each run of the fake engine, in milliseconds."""


class FakeCuda:
    """GPU memory is a bytearray; work is done at once, and a captured graph does it again."""

    name = "fake cuda"

    def __init__(self, capability: str = "8.7", graphs: bool = True) -> None:
        self.gpu = GpuFound("fake GPU", capability)
        self.memories: dict[int, np.ndarray] = {}
        self.pinned_count = self.streams = self.events = self.launches = 0
        self.entered = 0
        self._graphs = graphs

    @contextmanager
    def current(self) -> Iterator[None]:
        self.entered += 1
        yield

    def stream(self) -> int:
        self.streams += 1
        return self.streams

    def handle(self, stream: int) -> int:
        return stream

    def wait(self, stream: int) -> None:
        pass

    def close_stream(self, stream: int) -> None:
        self.streams -= 1

    def memory(self, size_bytes: int) -> int:
        address = 4096 * (1 + max(self.memories, default=0) // 4096)
        self.memories[address] = np.zeros(size_bytes, np.uint8)
        return address

    def free(self, memory: int) -> None:
        del self.memories[memory]

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        self.pinned_count += 1
        return np.empty(shape, dtype)

    def free_pinned(self, array: np.ndarray) -> None:
        self.pinned_count -= 1

    def copy_in(self, memory: int, array: np.ndarray, stream: int) -> None:
        self.memories[memory][:] = array.reshape(-1).view(np.uint8)

    def copy_out(self, array: np.ndarray, memory: int, stream: int) -> None:
        array.reshape(-1).view(np.uint8)[:] = self.memories[memory]

    def event(self) -> dict[str, int]:
        self.events += 1
        return {}

    def close_event(self, event: dict[str, int]) -> None:
        self.events -= 1

    def record(self, event: dict[str, int], stream: int) -> None:
        event["at"] = self.launches

    def elapsed_ms(self, begin: dict[str, int], end: dict[str, int]) -> float:
        return float(end["at"] - begin["at"])

    def capture(self, work: Callable[[], None], stream: int) -> Any:
        if not self._graphs:
            return None

        def launch(stream: int) -> None:
            self.launches += 1
            work()

        return SimpleNamespace(launch=launch, close=lambda: None)


class _Mode(IntEnum):
    INPUT = 1
    OUTPUT = 2


class _Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


def log_errors(log: Any, *errors: str) -> None:
    """What TensorRT does while it fails, with a warning before."""
    log.log(_Severity.WARNING, "not why it fails")
    for error in errors:
        log.log(_Severity.ERROR, error)


class _Logger:
    Severity = _Severity

    def __init__(self) -> None:
        pass


class _Context:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda, self.addresses, self.shape = cuda, dict[str, int](), (0,)
        self.profiler: Any = None

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        x, y = (self.cuda.memories[self.addresses[name]].view(np.float32) for name in ("x", "y"))
        y[:] = 2 * x
        for name, ms in TIMES if self.profiler else ():
            self.profiler.report_layer_time(name, ms)
        return True


class OldConfig:
    """A builder's configuration as 8.5 and 8.6 have it, with the libraries that they take kernels from."""

    def __init__(self) -> None:
        self.sources, self.features = 0b11111, dict[str, bool]()

    def get_tactic_sources(self) -> int:
        return self.sources

    def set_tactic_sources(self, sources: int) -> bool:
        self.sources = sources
        return True

    def set_preview_feature(self, feature: str, enable: bool) -> None:
        self.features[feature] = enable


class _Config:
    progress_monitor = None

    def __init__(self) -> None:
        self.flags: set[str] = set()

    def clear_flag(self, flag: str) -> None:
        self.flags.discard(flag)

    def create_timing_cache(self, data: bytes) -> Any:
        return SimpleNamespace(serialize=lambda: data + b".")

    def set_timing_cache(self, cache: Any, ignore: bool) -> None:
        self.cache = cache

    def get_timing_cache(self) -> Any:
        return self.cache


class _Runtime:
    def __init__(self, cuda: FakeCuda, kind: str, log: Any) -> None:
        self.cuda, self.kind, self.log = cuda, kind, log

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        if plan != PLAN:
            log_errors(self.log, "the magic tag\ndoes not match", "deserializing failed")
            return None
        names = ["y", "x"]
        return SimpleNamespace(
            num_io_tensors=2,
            get_tensor_name=names.__getitem__,
            get_tensor_mode=lambda name: _Mode.INPUT if name == "x" else _Mode.OUTPUT,
            get_tensor_dtype=lambda name: self.kind,
            create_execution_context=lambda: _Context(self.cuda),
            create_engine_inspector=lambda: SimpleNamespace(get_engine_information=lambda kind: LAYERS),
        )


def _network() -> Any:
    """One convolution."""
    layer = SimpleNamespace(type="LayerType.CONVOLUTION", num_inputs=1, num_outputs=1)
    layer.get_output = lambda i: SimpleNamespace(name="y", dtype="DataType.FLOAT")
    layer.get_input = lambda i: SimpleNamespace(name="x")
    return SimpleNamespace(num_inputs=0, num_layers=1, get_layer=lambda i: layer)


def _build(config: _Config, built: bytes | None) -> bytes | None:
    """Two steps, after each of which the builder asks whether to go on."""
    watch: Any = config.progress_monitor
    if watch is None:
        return built
    watch.phase_start("Building", None, 2)
    for step in range(2):
        if not watch.step_complete("Building", step):
            return None
    watch.phase_finish("Building")
    return built


def fake_library(
    cuda: FakeCuda, version: str = "10.3.0.30", built: bytes | None = PLAN, kind: str = "DataType.FLOAT"
) -> Library:
    """A library of that version whose builder gives `built`, an engine of tensors of this kind."""
    builder = SimpleNamespace(
        create_network=lambda flags: _network(),
        create_builder_config=_Config,
        build_serialized_network=lambda network, config: _build(config, built),
    )
    module = SimpleNamespace(
        __version__=version,
        ILogger=_Logger,
        IProfiler=type("IProfiler", (), {"__init__": lambda self: None}),
        Builder=lambda log: builder,
        OnnxParser=lambda network, log: SimpleNamespace(parse=lambda data: True),
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
        BuilderFlag=SimpleNamespace(TF32="TF32"),
        ProfilingVerbosity=SimpleNamespace(DETAILED=1),
        LayerInformationFormat=SimpleNamespace(JSON=1),
        IProgressMonitor=type("IProgressMonitor", (), {"__init__": lambda self: None}),
        Runtime=partial(_Runtime, cuda, kind),
        TensorIOMode=_Mode,
    )
    return Library("TensorRT", module)
