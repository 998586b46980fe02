"""`export`: from a source to a bundle, through the gates; a bundle that was there before stays when one fails."""

from __future__ import annotations

import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..devices.errors import BadArtefact, UsageError
from ..runtime.backends import SessionOptions, load
from ..runtime.bundle import Bundle, Manifest, write_bundle
from .card import model_card
from .gates import Tolerance, check_parity, check_score
from .graph import summarise
from .inputs import COUNT, Inputs, gather_inputs
from .output import check_output, write_output
from .precision import check_is, check_wish, read_precision
from .reference import plain_onnx_run, probe_outputs, torch_run
from .source import Run, Source, load_source
from .targets import check_targets

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

Say = Callable[[str], None]

DEFAULT_OPSET = 18
PACKAGES = ("helmsight", "torch", "onnx", "onnxscript", "onnxruntime", "numpy")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export for and how strict to be.

    `out` defaults to `NAME.bundle` in the working directory, `name` to the source's own. `weights` and `inputs` (texts
    as `parse_inputs` reads them) describe a network of the user's. `calibration` is a folder of pictures or an .npz
    for the gates. `max_drop` is a share: 0.01 allows a score to fall by 1 % of fp32's. `opset` 0 means 18, or an ONNX
    file's own. With `verbose`, what torch prints while it exports goes to the screen.
    """

    targets: tuple[str, ...] = ("cpu",)
    out: Path | None = None
    name: str = ""
    weights: Path | None = None
    inputs: tuple[str, ...] = ()
    calibration: Path | None = None
    opset: int = 0
    precision: str = "fp32"
    max_drop: float = 0.01
    tolerance: Tolerance = field(default_factory=Tolerance)
    verbose: bool = False


def export(source: str, options: ExportOptions | None = None, say: Say = lambda line: None) -> Bundle:
    """Export `source` (see `load_source`) to a bundle that passed its gates; `say` is told each step.

    Raises UsageError or DeviceMismatch before any work for what cannot be had, BadArtefact for a source that is broken
    or that ONNX cannot hold, GateFailed when the result differs from the source.
    """
    options = options or ExportOptions()
    check_targets(options.targets)
    check_wish(options.precision)
    say(f"reading {source}")
    network = load_source(source, options.weights, options.inputs)
    network = replace(network, name=_checked_name(options.name or network.name))
    out = options.out or Path(f"{network.name}.bundle")
    check_output(out)
    with tempfile.TemporaryDirectory(prefix="helmsight-") as work:
        file = Path(work) / "model.onnx"
        network = _write_onnx(network, file, options, say)
        manifest, files = _describe(network, file, options)
        # The gates run what the runtime will run: a bundle, opened and loaded the usual way.
        draft = write_bundle(Path(work) / "draft.bundle", manifest, files)
        manifest = _pass_gates(network, draft, options, say)
        files["README.md"] = model_card(manifest).encode()
        say(f"writing {out}")
        return write_output(out, manifest, files)


def _write_onnx(network: Source, file: Path, options: ExportOptions, say: Say) -> Source:
    """Write the ONNX model to `file`; the network comes back with its outputs described."""
    import onnx

    from .onnx_file import graph_outputs, load_checked, pin_inputs
    from .to_onnx import read_opset

    module = network.module
    if module is not None:
        network = replace(network, outputs=_agreed_outputs(network, probe_outputs(module, network.inputs)))
        model = _convert(network, module, file.with_name("export.log"), options, say)
    else:
        assert network.onnx is not None
        model = pin_inputs(load_checked(network.onnx), network.inputs)
        network = replace(network, outputs=graph_outputs(model))
        found = read_opset(model)
        if options.opset not in (0, found):
            raise UsageError(
                f"--opset {options.opset}: {network.onnx} has opset {found}, and export does not convert it"
            )
    _stamp(model, network)
    onnx.save(model, file)
    return network


def _convert(network: Source, module: nn.Module, log: Path, options: ExportOptions, say: Say) -> ModelProto:
    """Convert with torch's own words kept in `log`, or on the screen with `verbose`."""
    from .to_onnx import to_onnx

    opset = options.opset or DEFAULT_OPSET
    say(f"converting to ONNX, opset {opset}")
    names = [spec.name for spec in network.outputs]
    try:
        return to_onnx(module, network.inputs, names, opset, None if options.verbose else log)
    except BadArtefact as error:
        if not log.is_file():
            raise
        kept = (options.out.parent if options.out else Path()) / f"{network.name}.export.log"
        shutil.copyfile(log, kept)
        raise BadArtefact(f"{error} (all that torch says: {kept})") from error


