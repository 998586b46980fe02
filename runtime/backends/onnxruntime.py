"""ONNX Runtime on the CPU or through CUDA."""

from __future__ import annotations

import logging
import platform
import re
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import BadArtefact, DeviceMismatch, need, reason_of
from ...devices.processor import processor
from ..bundle import SIZE_NAMES, Bundle
from ..manifest import DTYPE_BYTES
from . import Feeds, OnnxRuntimeSettings, Outputs, SessionOptions
from ._tensors import Found, check_shapes, check_tensors
from .layer_times import EngineRun, read_onnxruntime

_GPU_FAULT = re.compile(r"\b(CUDA|CUDNN|CUBLAS|cu[A-Z]\w+) ?(failure|error|_?STATUS)|out of memory", re.IGNORECASE)
"""What ONNX Runtime says of a GPU, its memory or its libraries that failed, and of no file."""
log = logging.getLogger(__name__)

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "off": "ORT_DISABLE_ALL",
}
"""How far a graph is optimised, and ONNX Runtime's names."""
TENSOR_TYPES = {f"tensor({name})": name for name in DTYPE_BYTES} | {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
}
"""ONNX Runtime's names of types, and numpy's."""


def load(bundle: Bundle, options: SessionOptions) -> OnnxRuntimeSession:
    """Load `bundle`; see `backends.load` for the errors."""
    return OnnxRuntimeSession(bundle, options)


class OnnxRuntimeSession:
    """A network in ONNX Runtime.

    Its thread pool has as many threads as the process may use: ONNX Runtime itself ignores affinity masks and CPU
    quotas. Its threads do not spin while they wait, so that a camera and another network beside it keep their cores.
    """

    layer_profiler = "ONNX Runtime's profiler"

    def __init__(self, bundle: Bundle, options: SessionOptions) -> None:
        ort = need("onnxruntime", "cpu" if options.device == "cpu" else "gpu")
        wanted = PROVIDERS[options.device]
        available = ort.get_available_providers()
        if wanted not in available and not options.allow_fallback:
            raise DeviceMismatch(
                f"ONNX Runtime here has {', '.join(available)}, not {wanted}; "
                "install helmsight[gpu] or use --device cpu"
            )
        settings = session_settings(ort, bundle, options)
        if options.layers:
            settings.enable_profiling = True
            settings.profile_file_prefix = str(options.layers / "layers")
        providers = _providers(wanted, available)
        if wanted != PROVIDERS["cpu"]:
            _preload(ort)
            if not options.allow_fallback:
                settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        self._session: Any = _open(ort, bundle, bundle.read_model(), settings, providers)
        # Else a run in which CUDA's provider fails is tried again on the CPU, unasked. For that alone, and for
        # `set_providers`, which helmsight does not call, ONNX Runtime keeps the whole model once more.
        self._session.disable_fallback()
        self._session._model_bytes = None
        real = self._session.get_providers()[0]
        if real != wanted and not options.allow_fallback:
            raise DeviceMismatch(
                f"asked for {wanted}, ONNX Runtime runs on {real}; "
                "mend the CUDA installation, or accept it with --allow-fallback"
            )
        if real != wanted:
            log.warning("%s runs on %s in place of %s, as --allow-fallback allows", bundle.path, real, wanted)
        if bundle.manifest.for_bf16:
            log.warning(
                "%s was exported for bf16, and ONNX Runtime runs it in fp32; add --device openvino", bundle.path
            )
        self.inputs = bundle.manifest.inputs
        self.outputs = check_tensors(bundle, _found(self._session.get_inputs()), _found(self._session.get_outputs()))
        self.device = {v: k for k, v in PROVIDERS.items()}.get(real, real)
        self.precision = _precision(bundle, self.device)
        self._bundle = bundle
        self._binds = options.settings.io_binding
        self._names = [o.name for o in self.outputs]

    def run(self, feeds: Feeds) -> Outputs:
        if self._session is None:
            raise RuntimeError("this session is closed")
        try:
            values = self._bound(feeds) if self._binds else self._session.run(self._names, dict(feeds))
        except Exception as error:  # a class of its own for each status code, as below
            if self.device == "cuda" and _GPU_FAULT.search(str(error)):
                raise DeviceMismatch(
                    f"the GPU failed while it ran {self._bundle.path}: {reason_of(error)}; look at its memory and "
                    "driver (helmsight doctor), or use --device cpu"
                ) from error
            raise BadArtefact(
                f"{self._bundle.path} does not run as its manifest says: {reason_of(error)}; export it again"
            ) from error
        made: Outputs = dict(zip(self._names, values, strict=True))
        check_shapes(self._bundle, self.outputs, made)
        return made

    def _bound(self, feeds: Feeds) -> list[NDArray[Any]]:
        binding = self._session.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        for name in self._names:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        values: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
        return values

    def layer_runs(self) -> tuple[EngineRun, ...]:
        """See `HasLayers`."""
        return read_onnxruntime(Path(self._session.end_profiling()))

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> OnnxRuntimeSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_network(bundle: Bundle, model: bytes) -> None:
    """Raises BadArtefact where ONNX Runtime does not take `model`, for engines whose parsers mind broken files less."""
    ort = need("onnxruntime", "cpu")
    settings = session_settings(
        ort, bundle, SessionOptions(threads=1, settings=OnnxRuntimeSettings(optimisation="off"))
    )
    _open(ort, bundle, model, settings, [(PROVIDERS["cpu"], {})])


