"""What of a bundle NVIDIA's libraries read: the ONNX file that TensorRT builds from, the engine of TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...devices.errors import BadArtefact, DeviceMismatch
from ..bundle import Bundle
from ..onnx_bounds import refuse_external

MODEL = "tensorrt.onnx"
"""What export writes for a target of TensorRT, in its folder `targets/TARGET/`."""
RTX_ENGINE = "tensorrt-rtx.engine"
"""The same for TensorRT-RTX."""


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """`data` was checked against the manifest; `precision` is what export read back from it."""

    name: str
    data: bytes
    sha256: str
    precision: str


def input_shapes(bundle: Bundle) -> dict[str, tuple[int, ...]]:
    """The shape of each input at the size of the manifest. Raises BadArtefact for a side without a number."""
    for spec in bundle.manifest.inputs:
        if not all(isinstance(side, int) for side in spec.shape):
            raise BadArtefact(
                f"{bundle.path}: input {spec.name} is {list(spec.shape)}; an engine is built for numbers: export it "
                "again with a shape of numbers, or /MULTIPLE for a picture of several sizes"
            )
    return {spec.name: tuple(int(side) for side in spec.shape) for spec in bundle.manifest.inputs}


def network_file(bundle: Bundle) -> NetworkFile:
    """The file that export made for TensorRT, the same for all its targets; else the bundle's own `model.onnx`.

    Raises BadArtefact when it was changed after the bundle was opened.
    """
    files, parity = bundle.manifest.files, bundle.manifest.parity
    made = [name for name in sorted(files) if name.startswith("targets/") and name.endswith(f"/{MODEL}")]
    name = made[0] if made else "model.onnx"
    data = _checked(bundle, name)
    record = parity.get(name.split("/")[1] if made else "cpu")
    if made and isinstance(record, Mapping) and isinstance(record.get("artefacts"), Mapping):
        record = record["artefacts"].get("tensorrt", record)  # the target's own is `mixed` where its kinds differ
    stated = record.get("precision", "unknown") if isinstance(record, Mapping) else "unknown"
    return NetworkFile(name, data, files[name], str(stated))


def rtx_engine(bundle: Bundle, compute_capability: str, version: str) -> NetworkFile:
    """The engine that export built for that GPU with that version of TensorRT-RTX.

    Raises DeviceMismatch with what there is when there is none, BadArtefact when it was changed.
    """
    try:
        return _rtx_engine(bundle, compute_capability, version)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadArtefact(f"{bundle.path}: what its manifest says of TensorRT-RTX cannot be read ({error})") from error


def _rtx_engine(bundle: Bundle, compute_capability: str, version: str) -> NetworkFile:
    built = {
        target: record["artefacts"]["tensorrt-rtx"]
        for target, record in bundle.manifest.parity.items()
        if "tensorrt-rtx" in record.get("artefacts", {})
    }
    card = f"rtx-sm{compute_capability.replace('.', '')}"
    again = f"export it again with -t {card}"
    fitting = {t: one for t, one in built.items() if one["compute_capability"] == compute_capability}
    if not fitting:
        there = ", ".join(sorted({str(one["compute_capability"]) for one in built.values()})) or "none"
        raise DeviceMismatch(
            f"{bundle.path} has no engine of TensorRT-RTX for compute capability {compute_capability}, which is here "
            f"(it has: {there}); {again}"
        )
    target, record = next(iter(fitting.items()))
    made_with = record["versions"]["TensorRT-RTX"]
    if made_with != version:
        raise DeviceMismatch(
            f"the engine for {target} in {bundle.path} was built by TensorRT-RTX {made_with} (here {version}); {again}"
        )
    name = f"targets/{target}/{RTX_ENGINE}"
    return NetworkFile(name, _checked(bundle, name), bundle.manifest.files[name], str(record["precision"]))


def _checked(bundle: Bundle, name: str) -> bytes:
    """A file of the bundle, its hash checked again: what is used is what was checked, and no tensor lies elsewhere."""
    data = bundle.read(name)
    if name.endswith(".onnx"):
        refuse_external(data, str(bundle.path / name))
    return data
