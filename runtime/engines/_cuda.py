"""What an engine needs of CUDA, behind one small interface: cuda-bindings (cuda-python), or pycuda where that is there.

Every call but `open_cuda` is made within `current()`. Whoever asks for memory, a stream or an event gives it
back: `free`, `free_pinned`, `close_stream`, `close_event`.
"""

from __future__ import annotations

import atexit
import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ...devices.errors import DeviceMismatch


@dataclass(frozen=True, slots=True)
class GpuFound:
    """The first GPU; `compute_capability` such as "8.7"."""

    name: str
    compute_capability: str


class Cuda(Protocol):
    """A way to CUDA's runtime on the first GPU. Streams and events are its own objects, addresses are ints."""

    name: str
    gpu: GpuFound

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the GPU's primary context this thread's."""
        ...

    def stream(self) -> Any: ...

    def handle(self, stream: Any) -> int:
        """What TensorRT takes for a stream."""
        ...

    def wait(self, stream: Any) -> None: ...

    def close_stream(self, stream: Any) -> None: ...

    def memory(self, size_bytes: int) -> Any:
        """Memory of the GPU; `int()` of it is its address."""
        ...

    def free(self, memory: Any) -> None: ...

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array in page-locked memory of the host, so that copies need not wait."""
        ...

    def free_pinned(self, array: NDArray[Any]) -> None: ...

    def copy_in(self, memory: Any, array: NDArray[Any], stream: Any) -> None: ...

    def copy_out(self, array: NDArray[Any], memory: Any, stream: Any) -> None: ...

    def event(self) -> Any: ...

    def close_event(self, event: Any) -> None: ...

    def record(self, event: Any, stream: Any) -> None: ...

    def elapsed_ms(self, begin: Any, end: Any) -> float:
        """Between two events that were reached."""
        ...

    def capture(self, work: Callable[[], None], stream: Any) -> Graph | None:
        """What `work` puts into `stream` as one graph; None where it cannot be one."""
        ...


class Graph(Protocol):
    """Work that was captured."""

    def launch(self, stream: Any) -> None: ...

    def close(self) -> None: ...


def open_cuda() -> Cuda:
    """CUDA through the package that is here. Raises DeviceMismatch without a package, a driver, or a GPU."""
    # Kernels are loaded when they are used, the rule from CUDA 12.2 on: TensorRT 8, of CUDA 11, has gigabytes of them.
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")
    missing = []
    for module, kind in (("cuda.bindings.runtime", CudaBindings), ("cuda.cudart", CudaBindings), ("pycuda", PyCuda)):
        try:
            return kind(import_module(module))
        except ImportError as error:
            missing.append(str(error))
    raise DeviceMismatch(
        f"no way to CUDA here ({missing[0]}); pip install 'helmsight[tensorrt]' brings cuda-bindings, pycuda serves too"
    )


