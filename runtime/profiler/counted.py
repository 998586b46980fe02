"""What is counted in a bundle's graph: by its export, and here what an older export did not count."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ...devices.errors import HelmsightError
from ..backends import OnnxRuntimeSettings, SessionOptions, load
from ..backends.layer_times import HasLayers
from ..bundle import Bundle
from ..onnx_nodes import OnnxGraph, read_graph


def graph_of(bundle: Bundle) -> Mapping[str, Any]:
    """What was counted, as `export/graph.py` does it. Empty at a size that nothing was counted at.

    An older export did not count `depthwise` and `peak_bytes`; the latter takes ONNX Runtime, and is not there without.
    """
    graph: dict[str, Any] = dict(bundle.manifest.provenance.get("graph", {}))
    if graph and "depthwise" not in graph:
        graph["depthwise"] = _depthwise(read_graph(bundle.read_model(), str(bundle.model)))
    if graph and "peak_bytes" not in graph and find_spec("onnxruntime"):
        with suppress(HelmsightError):  # a network for another engine: then it stays unknown
            graph["peak_bytes"] = peak_bytes(bundle)
    return graph


def _depthwise(graph: OnnxGraph) -> int:
    """Convolutions whose outputs are of one channel each; of several channels of input, as nearly all have."""
    weights = [graph.weight_of(node) for node in graph.nodes if node.operator == "Conv"]
    return sum(weight is not None and weight.shape[0] > 1 == weight.shape[1] for weight in weights)


def peak_bytes(bundle: Bundle) -> int | None:
    """Bytes of the inputs, intermediate tensors and outputs that live at one time, at the most.

    Nodes run in the file's order and a tensor is freed after its last use, as `export/graph.py` counts it; its size is
    what ONNX Runtime gave it in a run of all nodes as they are. None where it does not tell that of all. Raises what
    `load` raises.
    """
    graph = read_graph(bundle.read_model(), str(bundle.model))
    sizes = _sizes(bundle, graph)
    if sizes is None:
        return None
    last_use = {name: at for at, node in enumerate(graph.nodes) for name in node.inputs}
    last_use |= {spec.name: len(graph.nodes) for spec in bundle.manifest.outputs}
    alive = {spec.name for spec in bundle.manifest.inputs}
    most = sum(sizes[name] for name in alive)
    for at, node in enumerate(graph.nodes):
        alive |= {name for name in node.outputs if name}
        most = max(most, sum(sizes[name] for name in alive))
        alive = {name for name in alive if last_use.get(name, -1) > at}
    return most


def _sizes(bundle: Bundle, graph: OnnxGraph) -> dict[str, int] | None:
    """The bytes of every tensor that is not stored."""
    shapes = {s.name: [d if isinstance(d, int) else 1 for d in s.shape] for s in bundle.manifest.inputs}
    feeds = {s.name: np.zeros(shapes[s.name], s.dtype) for s in bundle.manifest.inputs}
    with TemporaryDirectory(prefix="helmsight-") as folder:
        as_it_is = OnnxRuntimeSettings(optimisation="off")
        with load(bundle, SessionOptions("cpu", 1, settings=as_it_is, layers=Path(folder))) as session:
            session.run(feeds)
            assert isinstance(session, HasLayers)
            ((*layers,),) = (run.layers for run in session.layer_runs())
    made = {layer.name: layer.output_bytes for layer in layers}
    sizes = {name: array.nbytes for name, array in feeds.items()}
    for node in graph.nodes:
        named = [name for name in node.outputs if name]
        if len(made.get(node.name, ())) != len(named):
            return None
        sizes |= dict(zip(named, made[node.name], strict=True))
    return sizes
