"""TensorRT-RTX: an engine built ahead of time for a compute capability, without a GPU.

It is another product than TensorRT, and neither loads the other's engines. What an engine computes in can only be read
back where it runs; the record has the types of the network that the builder was given, which it must keep (strongly
typed).
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ...devices.errors import BadArtefact, DeviceMismatch, need
from ...runtime.bundle import sha256
from ...runtime.engines import tensorrt_rtx
from ...runtime.engines.build import compile_network
from ...runtime.engines.network import Parsed, configure, graph_types, name_of, parse
from ...runtime.engines.source import RTX_ENGINE
from ...runtime.parity import plain_onnx_run
from ..nvidia import at_fixed_size, cast_first
from . import Order, same_network

if TYPE_CHECKING:
    from pathlib import Path


def make(order: Order) -> Mapping[str, Any]:
    """Build the engine for the target's compute capability, at the usual size of its pictures.

    Raises MissingExtra without TensorRT-RTX, BadArtefact with the nodes that it does not take, DeviceMismatch for a GPU
    that it does not build for.
    """
    library = tensorrt_rtx()
    model = need("onnx", "train").load(order.draft.model)
    model = at_fixed_size(cast_first(model), order.draft.manifest.inputs)
    network = model.SerializeToString()
    parsed = parse(library, network, "the network")
    types = graph_types(parsed)
    started = perf_counter()
    engine = order.folder / RTX_ENGINE
    try:
        _build(parsed, order.target.compute_capability, engine)
    except BadArtefact as error:
        step = "; --precision fp16 may do" if "FP32" in str(error) and order.target.precision != "fp16" else ""
        raise BadArtefact(f"{error}{step}") from error
    took = perf_counter() - started
    compared = same_network(order, plain_onnx_run(network, order.draft.manifest.outputs, "the network"))
    order.say(f"{library} built an engine for compute capability {order.target.compute_capability} in {took:.1f} s")
    return {
        "precision": name_of(types),
        "real": {"weighted_ops": types},
        "read_back": "types of the strongly typed network that was built; the engine itself tells them on a GPU only",
        "versions": {library.name: library.version},
        **compared,
        "compared": "the ONNX file that it was built from",
        "compute_capability": order.target.compute_capability,
        "bytes": engine.stat().st_size,
        "sha256": sha256(engine),
        "run": "helmsight camera NAME.bundle --device tensorrt-rtx",
    }


def _build(parsed: Parsed, compute_capability: str, engine: Path) -> None:
    trt, library = parsed.product.module, parsed.product
    known = {name: value for name, value in trt.ComputeCapability.__members__.items() if name.startswith("SM")}
    wanted = f"SM{compute_capability.replace('.', '')}"
    if wanted not in known:
        raise DeviceMismatch(
            f"{library} does not build for compute capability {compute_capability}; it does for {', '.join(known)}"
        )
    config = configure(parsed, {})
    config.num_compute_capabilities = 1
    config.set_compute_capability(known[wanted], 0)
    engine.write_bytes(compile_network(parsed, config))
