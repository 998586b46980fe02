"""A network up to one of its nodes, to find the one that ncnn computes otherwise when a gate has failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..devices.errors import need
from ..runtime.bundle import Bundle, TensorSpec, write_bundle

if TYPE_CHECKING:
    from onnx import ModelProto

MOVES = {"Cast", "Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"}
"""Operators that only move values: the head of the network is made of them, and is not in ncnn's files."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """The float32 values that a network computes of its input, in that order, and the network up to each of them."""

    bundle: Bundle
    model: ModelProto
    ends: Sequence[TensorSpec]

    def write(self, index: int, folder: Path) -> Bundle:
        """A bundle in `folder` whose only output is `ends[index]`."""
        onnx = need("onnx", "train")
        end = self.ends[index]
        inputs = [value.name for value in self.model.graph.input]
        cut = onnx.utils.Extractor(self.model).extract_model(inputs, [end.name])
        manifest = replace(self.bundle.manifest, task="", decoding={}, outputs=(end,))
        return write_bundle(folder / f"{index}.bundle", manifest, {"model.onnx": cut.SerializeToString()})


def prefixes(bundle: Bundle) -> Prefixes:
    """Those of a bundle's network."""
    onnx = need("onnx", "train")
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(bundle.read_model()), data_prop=True)
    return Prefixes(bundle, model, tuple(_computed(model)))


def _computed(model: ModelProto) -> Iterator[TensorSpec]:
    graph = model.graph
    types = {value.name: value.type.tensor_type for value in (*graph.value_info, *graph.output)}
    reached = {value.name for value in graph.input}
    for node in graph.node:
        if reached.isdisjoint(node.input):
            continue
        reached |= set(node.output)
        name = node.output[0]
        if name not in types or types[name].elem_type != 1 or node.op_type in MOVES:
            continue
        shape = tuple(int(dim.dim_value) for dim in types[name].shape.dim)
        if shape and min(shape) > 0:
            yield TensorSpec(name, shape, "float32")
