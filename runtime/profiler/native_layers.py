"""The layers of a network in ncnn: what `helmsight-run --layers` told of them, and which nodes of ONNX they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

from ..backends.layer_times import EngineRun, LayerEvent, Span
from ..json_form import NUMBER, Fields, Rows
from ..limits import RANK
from ..onnx_nodes import WEIGHTED, OnnxGraph
from .layer_profile import LayerProfile
from .layers import WARM_UP, LayerRuns, Timeline, summarise
from .rates import Rates

PROFILER = "a clock around each of ncnn's layers"
_SHAPES = Rows(Rows(int, most=RANK))
FORM = Fields(
    {
        "layers": Rows(Fields({"name": str, "type": str, "inputs": _SHAPES, "outputs": _SHAPES}), 1),
        "runs": Rows(Fields({"begin_ns": int, "end_ns": int, "calls": Rows(Rows(int, 3, 3), 1)}), WARM_UP + 1),
        "speed": Fields({"gflops": NUMBER, "gb_s": NUMBER}),
        "seconds": NUMBER,
    }
)
_LARGEST = 1e15
_FLOAT_BYTES = 4
_STORED = {
    **dict.fromkeys(("Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise"), "6"),
    **dict.fromkeys(("Convolution1D", "Convolution3D", "Deconvolution1D", "Deconvolution3D"), "6"),
    "InnerProduct": "2",
}
"""ncnn's layers of a stored weight, and the parameter that has how many values it has (ncnn's operator parameters)."""


def check_layers(said: Mapping[str, Any]) -> None:
    """Raises ValueError for what no run can have told, `said` being of `FORM`."""
    figures = [said["seconds"], said["speed"]["gflops"], said["speed"]["gb_s"]]
    for run in said["runs"]:
        figures += (run["begin_ns"], run["end_ns"] - run["begin_ns"])
        for number, begin, end in run["calls"]:
            if not 0 <= number < len(said["layers"]):
                raise ValueError(f"it timed layer {number} of {len(said['layers'])}")
            figures += (begin, end - begin)
    figures += [side for one in said["layers"] for shape in one["inputs"] + one["outputs"] for side in shape]
    for value in (min(figures), max(figures)):
        if not 0 <= value <= _LARGEST:
            raise ValueError(f"its layers have a figure of {value:g}; expected 0 to {_LARGEST:g}")


def layers_in(said: Mapping[str, Any], threads: int, graph: OnnxGraph) -> tuple[LayerProfile, Timeline]:
    """The layers in what passed `check_layers`, those of the first runs left out; `graph` is of `named_by_ncnn`.

    The program computes in fp32 alone, and has measured what its processor could do at the most.
    """
    runs = [
        EngineRun(
            _span(run["begin_ns"], run["end_ns"]),
            tuple(_event(number, said["layers"][number], _span(begin, end)) for number, begin, end in run["calls"]),
        )
        for run in said["runs"][WARM_UP:]
    ]
    counted = f"{threads} thread{'s' * (threads != 1)}"
    origin = f"measured on that machine with {counted}, by ncnn's matrix product and a copy"
    timed = LayerRuns([{"inference": run.span} for run in runs], runs)
    return summarise(graph, timed, PROFILER, Rates(said["speed"]["gflops"], said["speed"]["gb_s"], origin))


def named_by_ncnn(graph: OnnxGraph, param: str, stored: bytes) -> OnnxGraph:
    """`graph` with its weighted nodes alone, under the names of their layers in ncnn's `param`; none if it is not sure.

    pnnx keeps no names. Nodes and layers with a stored weight are paired in their order, if there are as many of them
    and with as many values, and if most weights are in `stored`, ncnn's file, bit for bit (into others pnnx folded a
    normalisation), and in that order.
    """
    layers = list(_weighted(param))
    nodes = [node for node in graph.nodes if node.operator in WEIGHTED and graph.weight_of(node)]
    weights = [weight for node in nodes if (weight := graph.weight_of(node))]
    if [layer.values for layer in layers] != [prod(weight.shape) for weight in weights]:
        return OnnxGraph((), {})
    places = [(stored.find(weight.data), stored.rfind(weight.data)) for weight in weights if weight.data]
    found = [first for first, _ in places if first >= 0]
    once = [first for first, last in places if first == last >= 0]  # a weight that several nodes share is there often
    if 2 * len(found) < len(nodes) or once != sorted(once):
        return OnnxGraph((), {})
    named = (replace(node, name=layer.name) for node, layer in zip(nodes, layers, strict=True))
    return OnnxGraph(tuple(named), graph.weights)


class _Layer(NamedTuple):
    name: str
    values: int


def _weighted(param: str) -> Iterator[_Layer]:
    """The layers of a `.param` that have a stored weight, in its order, which is that of the weights' file."""
    for line in param.splitlines()[2:]:
        words = line.split()
        if len(words) > 4 and words[0] in _STORED:
            settings = dict(word.split("=", 1) for word in words[4:] if "=" in word)
            values = settings.get(_STORED[words[0]], "")
            yield _Layer(words[1], int(values) if values.isdigit() else 0)


def _span(begin_ns: int, end_ns: int) -> Span:
    return Span(begin_ns / 1e3, (end_ns - begin_ns) / 1e3)


def _event(number: int, layer: Mapping[str, Any], span: Span) -> LayerEvent:
    # ncnn's tensors lack the batch of one.
    inputs, outputs = (tuple((1, *shape) for shape in layer[key]) for key in ("inputs", "outputs"))
    return LayerEvent(
        key=f"{number} {layer['name']}",
        name=layer["name"],
        operator=layer["type"],
        span=span,
        inputs=inputs,
        outputs=outputs,
        activation_bytes=_FLOAT_BYTES * sum(map(prod, (*inputs, *outputs))),
    )
