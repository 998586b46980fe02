"""ONNX files: reading one that a user brings, with everything checked before it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..devices.errors import BadArtefact, UsageError, need
from ..runtime.bundle import TensorSpec
from ..runtime.bundle import sha256 as sha256_of
from ..runtime.limits import MODEL_BYTES, PATH
from ..runtime.onnx_bounds import External, check_onnx, refuse_external, shown
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
        "source_sha256": sha256_of(file),
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
    }
    return Source(name=file.stem, inputs=tuple(found.values()), provenance=provenance, onnx=file)


def load_checked(file: Path, sha256: str = "") -> ModelProto:
    """Load a whole ONNX model: weights in other files beside it too, or, where its `sha256` is known, none of those.

    Raises BadArtefact when it is no ONNX model, is beyond `runtime/limits.py`, breaks ONNX's rules, keeps data outside
    its own folder, or has another hash.
    """
    onnx = need("onnx", "train")
    if not file.is_file():
        raise UsageError(f"no ONNX file at {file}; expected the path of one")
    data = _read(file)
    if sha256:
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BadArtefact(f"{file} was changed after it was checked; export or copy the bundle again")
        refuse_external(data, str(file))
    _check_external(check_onnx(data, str(file)), file)
    try:
        model: ModelProto = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's DecodeError, or anything it did not expect
        raise BadArtefact(
            f"{file} is no ONNX model or is cut off ({first_line(error)}); export or copy it again"
        ) from error
    if not model.graph.output:
        raise BadArtefact(f"{file} is no ONNX model or is cut off (no outputs); export or copy it again")
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
    # Some exporters write 0 or -1 for a dimension that varies.
    shape = tuple(d.dim_value if d.dim_value > 0 else (d.dim_param or "?") for d in tensor.shape.dim)
    return describe_picture(value.name, shape, dtype) if picture else TensorSpec(value.name, shape, dtype)


def _check_pin(found: TensorSpec, given: TensorSpec) -> None:
    fits = len(found.shape) == len(given.shape) and all(
        isinstance(a, str) or a == b for a, b in zip(found.shape, given.shape, strict=True)
    )
    if not fits:
        raise UsageError(f"--input {given.name} has shape {given.shape}; the file says {found.shape}")
    if given.dtype != found.dtype:
        raise UsageError(f"--input {given.name} is {given.dtype}; the file says {found.dtype}")


def _read(file: Path) -> bytes:
    size = file.stat().st_size
    if size > MODEL_BYTES:
        raise BadArtefact(f"{file} has {size} bytes; at most {MODEL_BYTES} are read, as protobuf allows no more")
    return file.read_bytes()


def _check_external(elsewhere: Sequence[External], file: Path) -> None:
    """Refuse data that lies outside the folder of `file`, links included, before anything of it is read."""
    folder = file.parent.resolve()
    sizes: dict[str, int] = {}
    for one in elsewhere:
        where = f"{file}: tensor {one.tensor} has its data"
        if not one.location or not one.location.isprintable() or len(one.location.encode()) > PATH:
            raise BadArtefact(f"{where} at {shown(one.location)!r}, which is no name of a file; save one file")
        target = (folder / one.location).resolve()
        if not target.is_relative_to(folder) or Path(one.location).is_absolute():
            raise BadArtefact(f"{where} at {one.location}, outside the model's folder; save one file")
        if not target.is_file():
            raise BadArtefact(f"{where} in {one.location}, which is missing; copy it too")
        sizes[str(target)] = target.stat().st_size
    if (total := sum(sizes.values())) > MODEL_BYTES:
        raise BadArtefact(
            f"{file} has {total} bytes in other files; at most {MODEL_BYTES} fit into the one of a bundle"
        )
