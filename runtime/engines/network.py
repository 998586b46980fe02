"""A network in an NVIDIA builder, out of an ONNX file: what its parser refuses, and in which types it computes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...devices.errors import BadArtefact, DeviceMismatch
from . import Library

WEIGHTED = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "EINSUM")
"""Layers whose number and type name a network's precision."""
SHORT = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8", "FP8": "fp8"}

_CASTS = ("CAST", "IDENTITY")
"""8.5 casts with an identity, whose input may be uint8."""
_TYPED = ("CONSTANT", "SHAPE", "QUANTIZE", "DEQUANTIZE", *_CASTS)
"""Layers whose types follow from what they are."""
_PLACE = re.compile(r"\s*In \w+ at /\S+?:\d+\b")
"""Where in NVIDIA's own source a message comes from."""
_NOISE = re.compile(r"^\[?checkMacros|^Invalid Node|^In node|cudaError")
_CORE = re.compile(r"\bError Code \d")
"""In what the library logs beneath its parser, which logs its own errors too, a node's whole text among them."""
_SILENT = "it does not say why"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A network and what must live as long as it does."""

    product: Library
    log: Any
    builder: Any
    network: Any
    parser: Any

    @property
    def strongly_typed(self) -> bool:
        """Whether the builder keeps the types of the graph by itself, as it does from 10.0 on."""
        return _typed_flag(self.product.module) is not None or self.product.release[0] > 10


def parse(library: Library, model: bytes, what: str) -> Parsed:
    """The network in `model`; `what` is how a message calls the file.

    Raises BadArtefact with every node that the parser does not take, DeviceMismatch where a builder needs a GPU.
    """
    trt = library.module
    log = make_log(trt)
    try:
        builder = trt.Builder(log)
    except (TypeError, RuntimeError) as error:  # without a driver its factory gives a null pointer
        raise DeviceMismatch(f"{library} finds no GPU here ({' '.join(str(error).split())})") from error
    network = builder.create_network(_creation_flags(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        refused = [_refusal(parser.get_error(i)) for i in range(parser.num_errors)]
        beneath = [one for one in log.errors if not refused or _CORE.search(one)]
        listed = "; ".join(dict.fromkeys([*refused, *beneath])) or _SILENT
        raise BadArtefact(f"{library} does not take {what}: {listed}")
    return Parsed(library, log, builder, network, parser)


def configure(parsed: Parsed, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """A builder's configuration for inputs of these shapes: no TF32, the graph's own types, layers told in full.

    Raises BadArtefact for an open input that is not among them, DeviceMismatch for one of another size in the file.
    """
    trt, network = parsed.product.module, parsed.network
    config = parsed.builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # it computes in less than the graph's float32
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    own_kernels(trt, config)
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    for one in inputs:
        _check_size(one, shapes)
    if any(-1 in tuple(one.shape) for one in inputs):
        profile = parsed.builder.create_optimization_profile()
        for one in inputs:
            profile.set_shape(one.name, *[shapes[one.name]] * 3)
        config.add_optimization_profile(profile)
    if not parsed.strongly_typed:
        _hold_types(parsed, config)
    return config


def _check_size(found: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    name, shape = found.name, tuple(found.shape)
    if -1 in shape and name not in shapes:
        raise BadArtefact(f"the network's input {name} is open, and is not among {', '.join(shapes)}")
    if -1 not in shape and shape != shapes.get(name, shape):
        was, wanted = ("x".join(map(str, one)) for one in (shape, shapes[name]))
        raise DeviceMismatch(f"the file for this TensorRT has one size, {name} {was}, not {wanted}; leave --imgsz out")


def tensor_types(parsed: Parsed) -> dict[str, str]:
    """The type of every tensor that a layer makes, by name: FLOAT, HALF, INT32, ...

    Before 10.0 a tensor says FLOAT until the network is built, whatever flows into it (seen in 8.5.3): there a half
    comes from a cast to it, and what is computed of halves is one, until the next cast.
    """
    found: dict[str, str] = {}
    for layer in _layers(parsed.network):
        halves = any(found.get(name) == "HALF" for name in _inputs(layer))
        for i in range(layer.num_outputs):
            output = layer.get_output(i)
            said = str(output.dtype).rpartition(".")[2]
            if halves and said == "FLOAT" and not parsed.strongly_typed:  # TensorRT-RTX has no output_type_is_set
                cast = _kind(layer) in _CASTS and layer.output_type_is_set(i)
                said = said if cast else "HALF"
            found[output.name] = said
    return found


def graph_types(parsed: Parsed) -> dict[str, int]:
    """How many convolutions and matrix products the network has in which type, as the graph says."""
    layers, types = _layers(parsed.network), tensor_types(parsed)
    dequantised = {layer.get_output(0).name for layer in layers if _kind(layer) == "DEQUANTIZE"}
    found: Counter[str] = Counter()
    for layer in layers:
        if _kind(layer) in WEIGHTED:
            name = types[layer.get_output(0).name]
            found["int8" if layer.get_input(0).name in dequantised else SHORT.get(name, name.lower())] += 1
    return dict(found)


def name_of(types: Mapping[str, int]) -> str:
    """The precision of a network with such layers: their one type, `mixed`, or `unknown` when there are none."""
    return next(iter(types)) if len(types) == 1 else "mixed" if types else "unknown"


def make_log(trt: Any) -> Any:
    """A logger that prints nothing and keeps what is an error, each once: the last one seldom says the cause."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                said = _PLACE.sub("", " ".join(message.split()))
                if said not in self.errors:
                    self.errors.append(said)

        @property
        def reason(self) -> str:
            """All of them, in order."""
            return "; ".join(self.errors) or _SILENT

    return Log()


