"""OpenVINO on the CPU, in the precision that was asked for: left alone it takes bfloat16 where the processor has it."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from types import ModuleType, TracebackType
from typing import Any, cast

import numpy as np

from ...devices.errors import BadArtefact, DeviceMismatch, need, reason_of
from ...devices.processor import processor
from ..bundle import Bundle
from ..engines.network import name_of
from . import Feeds, Outputs, SessionOptions
from ._tensors import Found, check_feeds, check_shapes, check_tensors
from .onnxruntime import check_network

log = logging.getLogger(__name__)

HINTS = {"fp32": "f32", "bf16": "bf16"}
"""What it is asked to compute the file's floats in."""
TYPES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "u8": "int8", "i8": "int8"}
"""OpenVINO's names of what a layer computes in, and ours."""
WEIGHTED = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul", "LSTMCell", "LSTMSequence"})
"""Layers, as it calls them, whose type names a network's precision."""


def load(bundle: Bundle, options: SessionOptions) -> OpenVinoSession:
    """Load `bundle`; see `backends.load` for the errors."""
    return OpenVinoSession(bundle, options)


def find_openvino() -> ModuleType:
    """The package, imported so that it reports nothing: by itself it tells its makers of each import.

    Without `openvino_telemetry` it takes a stub of its own, which sends nothing and leaves no file in the home folder.
    """
    sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))  # None: importing it fails
    return need("openvino", "openvino")


class OpenVinoSession:
    """A network in OpenVINO.

    It has as many threads as the process may use, tied to no core, so that a camera and another network beside it
    keep theirs. `precision` is what its convolutions and matrix products compute in, read back from the compiled
    network.
    """

    def __init__(self, bundle: Bundle, options: SessionOptions) -> None:
        ov = find_openvino()
        asked = "bf16" if bundle.manifest.for_bf16 else "fp32"  # int8 where the file says so
        threads = options.threads or processor().usable_cores
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[asked],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        model = bundle.read_model()
        check_network(bundle, model)  # OpenVINO's own parser goes round for ever in some broken files
        try:
            network = ov.Core().read_model(model)
            # Fixed before the graph is optimised, so that a size chosen at load costs no more than one in the file.
            network.reshape({spec.name: list(spec.shape) for spec in bundle.manifest.inputs if spec.multiple})
            self._compiled: Any = ov.Core().compile_model(network, "CPU", settings)
            self._request: Any = self._compiled.create_infer_request()
        except Exception as error:  # RuntimeError, and what its bindings raise
            raise BadArtefact(f"{bundle.model} does not load in OpenVINO: {reason_of(error)}") from error
        self.layer_types = read_layers(self._compiled)
        if off := _refusal(self._compiled, asked, threads, self.layer_types):
            if asked == "fp32" or not options.allow_fallback:
                raise DeviceMismatch(f"{bundle.path}: {off}; use --device cpu")
            log.warning("%s: %s, as --allow-fallback allows", bundle.path, off)
        self.inputs = bundle.manifest.inputs
        stated = {spec.name for spec in (*bundle.manifest.inputs, *bundle.manifest.outputs)}
        self.outputs = check_tensors(
            bundle, _found(self._compiled.inputs, stated), _found(self._compiled.outputs, stated)
        )
        self.device = "openvino"
        self.precision = name_of(self.layer_types)
        self._bundle = bundle
        self._ports = {spec.name: self._compiled.output(spec.name) for spec in self.outputs}

    def run(self, feeds: Feeds) -> Outputs:
        if self._request is None:
            raise RuntimeError("this session is closed")
        check_feeds(self._bundle, self.inputs, feeds)
        try:
            values = self._request.infer(dict(feeds), share_inputs=True)
        except Exception as error:  # RuntimeError, and what its bindings raise
            raise BadArtefact(
                f"{self._bundle.path} does not run as its manifest says: {reason_of(error)}; export it again"
            ) from error
        made: Outputs = {name: values[port] for name, port in self._ports.items()}
        check_shapes(self._bundle, self.outputs, made)
        return made

    def close(self) -> None:
        self._request = self._compiled = None
        self._ports = {}

    def __enter__(self) -> OpenVinoSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_layers(compiled: Any) -> dict[str, int]:
    """How many convolutions and matrix products compute in which type, by the graph that OpenVINO made and runs."""
    found: Counter[str] = Counter()
    for layer in compiled.get_runtime_model().get_ops():
        facts = layer.get_rt_info()
        if "layerType" in facts and str(facts["layerType"].astype(str)) in WEIGHTED:
            kind = str(facts["runtimePrecision"].astype(str))
            found[TYPES.get(kind, kind)] += 1
    return dict(found)


def _refusal(compiled: Any, asked: str, threads: int, layers: Mapping[str, int]) -> str:
    """In what the compiled network is not as it was asked for, "" when it is."""
    used = int(compiled.get_property("INFERENCE_NUM_THREADS"))
    if used > threads:
        return f"OpenVINO takes {used} threads, asked for {threads}"
    if others := sorted(layers.keys() - {asked, "int8", "fp32"}):
        return f"OpenVINO computes in {', '.join(others)}, asked for {asked}"
    if asked == "bf16" and asked not in layers:
        return f"OpenVINO computes in {name_of(layers)} on this processor, which was asked for {asked}"
    return ""


def _found(ports: Iterable[Any], stated: Collection[str]) -> list[Found]:
    """Inputs or outputs as OpenVINO has them: of the names of a tensor, the one that the manifest states."""
    found = []
    for port in ports:
        name = next((name for name in sorted(port.names) if name in stated), port.any_name)
        shape = tuple(d.get_length() if d.is_static else str(d) for d in port.partial_shape)
        found.append(Found(name, str(np.dtype(port.element_type.to_dtype())), shape))
    return found
