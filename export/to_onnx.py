"""A PyTorch network to an ONNX model through `torch.export`, with the opset read back from what was written."""

from __future__ import annotations

import gc
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..devices.errors import BadArtefact, HelmsightError, UsageError, need
from ..runtime.bundle import TensorSpec
from ..runtime.onnx_nodes import MODULE_PATH, SOURCE_LINE
from .loading import code_line, first_line
from .quiet import output_to
from .sizes import dynamic_shapes, example_shape, name_sizes

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

LARGEST_BYTES = 2**31 - 1
"""A protobuf file cannot be larger; such a network would need external data."""

STACK = "pkg.torch.onnx.stack_trace"
"""Where torch writes the lines of code that a node is from, with absolute paths of the machine."""


def to_onnx(
    module: nn.Module,
    inputs: Sequence[TensorSpec],
    output_names: Sequence[str],
    opset: int,
    log: Path | None = None,
) -> ModelProto:
    """Convert `module` for inputs of these shapes; what torch prints goes to `log`, or to the screen for None.

    Height and width of an input with a `multiple` stay open.

    Raises BadArtefact when an operator has no ONNX form, the control flow or a size depends on the data, or the
    result is not valid ONNX; UsageError when torch writes another opset than asked for.
    """
    onnx = need("onnx", "train")
    need("onnxscript", "train")
    size = sum(p.numel() * p.element_size() for p in (*module.parameters(), *module.buffers()))
    if size > LARGEST_BYTES:
        raise BadArtefact(f"the network has {size / 2**30:.1f} GiB of weights; one ONNX file holds at most 2 GiB")
    with output_to(log), _no_collection():
        program = _trace(module, inputs)
        model = _convert(program, inputs, output_names, opset)
    _check_opset(model, opset)
    _keep_only_places(model)
    _reshape_strides(model)
    name_sizes(model, inputs)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # checker and shape inference errors share no class
        raise BadArtefact(f"torch wrote ONNX that is not valid ({first_line(error)})") from error
    return model


@contextmanager
def _no_collection() -> Iterator[None]:
    """torch makes millions of small objects while it traces, and looking through them again and again frees nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_opset(model: ModelProto) -> int:
    """The version of ONNX's own operator set that the model asks for."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def _trace(module: nn.Module, inputs: Sequence[TensorSpec]) -> Any:
    torch = need("torch", "train")
    example = tuple(torch.zeros(example_shape(spec), dtype=getattr(torch, spec.dtype)) for spec in inputs)
    try:
        with torch.no_grad():
            return torch.export.export(module, example, dynamic_shapes=dynamic_shapes(inputs), strict=False)
    except HelmsightError:
        raise
    except Exception as error:  # torch's tracer raises many classes, all for the user's code
        traceback.print_exc()
        where = code_line(str(error)) or code_line(error)
        if "Constraints violated" in str(error):
            multiple = max(spec.multiple for spec in inputs)
            raise BadArtefact(
                f"the network does not take every size of multiples of {multiple}{where}; give it an input whose own "
                "sides are such, mend what holds it to one size, or export it for that size only"
            ) from error
        if "data-dependent" in str(error).lower():
            raise BadArtefact(
                f"the control flow or a size depends on the data{where}, which ONNX cannot hold as it stands; "
                f"use torch.where or torch.cond"
            ) from error
        raise BadArtefact(f"torch.export cannot trace the network ({first_line(error)}){where}") from error


def _convert(program: Any, inputs: Sequence[TensorSpec], output_names: Sequence[str], opset: int) -> ModelProto:
    torch = need("torch", "train")
    names = [spec.name for spec in inputs]
    try:
        made = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            input_names=names,
            output_names=list(output_names),
            external_data=False,
            verbose=False,
        )
        model: ModelProto = made.model_proto
        return model
    except HelmsightError:
        raise
    except Exception as error:  # torch.onnx.OnnxExporterError, or what escapes it
        traceback.print_exc()
        operator = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", str(error))
        if operator:
            where = _module_of(program, operator[1])
            raise BadArtefact(
                f"operator {operator[1]}{where} has no ONNX form; write it with other operators"
            ) from error
        raise BadArtefact(f"torch.onnx cannot convert the network ({first_line(error)})") from error


def _module_of(program: Any, operator: str) -> str:
    """Where `operator` (named as after decomposition) comes from: ` in blocks.0 (Inner) at FILE:LINE`."""
    name = operator.rpartition(".")[2]
    for node in program.graph.nodes:
        own = str(node.target).split(".")[1:2] or [name]  # aten.linalg_inv.default may become aten.linalg_inv_ex
        if node.op == "call_function" and (name in str(node.target) or name.startswith(f"{own[0]}_")):
            stack = list(node.meta.get("nn_module_stack", {}).values())
            path, kind = stack[-1] if stack else ("", "")
            kind = kind if isinstance(kind, str) else kind.__name__
            inside = f" in {path or 'the top module'} ({kind.rpartition('.')[2]})" if stack else ""
            return inside + code_line(node.meta.get("stack_trace") or "")
    return ""


def _check_opset(model: ModelProto, opset: int) -> None:
    found = read_opset(model)
    if found != opset:
        version = need("torch", "train").__version__
        raise UsageError(f"--opset {opset}: torch {version} wrote opset {found} instead; use --opset {found}")


def _reshape_strides(model: ModelProto) -> None:
    """Write a `Gather` of all values in their order as the `Reshape` that it is.

    torch pools a picture whose channels are last into `as_strided`, which becomes such a one; few engines have it.
    """
    onnx = need("onnx", "train")
    graph = model.graph
    stored = {t.name: t for t in graph.initializer}
    sizes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
    for node in graph.node:
        if node.op_type != "Gather" or node.input[1] not in stored:
            continue
        order = onnx.numpy_helper.to_array(stored[node.input[1]])
        if sizes.get(node.input[0]) != [order.size] or (order.ravel() != range(order.size)).any():
            continue
        shape = onnx.helper.make_tensor(f"{node.output[0]}_shape", onnx.TensorProto.INT64, [order.ndim], order.shape)
        graph.initializer.append(shape)
        node.input[1] = shape.name
        node.op_type = "Reshape"
        del node.attribute[:]


def _keep_only_places(model: ModelProto) -> None:
    """Of what torch tells of a node the path of its module and the line of the user's code stay."""
    for graph in (model.graph, *model.functions):
        for node in graph.node:
            told = {p.key: p.value for p in node.metadata_props}
            del node.metadata_props[:]
            line = code_line(told.get(STACK, "")).removeprefix(" at ").partition(" ")[0]
            for key, value in ((MODULE_PATH, told.get(MODULE_PATH)), (SOURCE_LINE, line)):
                if value:
                    node.metadata_props.add(key=key, value=value)
            node.doc_string = ""
        for item in (graph, *graph.value_info):
            del item.metadata_props[:]
    for tensors in (model.graph.input, model.graph.output, model.graph.initializer):
        for tensor in tensors:
            del tensor.metadata_props[:]
