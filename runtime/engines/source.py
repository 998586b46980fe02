"""What of a bundle NVIDIA's libraries read: the ONNX file that TensorRT builds from, the engine of TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ...devices.errors import BadArtefact, DeviceMismatch
from ..bundle import Bundle
from ..onnx_bounds import refuse_external
from ..onnx_nodes import read_opset
from . import Library

MODEL = "tensorrt.onnx"
"""What export writes for a target of TensorRT, in its folder `targets/TARGET/`."""
OLDER_MODEL = "trtexec.onnx"
"""What it writes for a target of JetPack 4 or 5: an older operator set, at one size."""
OLDER_TARGET = "jetson-agx-xavier/trtexec"
"""The target whose file TensorRT 8.5 and 8.6 read, whatever machine they are on."""
NEWEST_OPSETS = (((10, 15), 24), ((10, 0), 20), ((8, 5), 17))
"""The newest ONNX operator set that TensorRT reads from that release on: docs/operators.md of onnx-tensorrt at 8.5-GA
(8.6's says the same), 10.0-GA and 10.15-GA."""
RTX_ENGINE = "tensorrt-rtx.engine"
"""The same for TensorRT-RTX."""
RTX_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""The compute capabilities that TensorRT-RTX 1.7 builds for ahead of time."""


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


def network_file(bundle: Bundle, library: Library) -> NetworkFile:
    """The file that `library` builds from: the first of `_candidates` whose operator set it reads.

    Raises BadArtefact when it was changed after the bundle was opened, DeviceMismatch when all are of a newer operator
    set: TensorRT 8.x reads such a file without an error, and what changed in an operator since is lost.
    """
    reads = newest_opset(library)
    files = [_network_file(bundle, name) for name in _candidates(bundle, library)]
    opsets = [read_opset(file.data, file.name) for file in files]
    if found := next((file for file, opset in zip(files, opsets, strict=True) if opset <= reads), None):
        return found
    raise DeviceMismatch(
        f"{bundle.path / files[0].name} is of ONNX opset {opsets[0]}, {library} reads up to {reads} and may read what "
        f"came later as something else without an error; {older_command(bundle, library)}"
    )


def asked_precision(bundle: Bundle, file: NetworkFile) -> str:
    """What the file was exported for: one that is `mixed` has some layers in fp32, and must not lose the others."""
    return exported_precision(bundle) if file.precision == "mixed" else file.precision


def newest_opset(library: Library) -> int:
    """The newest operator set of ONNX that it reads."""
    return next((opset for release, opset in NEWEST_OPSETS if library.release >= release), NEWEST_OPSETS[-1][1])


def reads_older(library: Library) -> bool:
    """Whether it reads nothing that export writes but for JetPack 5: 8.5 and 8.6."""
    return newest_opset(library) < 18


def older_command(bundle: Bundle, library: Library) -> str:
    """What to type where export runs, for a file that `library` reads: an older operator set, and for 8.x one size."""
    if not reads_older(library):
        return "export the network again with --opset 18"
    again = export_command(bundle, OLDER_TARGET, "trt8")
    return f"write one that it reads, of one size, where torch is installed: {again}"


def export_command(bundle: Bundle, target: str, ending: str) -> str:
    """What to type for `bundle` with what `target` gets, in the precision that it has.

    A bundle in fp32 is a source itself; one in a lower precision lost what it was made from.
    """
    precision = exported_precision(bundle)
    source, lower = (bundle.path, "") if precision == "fp32" else ("ITS-SOURCE", f" --precision {precision}")
    return f"helmsight export {source} -t {target}{lower} -o {bundle.manifest.name}-{ending}.bundle"


def rtx_command(bundle: Bundle, compute_capability: str) -> str:
    """The same for the engine of TensorRT-RTX for a GPU."""
    card = f"rtx-sm{compute_capability.replace('.', '')}"
    return export_command(bundle, card, card)


def exported_precision(bundle: Bundle) -> str:
    """The `--precision` of its export, fp32 where its manifest does not say."""
    return str(bundle.manifest.provenance.get("export", {}).get("precision", "fp32"))


def _candidates(bundle: Bundle, library: Library) -> list[str]:
    """What export made for TensorRT, the same for all its targets, else the bundle's `model.onnx`; then what export
    made for a board of JetPack 5, of one size. That stands before a `model.onnx` which a parser does not take: one of
    bytes, which are not cast at once there, and for 8.x any.
    """
    made = _made_for(bundle, MODEL)[:1]
    older = [name for name in _made_for(bundle, OLDER_MODEL) if _takes_the_same(bundle, name)]
    if reads_older(library) or any(spec.dtype == "uint8" for spec in bundle.manifest.inputs):
        return [*made, *older] or ["model.onnx"]
    return [*(made or ["model.onnx"]), *older]


def _made_for(bundle: Bundle, kind: str) -> list[str]:
    """The files of that name which export made, a target each."""
    return [name for name in sorted(bundle.manifest.files) if name.startswith("targets/") and name.endswith(f"/{kind}")]


def _takes_the_same(bundle: Bundle, name: str) -> bool:
    """Whether a file of JetPack 4 or 5 has the manifest's inputs: that for 8.2 takes bytes as float32."""
    stated = _record(bundle, name).get("inputs")
    return stated == {spec.name: spec.dtype for spec in bundle.manifest.inputs}


def _network_file(bundle: Bundle, name: str) -> NetworkFile:
    stated = _record(bundle, name).get("precision", "unknown")
    return NetworkFile(name, _checked(bundle, name), bundle.manifest.files[name], str(stated))


def _record(bundle: Bundle, name: str) -> Mapping[str, Any]:
    """What the manifest says of a file; of the artefact itself, since a target is `mixed` where its kinds differ."""
    record: Any = bundle.manifest.parity.get(name.split("/")[1] if "/" in name else "cpu")
    if isinstance(record, Mapping) and isinstance(record.get("artefacts"), Mapping):
        record = record["artefacts"].get(PurePath(name).stem, record)
    return record if isinstance(record, Mapping) else {}


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
    again = f"make it, where helmsight[rtx,train] is installed: {rtx_command(bundle, compute_capability)}"
    fitting = {t: one for t, one in built.items() if one["compute_capability"] == compute_capability}
    if not fitting:
        there = ", ".join(sorted({str(one["compute_capability"]) for one in built.values()}, key=float)) or "none"
        if compute_capability not in RTX_CAPABILITIES:
            again = f"it is built for {', '.join(RTX_CAPABILITIES)} only; use --device tensorrt"
        raise DeviceMismatch(
            f"{bundle.path} has no engine of TensorRT-RTX for compute capability {compute_capability}, which is here "
            f"(it has: {there}); {again}"
        )
    target, record = next(iter(fitting.items()))
    made_with = record["versions"]["TensorRT-RTX"]
    if made_with != version:
        raise DeviceMismatch(
            f"the engine for {target} in {bundle.path} was built by TensorRT-RTX {made_with} (here {version}); install "
            f"that version, or with this one {again}"
        )
    name = f"targets/{target}/{RTX_ENGINE}"
    return NetworkFile(name, _checked(bundle, name), bundle.manifest.files[name], str(record["precision"]))


def _checked(bundle: Bundle, name: str) -> bytes:
    """A file of the bundle, its hash checked again: what is used is what was checked, and no tensor lies elsewhere."""
    data = bundle.read(name)
    if name.endswith(".onnx"):
        refuse_external(data, str(bundle.path / name))
    return data