def _open(ort: Any, bundle: Bundle, model: bytes, settings: Any, providers: list[tuple[str, Any]]) -> Any:
    try:
        return ort.InferenceSession(model, settings, providers=providers)
    except Exception as error:  # ONNX Runtime raises a class of its own for each status code
        if PROVIDERS["cuda"] in dict(providers) and _GPU_FAULT.search(str(error)):
            raise DeviceMismatch(
                f"{bundle.model} cannot be loaded on the GPU: {reason_of(error)}; look at its memory and driver "
                "(helmsight doctor), or use --device cpu"
            ) from error
        raise BadArtefact(f"{bundle.model} does not load in ONNX Runtime: {reason_of(error)}") from error


def chosen_optimisation(bundle: Bundle) -> str:
    """The level that its export measured to be fastest, `all` where it measured none. Raises BadArtefact."""
    level = str(bundle.manifest.parity.get("cpu", {}).get("optimisation", "all"))
    if level not in LEVELS:
        raise BadArtefact(
            f"{bundle.path}: parity.cpu.optimisation is {level[:20]!r}; expected one of {', '.join(LEVELS)}; "
            "export it again"
        )
    return level


def session_settings(ort: Any, bundle: Bundle, options: SessionOptions) -> Any:
    """ONNX Runtime's own options for `bundle`: threads that do not spin, and the chosen size of its picture."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads or processor().usable_cores
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    wanted = options.settings
    level = wanted.optimisation or chosen_optimisation(bundle)
    settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, LEVELS[level])
    settings.enable_cpu_mem_arena = wanted.arena
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(wanted.spinning)))
    for spec in bundle.manifest.inputs:
        # Fixed before the graph is optimised, so that a size chosen at load costs no more than one in the file.
        for name, side in zip(SIZE_NAMES, spec.image_hw if spec.multiple else (), strict=False):
            settings.add_free_dimension_override_by_name(name, side)
    return settings


def _preload(ort: Any) -> None:
    """Load CUDA and cuDNN out of the packages that pip brought, where no loader looks for them (1.21 and later).

    What is not among them it prints, and the session says so again; standard output is for records.
    """
    if hasattr(ort, "preload_dlls"):
        with redirect_stdout(sys.stderr):
            ort.preload_dlls()


def _found(values: Iterable[Any]) -> list[Found]:
    """Inputs or outputs as ONNX Runtime has them."""
    return [Found(one.name, TENSOR_TYPES.get(one.type, one.type), tuple(one.shape)) for one in values]


def _precision(bundle: Bundle, device: str) -> str:
    """What it computes in: on a CPU, what export saw ONNX Runtime do there; elsewhere it keeps the file's types.

    Only some Arm CPUs have kernels for fp16, so what another kind of processor does with such a file is not known.
    """
    parity = bundle.manifest.parity.get("cpu", {})
    stored, computed = str(parity.get("precision", "unknown")), parity.get("computed", {})
    if device != "cpu" or not computed:
        return stored
    if "fp16" in parity.get("real", {}).get("weighted_ops", {}) and computed["machine"] != platform.machine():
        return "unknown"
    return str(computed["precision"])


def _providers(wanted: str, available: list[str]) -> list[tuple[str, Any]]:
    """`wanted`, if it is there, and the CPU. TF32 is off: it computes in less than the graph's float32."""
    settings = {PROVIDERS["cuda"]: {"use_tf32": "0"}}
    return [(p, settings.get(p, {})) for p in dict.fromkeys((wanted, PROVIDERS["cpu"])) if p in available]
