"""From a source to the ONNX model that goes into the bundle: torch's are converted, ONNX files are pinned."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..devices.errors import BadArtefact, UsageError
from ..runtime.bundle import TensorSpec
from .onnx_file import graph_outputs, load_checked, pin_inputs
from .reference import probe_outputs
from .source import Source
from .to_onnx import read_opset, to_onnx

if TYPE_CHECKING:
    from onnx import ModelProto

DEFAULT_OPSET = 18


def with_outputs(network: Source) -> Source:
    """`network` with its outputs described. Raises UsageError when it does not take the inputs that are stated."""
    if network.module is not None:
        return replace(network, outputs=_agreed_outputs(network, probe_outputs(network.module, network.inputs)))
    if network.outputs:  # a bundle's, which its manifest describes
        return network
    return replace(network, outputs=graph_outputs(_pinned(network)))


def to_model(network: Source, opset: int, log: Path | None, keep_log: Path) -> ModelProto:
    """The ONNX model of `network`, in `opset` (0: 18, or an ONNX file's own).

    What torch prints goes to `log` (None: to the screen), which is copied to `keep_log` when it fails. Raises as
    `to_onnx` and `load_checked` do.
    """
    if network.module is None:
        model = _pinned(network)
        found = read_opset(model)
        if opset not in (0, found):
            raise UsageError(f"--opset {opset}: {network.onnx} has opset {found}, and export does not convert it")
    else:
        names = [spec.name for spec in network.outputs]
        try:
            model = to_onnx(network.module, network.inputs, names, opset or DEFAULT_OPSET, log)
        except BadArtefact as error:
            if log is None or not log.is_file():
                raise
            keep_log.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, keep_log)
            raise BadArtefact(f"{error} (all that torch says: {keep_log})") from error
    stamp(model, network)
    return model


def _pinned(network: Source) -> ModelProto:
    assert network.onnx is not None, "a source has a module or an ONNX file"
    model = load_checked(network.onnx, network.onnx_sha256)
    return model if any(spec.multiple for spec in network.inputs) else pin_inputs(model, network.inputs)


def _agreed_outputs(network: Source, probed: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """The outputs that the source states, once what the network returns has the same shapes and dtypes."""
    if not network.outputs:
        names = [spec.name for spec in probed]
        if clash := {spec.name for spec in network.inputs} & set(names):
            raise UsageError(
                f"{', '.join(clash)} names an input and an output; call the input otherwise: --input NAME:..."
            )
        return probed
    stated = [(spec.shape, spec.dtype) for spec in network.outputs]
    found = [(spec.shape, spec.dtype) for spec in probed]
    if stated != found:
        raise BadArtefact(f"the checkpoint states outputs {stated}, its network returns {found}; train it again")
    return network.outputs


def stamp(model: ModelProto, network: Source) -> None:
    """So that a model.onnx on its own still says what it is."""
    del model.metadata_props[:]
    for key, value in (("helmsight.name", network.name), ("helmsight.task", network.task)):
        if value:
            model.metadata_props.add(key=key, value=value)
