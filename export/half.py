"""fp16: the whole graph in float16 between a cast at the inputs and one at the outputs, by ONNX Runtime's converter."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ..devices.errors import BadArtefact, need
from .loading import first_line
from .lowering import MOVES, named
from .precision import tensor_types

if TYPE_CHECKING:
    from onnx import ModelProto


class Half:
    """A `Lower` (see lowering.py) to float16.

    What the converter itself leaves in fp32, because engines have no float16 kernels for it (Min, Max, TopK, ...),
    stays so.
    """

    def __init__(self, model: ModelProto) -> None:
        need("onnxruntime", "cpu")
        from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST

        self._model = model
        types = tensor_types(need("onnx", "train").shape_inference.infer_shapes(model))
        passed = MOVES | set(DEFAULT_OP_BLOCK_LIST)
        self.layers: Mapping[str, str]
        self.layers, self.weighted = named(
            node
            for node in model.graph.node
            if node.op_type not in passed and any(types.get(name) == "float32" for name in node.output)
        )

    def __call__(self, kept: Collection[str] = ()) -> ModelProto:
        onnx = need("onnx", "train")
        from onnxruntime.quantization.onnx_model import ONNXModel
        from onnxruntime.transformers.float16 import convert_float_to_float16

        source = type(self._model)()
        source.CopyFrom(self._model)
        try:
            made = ONNXModel(convert_float_to_float16(source, keep_io_types=True, node_block_list=list(kept)))
            _join_kept(made)
            made.topological_sort()  # the converter appends its casts at the end
            model: ModelProto = made.model
            onnx.checker.check_model(model, full_check=True)
        except Exception as error:  # the converter and the checker share no class
            raise BadArtefact(f"the network cannot be had in fp16 ({first_line(error)})") from error
        return model

    def faithful(self, model: ModelProto) -> ModelProto:
        """`model` with two Identities behind every float16 value: run with optimisations off, each value is rounded.

        By itself ONNX Runtime computes float16 nodes in fp32 on most CPUs and takes the casts between two of them
        away, so that only the weights would be of float16; it does the same with one node between two casts, and not
        with two. Sums are in fp32, as in the tensor cores of a GPU.
        """
        helper = need("onnx", "train").helper
        types = tensor_types(need("onnx", "train").shape_inference.infer_shapes(model))
        faithful = type(model)()
        faithful.CopyFrom(model)
        del faithful.graph.node[:], faithful.graph.value_info[:]
        for node in model.graph.node:
            at = faithful.graph.node.add()
            at.CopyFrom(node)
            for i, name in enumerate(node.output):
                if types.get(name) == "float16":
                    at.output[i] = f"{name}_exact"
                    faithful.graph.node.append(helper.make_node("Identity", [at.output[i]], [f"{name}_rounded"]))
                    faithful.graph.node.append(helper.make_node("Identity", [f"{name}_rounded"], [name]))
        return faithful


def _join_kept(made: Any) -> None:
    """Let values go from one kept node to the next in fp32: the converter casts them to float16 and back between."""
    makes = {node.output[0]: node for node in made.nodes() if node.name.endswith("_cast_to_fp16_node")}
    for node in [node for node in made.nodes() if node.name.endswith("_cast_to_fp32_node")]:
        if before := makes.get(node.input[0]):
            made.replace_input_of_all_nodes(node.output[0], before.input[0])
            made.remove_node(node)
    used = {name for node in made.nodes() for name in node.input} | {value.name for value in made.graph().output}
    made.remove_nodes([node for name, node in makes.items() if name not in used])