def own_kernels(trt: Any, config: Any) -> None:
    """8.5 and 8.6 without cuBLAS's and cuDNN's kernels, as is the rule from 10.0 on.

    An engine then neither needs those libraries where it runs nor differs by whether they were there when it was built.
    """
    feature = getattr(getattr(trt, "PreviewFeature", None), "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805", None)
    if feature is None:
        return
    config.set_preview_feature(feature, True)
    external = (trt.TacticSource.CUBLAS, trt.TacticSource.CUBLAS_LT, trt.TacticSource.CUDNN)
    config.set_tactic_sources(config.get_tactic_sources() & ~sum(1 << int(source) for source in external))


def _creation_flags(trt: Any) -> int:
    """Strong typing where it is a choice; explicit batch where it still is one (8.5)."""
    flags = trt.NetworkDefinitionCreationFlag
    typed = _typed_flag(trt)
    if typed is not None:
        return 1 << int(typed)
    return 1 << int(flags.EXPLICIT_BATCH) if hasattr(flags, "EXPLICIT_BATCH") else 0


def _typed_flag(trt: Any) -> Any:
    return getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)


def _hold_types(parsed: Parsed, config: Any) -> None:
    """8.5 chooses types itself: allow those of the graph, and bind every layer of floats to its own.

    In a quantised graph the pairs of Q and DQ say where int8 is, and nothing but float32 is allowed beside it unless
    the graph has halves. It is not bound further: 8.5.3 fails where a block that it compiles into one "must obey".
    """
    trt, layers, types = parsed.product.module, _layers(parsed.network), tensor_types(parsed)
    if "HALF" in types.values():
        config.set_flag(trt.BuilderFlag.FP16)
    if any(_kind(layer) == "QUANTIZE" for layer in layers):
        config.set_flag(trt.BuilderFlag.INT8)
        return
    bound = {"FLOAT": trt.float32, "HALF": trt.float16}
    for layer in layers:
        own = [types[layer.get_output(i).name] for i in range(layer.num_outputs)]
        if _kind(layer) in _TYPED or not all(name in bound for name in own):
            continue
        layer.precision = bound[own[0]]
        for i, name in enumerate(own):
            layer.set_output_type(i, bound[name])
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)


def _layers(network: Any) -> list[Any]:
    """In an order in which each comes after those that it takes from."""
    return [network.get_layer(i) for i in range(network.num_layers)]


def _kind(layer: Any) -> str:
    return str(layer.type).rpartition(".")[2]


def _inputs(layer: Any) -> list[str]:
    return [one.name for i in range(layer.num_inputs) if (one := layer.get_input(i)) is not None]


def _refusal(error: Any) -> str:
    """One node and why, from the parser's own words; versions before 10 tell its number only."""
    lines = [line.strip() for line in str(error.desc()).splitlines()]
    said = [line for line in lines if line and line != "false" and not _NOISE.search(line)]
    reason = _PLACE.sub("", said[0]) if said else "not supported"
    if not hasattr(error, "node_name"):
        return f"node {error.node()} ({reason})"
    if not error.node_operator():
        return reason
    return f"node {error.node_name()!r} ({error.node_operator()}: {reason})"
