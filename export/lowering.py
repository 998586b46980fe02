"""What the two lower precisions share: the graph that they start from, its layers by name, and how one is picked."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..devices.errors import BadArtefact, UsageError, need
from .inputs import Feeds
from .loading import first_line
from .precision import WEIGHTED, read_precision

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

MOVES = frozenset(
    {
        *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Split", "Gather", "Resize"),
        *("MaxPool", "Relu", "Clip", "Cast", "Shape", "Constant", "ConstantOfShape", "Expand", "Tile", "Pad"),
    }
)
"""Operators that hand values on as they are: in a lower precision they lose nothing by themselves."""


class Lower(Protocol):
    """A way to a lower precision."""

    layers: Mapping[str, str]
    """Names of the nodes that can be kept in fp32, and what a reader calls them."""
    weighted: frozenset[str]
    """Those of them that are convolutions or matrix products, by which a precision is named."""

    def __call__(self, kept: Collection[str] = ()) -> ModelProto:
        """The network in the lower precision but for the nodes named in `kept`."""
        ...

    def faithful(self, model: ModelProto) -> ModelProto:
        """`model`, what a call gave, as a graph that ONNX Runtime on a CPU computes in that precision."""
        ...


def lower_to(
    precision: str, model: ModelProto, calibration: Sequence[Feeds], work: Path, for_nvidia: bool = False
) -> Lower:
    """The way to `precision` for an fp32 `model`, in int8 so that NVIDIA's engines read it; files lie in `work`.

    Raises UsageError when the model is none in fp32, BadArtefact when the converter cannot take it.
    """
    found = read_precision(model)
    if found.name != "fp32":
        raise UsageError(
            f"--precision {precision}: the source is in {found.name} already; expected one in fp32: the checkpoint, "
            "or the bundle that this was made from"
        )
    folded = fold(model)
    if precision == "fp16":
        from .half import Half

        return Half(folded)
    from .quantise import Quantiser

    return Quantiser(folded, calibration, work, for_nvidia)


def fold(model: ModelProto) -> ModelProto:
    """`model` with batch norms folded into convolutions and constants computed, every node named, open sizes kept.

    A converter looks at one node at a time, so what an engine would fuse must be one node before.
    """
    onnx, ort = need("onnx", "train"), need("onnxruntime", "cpu")
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.log_severity_level = 3
    with tempfile.TemporaryDirectory(prefix="helmsight-") as folder:
        settings.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        try:
            # Constants that are shared get names that say nothing of the layer they belong to.
            ort.InferenceSession(
                model.SerializeToString(),
                settings,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=["ConstantSharing"],
            )
        except Exception as error:  # ONNX Runtime raises a class of its own for each status code
            raise BadArtefact(f"the network does not load in ONNX Runtime ({first_line(error)})") from error
        folded: ModelProto = onnx.load(settings.optimized_model_filepath)
    used = {node.domain for node in folded.graph.node}
    kept = [one for one in folded.opset_import if one.domain in used or one.domain in ("", "ai.onnx")]
    del folded.opset_import[:]
    folded.opset_import.extend(kept)
    del folded.graph.value_info[:]
    for index, node in enumerate(folded.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    return folded


def named(nodes: Iterable[NodeProto]) -> tuple[dict[str, str], frozenset[str]]:
    """`layers` and `weighted` of a `Lower` for which these nodes can be kept."""
    listed = list(nodes)
    return {n.name: label(n) for n in listed}, frozenset(n.name for n in listed if n.op_type in WEIGHTED)


def label(node: NodeProto) -> str:
    """What a reader knows a layer by: its operator and its weights, or else what comes out of it."""
    weighted = node.op_type in WEIGHTED and len(node.input) > 1
    return f"{node.op_type} {node.input[1] if weighted else node.output[0]}"