class CudaBindings:
    """Through NVIDIA's own bindings: `cuda.bindings.runtime`, or `cuda.cudart` of cuda-python before 12.6."""

    name = "cuda-bindings"

    def __init__(self, runtime: Any) -> None:
        self._rt = runtime
        self._pinned: dict[int, int] = {}
        status, count = runtime.cudaGetDeviceCount()
        if int(status) or not count:
            raise DeviceMismatch(f"no NVIDIA GPU can be used here ({self._word(status) if int(status) else 'none'})")
        kind = runtime.cudaDeviceAttr
        capability = [
            self._do(runtime.cudaDeviceGetAttribute(attribute, 0))
            for attribute in (kind.cudaDevAttrComputeCapabilityMajor, kind.cudaDevAttrComputeCapabilityMinor)
        ]
        name = self._do(runtime.cudaGetDeviceProperties(0)).name
        text = name.decode() if isinstance(name, bytes) else str(name)
        self.gpu = GpuFound(text.rstrip("\0"), ".".join(map(str, capability)))

    @contextmanager
    def current(self) -> Iterator[None]:
        self._do(self._rt.cudaSetDevice(0))
        yield

    def stream(self) -> Any:
        return self._do(self._rt.cudaStreamCreateWithFlags(self._rt.cudaStreamNonBlocking))

    def handle(self, stream: Any) -> int:
        return int(stream)

    def wait(self, stream: Any) -> None:
        self._do(self._rt.cudaStreamSynchronize(stream))

    def close_stream(self, stream: Any) -> None:
        self._do(self._rt.cudaStreamDestroy(stream))

    def memory(self, size_bytes: int) -> Any:
        return self._do(self._rt.cudaMalloc(max(size_bytes, 1)))

    def free(self, memory: Any) -> None:
        self._do(self._rt.cudaFree(memory))

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        size = max(prod(shape) * np.dtype(dtype).itemsize, 1)
        address = int(self._do(self._rt.cudaHostAlloc(size, self._rt.cudaHostAllocDefault)))
        block = memoryview((ctypes.c_byte * size).from_address(address)).cast("B")
        array: NDArray[Any] = np.frombuffer(block, np.dtype(dtype), prod(shape)).reshape(shape)
        self._pinned[array.ctypes.data] = address
        return array

    def free_pinned(self, array: NDArray[Any]) -> None:
        self._do(self._rt.cudaFreeHost(self._pinned.pop(array.ctypes.data)))

    def copy_in(self, memory: Any, array: NDArray[Any], stream: Any) -> None:
        kind = self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._do(self._rt.cudaMemcpyAsync(memory, array.ctypes.data, array.nbytes, kind, stream))

    def copy_out(self, array: NDArray[Any], memory: Any, stream: Any) -> None:
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._do(self._rt.cudaMemcpyAsync(array.ctypes.data, memory, array.nbytes, kind, stream))

    def event(self) -> Any:
        return self._do(self._rt.cudaEventCreate())

    def close_event(self, event: Any) -> None:
        self._do(self._rt.cudaEventDestroy(event))

    def record(self, event: Any, stream: Any) -> None:
        self._do(self._rt.cudaEventRecord(event, stream))

    def elapsed_ms(self, begin: Any, end: Any) -> float:
        return float(self._do(self._rt.cudaEventElapsedTime(begin, end)))

    def capture(self, work: Callable[[], None], stream: Any) -> Graph | None:
        mode = self._rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal  # other threads' sessions go on
        self._do(self._rt.cudaStreamBeginCapture(stream, mode))
        try:
            work()
        except RuntimeError:
            status, _ = self._rt.cudaStreamEndCapture(stream)
            self._rt.cudaGetLastError()
            return None
        status, graph = self._rt.cudaStreamEndCapture(stream)
        if int(status):
            self._rt.cudaGetLastError()
            return None
        made = self._do(self._rt.cudaGraphInstantiate(graph, 0))
        self._do(self._rt.cudaGraphDestroy(graph))
        return _BindingsGraph(self, made)

    def _do(self, result: tuple[Any, ...]) -> Any:
        """The value of a call; the driver's own words when it failed."""
        status, *values = result
        if int(status):
            raise RuntimeError(f"CUDA: {self._word(status)}")
        return values[0] if values else None

    def _word(self, status: Any) -> str:
        text = self._rt.cudaGetErrorString(status)[1]
        return text.decode() if isinstance(text, bytes) else str(text)


@dataclass(slots=True)
class _BindingsGraph:
    cuda: CudaBindings
    made: Any

    def launch(self, stream: Any) -> None:
        self.cuda._do(self.cuda._rt.cudaGraphLaunch(self.made, stream))

    def close(self) -> None:
        self.cuda._do(self.cuda._rt.cudaGraphExecDestroy(self.made))


class PyCuda:
    """Through pycuda, whose contexts must be pushed in every thread. It has no graphs that one can rely on."""

    name = "pycuda"

    def __init__(self, package: Any) -> None:
        self._driver = import_module(f"{package.__name__}.driver")
        try:
            self._driver.init()
            device = self._driver.Device(0)
        except self._driver.Error as error:
            raise DeviceMismatch(f"no NVIDIA GPU can be used here ({' '.join(str(error).split())})") from error
        self._context = device.retain_primary_context()
        atexit.register(self._context.detach)  # its destructor would give it back as what it is not, and complain
        self.gpu = GpuFound(str(device.name()), ".".join(map(str, device.compute_capability())))

    @contextmanager
    def current(self) -> Iterator[None]:
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def stream(self) -> Any:
        return self._driver.Stream()

    def handle(self, stream: Any) -> int:
        return int(stream.handle)

    def wait(self, stream: Any) -> None:
        stream.synchronize()

    def close_stream(self, stream: Any) -> None:
        """It goes with its last reference."""

    def memory(self, size_bytes: int) -> Any:
        return self._driver.mem_alloc(max(size_bytes, 1))

    def free(self, memory: Any) -> None:
        memory.free()

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        array: NDArray[Any] = self._driver.pagelocked_empty(shape, dtype)
        return array

    def free_pinned(self, array: NDArray[Any]) -> None:
        """It goes with its last reference."""

    def copy_in(self, memory: Any, array: NDArray[Any], stream: Any) -> None:
        self._driver.memcpy_htod_async(memory, array, stream)

    def copy_out(self, array: NDArray[Any], memory: Any, stream: Any) -> None:
        self._driver.memcpy_dtoh_async(array, memory, stream)

    def event(self) -> Any:
        return self._driver.Event()

    def close_event(self, event: Any) -> None:
        """It goes with its last reference."""

    def record(self, event: Any, stream: Any) -> None:
        event.record(stream)

    def elapsed_ms(self, begin: Any, end: Any) -> float:
        return float(begin.time_till(end))

    def capture(self, work: Callable[[], None], stream: Any) -> Graph | None:
        return None