def _describe(network: Source, file: Path, options: ExportOptions) -> tuple[Manifest, dict[str, Path | bytes]]:
    """The manifest before the gates, and the files of the bundle."""
    import onnx

    model = onnx.load(file)
    precision = read_precision(model)
    check_is(precision, options.precision)
    graph = summarise(model)
    manifest = Manifest(
        name=network.name,
        task=network.task,
        inputs=network.inputs,
        outputs=network.outputs,
        decoding=network.decoding,
        metrics=network.metrics,
        parity={"cpu": {"precision": precision.name, "real": precision.to_json()}},
        provenance={
            "source": dict(network.provenance),
            "versions": _versions(),
            "export": {
                "targets": list(options.targets),
                "opset": graph.opset,
                "exporter": "torch.onnx.export (dynamo)" if network.module is not None else "none, an ONNX file",
                "atol": options.tolerance.atol,
                "rtol": options.tolerance.rtol,
                "max_drop": options.max_drop,
            },
            "graph": graph.to_json(),
        },
    )
    return manifest, {"model.onnx": file}


def _pass_gates(network: Source, draft: Bundle, options: ExportOptions, say: Say) -> Manifest:
    """The manifest with the parity and the metrics that the draft reached; GateFailed when it misses."""
    manifest = draft.manifest
    inputs = gather_inputs(manifest, network.samples, options.calibration)
    _say_inputs(inputs, say)
    reference, reference_name = _reference(network, draft)
    with load(draft, SessionOptions("cpu")) as session:
        parity = check_parity(reference, session.run, inputs.feeds, options.tolerance)
        record: dict[str, Any] = {
            **parity.to_json(),
            **manifest.parity["cpu"],
            "reference": reference_name,
            "inputs": inputs.origin,
            "inputs_are_real": inputs.real,
        }
        metrics = dict(network.metrics)
        if network.score is not None:
            say("scoring the network and the exported file on the task's own data")
            after, record["score"] = check_score(network.score, reference, session.run, manifest, options.max_drop)
            metrics |= after
    return replace(manifest, metrics=metrics, parity={"cpu": record})


def _reference(network: Source, draft: Bundle) -> tuple[Run, str]:
    if network.module is not None:
        return torch_run(network.module, network.inputs, network.outputs), "torch"
    return plain_onnx_run(draft.model, network.outputs), "onnxruntime with its optimisations off"


def _say_inputs(inputs: Inputs, say: Say) -> None:
    n = len(inputs.feeds)
    say(f"comparing on {n} input{'s' * (n != 1)}: {inputs.origin}")
    if not inputs.real:
        say("WARNING: parity is checked on generated inputs only; give real ones with --calibration DIR")
    elif n < COUNT:
        say(f"WARNING: only {n} inputs; give at least {COUNT} for a parity to rely on")


def _agreed_outputs(network: Source, probed: tuple[Any, ...]) -> tuple[Any, ...]:
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


def _stamp(model: ModelProto, network: Source) -> None:
    """So that a model.onnx on its own still says what it is."""
    del model.metadata_props[:]
    for key, value in (("helmsight.name", network.name), ("helmsight.task", network.task)):
        if value:
            model.metadata_props.add(key=key, value=value)


def _versions() -> Mapping[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise UsageError(f"--name {name!r}: expected letters, digits, - _ . only, since folders are called so")
    return name
