"""ONNX files: reading one that a user brings, with everything checked before it is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..devices.errors import BadArtefact, UsageError, need
from ..runtime.bundle import TensorSpec, sha256
from .input_spec import DTYPES, describe_picture, parse_inputs
from .loading import first_line
from .source import Source

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto


def read_onnx(file: Path, inputs: Sequence[str]) -> Source:
    """An `.onnx` file as a source; `inputs` (texts of `--input`) pin the dimensions that it leaves open."""
    model = load_checked(file)
    found = {spec.name: spec for spec in graph_inputs(model)}
    for spec in parse_inputs(inputs):
        if spec.name == "input" and spec.name not in found and len(found) == len(inputs) == 1:
            raise UsageError(f"--input without a name: {file} calls it {next(iter(found))}; put that before the shape")
        if spec.name not in found:
            raise UsageError(f"--input {spec.name}: {file} has no such input; it has {', '.join(found)}")
        if spec.multiple:
            raise UsageError(
                f"--input {spec.name}: the sizes of an ONNX file cannot be left open; leave out /{spec.multiple}"
            )
        _check_pin(found[spec.name], spec)
        found[spec.name] = spec
    for spec in found.values():
        if spec.dtype not in DTYPES:
            raise BadArtefact(f"input {spec.name} of {file} is {spec.dtype}; expected a tensor of {', '.join(DTYPES)}")
        if any(isinstance(d, str) for d in spec.shape):
            example = "x".join(str(d) if isinstance(d, int) else "1" for d in spec.shape)
            raise UsageError(
                f"input {spec.name} of {file} has varying shape {spec.shape}; pin it: --input {spec.name}:{example}"
            )
    provenance = {
        "kind": "onnx",
        "model": file.name,
        "source_sha256": sha256(file),
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
    }
    return Source(name=file.stem, inputs=tuple(found.values()), provenance=provenance, onnx=file)


def load_checked(file: Path) -> ModelProto:
    """Load a whole ONNX model, weights in other files beside it included.

    Raises BadArtefact when it is no ONNX model, breaks ONNX's rules, or keeps data outside its own folder.
    """
    onnx = need("onnx", "train")
    if not file.is_file():
        raise UsageError(f"no ONNX file at {file}; expected the path of one")
    try:
        model: ModelProto = onnx.load(file, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError, or anything it did not expect
        raise BadArtefact(
            f"{file} is no ONNX model or is cut off ({first_line(error)}); export or copy it again"
        ) from error
    if not model.graph.output:
        raise BadArtefact(f"{file} is no ONNX model or is cut off (no outputs); export or copy it again")
    _check_external(model, file)
    try:
        onnx.external_data_helper.load_external_data_for_model(model, str(file.parent))
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # checker, shape inference and file errors share no class
        raise BadArtefact(f"{file} is not valid ONNX ({first_line(error)}); export it again") from error
    return model


def graph_inputs(model: ModelProto) -> tuple[TensorSpec, ...]:
    """The inputs that a caller feeds (initialisers apart); a dimension without a number is a str."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return tuple(_spec(value) for value in model.graph.input if value.name not in stored)


def graph_outputs(model: ModelProto) -> tuple[TensorSpec, ...]:
    """The outputs, as the graph or shape inference knows them."""
    return tuple(_spec(value, picture=False) for value in model.graph.output)


def pin_inputs(model: ModelProto, inputs: Sequence[TensorSpec]) -> ModelProto:
    """Write the fixed shapes of `inputs` into the graph and infer all the others anew."""
    onnx = need("onnx", "train")
    shapes = {spec.name: spec.shape for spec in inputs}
    for value in model.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
            dim.dim_value = size
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred: ModelProto = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # InferenceError, or what the C++ side throws
        shown = ", ".join(f"{s.name} {s.shape}" for s in inputs)
        raise UsageError(
            f"the network does not take {shown} ({first_line(error)}); give --input the shape it was made for"
        ) from error
    return inferred


def _spec(value: ValueInfoProto, picture: bool = True) -> TensorSpec:
    helper = need("onnx", "train").helper
    tensor = value.type.tensor_type
    dtype = str(helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if tensor.elem_type else "unknown"
    shape = tuple(d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in tensor.shape.dim)
    return describe_picture(value.name, shape, dtype) if picture else TensorSpec(value.name, shape, dtype)


def _check_pin(found: TensorSpec, given: TensorSpec) -> None:
    fits = len(found.shape) == len(given.shape) and all(
        isinstance(a, str) or a == b for a, b in zip(found.shape, given.shape, strict=True)
    )
    if not fits:
        raise UsageError(f"--input {given.name} has shape {given.shape}; the file says {found.shape}")
    if given.dtype != found.dtype:
        raise UsageError(f"--input {given.name} is {given.dtype}; the file says {found.dtype}")


def _check_external(model: ModelProto, file: Path) -> None:
    """Refuse data that lies outside the folder of `file`, links included, before anything of it is read."""
    helper = need("onnx", "train").external_data_helper
    folder = file.parent.resolve()
    for tensor in model.graph.initializer:  # onnx itself refuses the rest (attributes, subgraphs) when it loads them
        if not helper.uses_external_data(tensor):
            continue
        location = helper.ExternalDataInfo(tensor).location
        target = (folder / location).resolve()
        if not target.is_relative_to(folder) or Path(location).is_absolute():
            raise BadArtefact(
                f"{file}: tensor {tensor.name} has its data at {location}, outside the model's folder; save one file"
            )
        if not target.is_file():
            raise BadArtefact(f"{file}: tensor {tensor.name} has its data in {location}, which is missing; copy it too")
