"""A deserialised engine with its buffers, ready to run: one stream, pinned memory, a CUDA graph where it can be one.

Only what was checked against its SHA-256 may come here: deserialising an engine runs native code.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import BadArtefact, DeviceMismatch
from ..backends.layer_times import Span
from . import Library
from ._cuda import Cuda, Graph
from .layers import make_profiler
from .network import make_log

DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
"""What NumPy calls TensorRT's types. Its own `nptype` fails in 8.5, which asks NumPy for a `bool` that 1.24 dropped."""


@dataclass(slots=True)
class Tensor:
    """One input or output: `host` is page-locked, `memory` is the GPU's, both of the tensor's size."""

    name: str
    is_input: bool
    host: NDArray[Any]
    memory: Any


class Engine:
    """An engine of `library` for inputs of `shapes`. It owns its memory; `close` frees it, and then a run raises.

    `profiled`: each run has the times of its layers in `runs`, and is no CUDA graph, which has no layers.
    """

    def __init__(
        self,
        library: Library,
        cuda: Cuda,
        plan: bytes,
        shapes: Mapping[str, tuple[int, ...]],
        profiled: bool = False,
    ) -> None:
        self._cuda, self._trt = cuda, library.module
        self._lock = threading.Lock()
        self._tensors: list[Tensor] = []
        self._graph: Graph | None = None
        self._stream: Any = None
        self._events: tuple[Any, ...] = ()
        self._closed = False
        self.gpu_ms = float("nan")
        """What the last run took on the GPU, copies included, between two CUDA events."""
        self.runs: list[tuple[Span, list[tuple[str, float]]]] = []
        self._profiler: Any = None
        self._log = make_log(self._trt)
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        try:
            with cuda.current():
                self._load(library, plan)
                self._stream = cuda.stream()
                self._events = cuda.event(), cuda.event()
                self._allocate(shapes)
                self._enqueue()  # the first run sets up what a graph may not hold
                cuda.wait(self._stream)
                if profiled:
                    self._watch_layers()
                else:
                    self._graph = cuda.capture(self._enqueue, self._stream)
        except BaseException as error:
            with suppress(RuntimeError):  # after a fault of the GPU nothing can be given back either
                self.close()
            if type(error) is RuntimeError:  # what CUDA says, such as that its memory is full
                raise DeviceMismatch(f"the GPU does not run the engine: {error}") from error
            raise

    @property
    def graph(self) -> bool:
        """Whether a run is the launch of one CUDA graph."""
        return self._graph is not None

    @property
    def profiled(self) -> bool:
        """Whether runs have the times of their layers."""
        return self._profiler is not None

    @property
    def outputs(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and dtype of each output."""
        return {t.name: (t.host.shape, t.host.dtype) for t in self._tensors if not t.is_input}

    def input_dtype(self, name: str) -> np.dtype[Any]:
        """What an input is fed."""
        return next(t.host.dtype for t in self._tensors if t.name == name)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """One run; the arrays are the caller's. Threads take turns. Raises BadArtefact for feeds of another shape."""
        with self._lock:
            if self._closed:
                raise RuntimeError("this session is closed")
            for tensor in self._tensors:
                if tensor.is_input:
                    _put(tensor, feeds)
            with self._cuda.current():
                begin, end = self._events
                begin_ns = time.perf_counter_ns()
                self._cuda.record(begin, self._stream)
                if self._graph is None:
                    self._enqueue()
                else:
                    self._graph.launch(self._stream)
                self._cuda.record(end, self._stream)
                self._cuda.wait(self._stream)
                self.gpu_ms = self._cuda.elapsed_ms(begin, end)
                if self._profiler is not None:
                    span = Span(begin_ns / 1e3, (time.perf_counter_ns() - begin_ns) / 1e3)
                    self.runs.append((span, self._profiler.times))
                    self._profiler.times = []
            return {t.name: t.host.copy() for t in self._tensors if not t.is_input}

    def layers(self) -> str:
        """What the engine inspector says of its layers, as JSON."""
        with self._lock, self._cuda.current():
            inspector = self._engine.create_engine_inspector()
            inspector.execution_context = self._context
            return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with self._cuda.current():
                self._give_back()

    def _give_back(self) -> None:
        """All that is CUDA's. What is pycuda's goes with its last reference, so none may outlive the context."""
        if self._graph is not None:
            self._graph.close()
        self._graph = self._context = self._engine = self._runtime = self._profiler = None
        while self._tensors:
            tensor = self._tensors.pop()
            self._cuda.free(tensor.memory)
            self._cuda.free_pinned(tensor.host)
        for event in self._events:
            self._cuda.close_event(event)
        if self._stream is not None:
            self._cuda.close_stream(self._stream)
        self._events, self._stream = (), None

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self, library: Library, plan: bytes) -> None:
        """The engine and its context, or the reason in TensorRT's own words."""
        self._runtime = self._trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise DeviceMismatch(f"{library} does not take the engine ({self._log.reason})")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise DeviceMismatch(f"{library} has no memory for the engine ({self._log.reason})")

    def _allocate(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Inputs first, since the shapes of outputs follow from theirs."""
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        inputs = [n for n in names if self._engine.get_tensor_mode(n) == self._trt.TensorIOMode.INPUT]
        for name in inputs:
            if name not in shapes or not self._context.set_input_shape(name, shapes[name]):
                raise DeviceMismatch(f"the engine was not built for input {name} of shape {shapes.get(name)}")
        for name in [*inputs, *(n for n in names if n not in inputs)]:
            shape = tuple(self._context.get_tensor_shape(name))
            dtype = _dtype(name, self._engine.get_tensor_dtype(name))
            host = self._cuda.pinned(shape, dtype)
            host[...] = 0
            try:
                memory = self._cuda.memory(host.nbytes)
            except BaseException:
                self._cuda.free_pinned(host)
                raise
            tensor = Tensor(name, name in inputs, host, memory)
            self._tensors.append(tensor)
            self._context.set_tensor_address(name, int(tensor.memory))

    def _watch_layers(self) -> None:
        """From now on each run is waited for, layer by layer."""
        self._profiler = self._context.profiler = make_profiler(self._trt)

    def _enqueue(self) -> None:
        """Copies in, the network, copies out, all into the stream."""
        for tensor in self._tensors:
            if tensor.is_input:
                self._cuda.copy_in(tensor.memory, tensor.host, self._stream)
        if not self._context.execute_async_v3(self._cuda.handle(self._stream)):
            raise RuntimeError(f"the engine does not run: {self._log.reason}")
        for tensor in self._tensors:
            if not tensor.is_input:
                self._cuda.copy_out(tensor.host, tensor.memory, self._stream)


def _dtype(name: str, told: Any) -> np.dtype[Any]:
    """The dtype of a tensor, told as `DataType.FLOAT`. Raises DeviceMismatch for one that NumPy does not have."""
    kind = str(told).rpartition(".")[2]
    if kind not in DTYPES:
        raise DeviceMismatch(
            f"the engine's tensor {name} is {kind}, which NumPy does not have (it has {', '.join(DTYPES)})"
        )
    return np.dtype(DTYPES[kind])


def _put(tensor: Tensor, feeds: Mapping[str, NDArray[Any]]) -> None:
    if tensor.name not in feeds:
        raise ValueError(f"no feed for input {tensor.name}")
    given = feeds[tensor.name]
    if given.shape != tensor.host.shape or given.dtype != tensor.host.dtype:
        raise BadArtefact(
            f"input {tensor.name} is {given.dtype} {given.shape}, the engine takes {tensor.host.dtype} "
            f"{tensor.host.shape}; prepare it so, or build the engine for that size with --imgsz"
        )
    np.copyto(tensor.host, given)
