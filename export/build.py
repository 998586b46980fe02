"""`export`: from a source to a bundle, through the gates; a bundle that was there before stays when one fails."""

from __future__ import annotations

import platform
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..devices.errors import BadArtefact, GateFailed, UsageError, need
from ..runtime.backends import SessionOptions, load
from ..runtime.bundle import Bundle, Manifest, write_bundle
from .card import model_card
from .convert import to_model, with_outputs
from .gates import Tolerance, check_parity, check_score
from .graph import summarise
from .inputs import COUNT, Inputs, gather_inputs
from .output import check_output, write_output
from .precision import check_is, check_wish, read_precision
from .reference import one_torch_thread, plain_onnx_run, torch_run
from .sizes import at_usual_size, other_sizes, resize_feeds
from .source import Run, Source, load_source
from .targets import check_targets

if TYPE_CHECKING:
    from onnx import ModelProto

Say = Callable[[str], None]

SIZE_COUNT = 4
"""Inputs to compare on at each further size."""

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
    for package, extra in (("onnx", "train"), ("onnxruntime", "cpu")):
        need(package, extra)
    say(f"reading {source}")
    network = load_source(source, options.weights, options.inputs)
    network = replace(network, name=_checked_name(options.name or network.name))
    out = options.out or Path(f"{network.name}.bundle")
    check_output(out)
    network = with_outputs(network)
    inputs = gather_inputs(_bare_manifest(network), network.samples, options.calibration)
    _say_inputs(inputs, say)
    with tempfile.TemporaryDirectory(prefix="helmsight-") as work:
        say("converting to ONNX" if network.module is not None else "copying the ONNX model")
        log = None if options.verbose else Path(work) / "export.log"
        model = to_model(network, options.opset, log, out.with_name(f"{network.name}.export.log"))
        manifest = _describe(network, model, options)
        files: dict[str, Path | bytes] = {"model.onnx": model.SerializeToString(deterministic=True)}
        # The gates run what the runtime will run: a bundle, opened and loaded the usual way.
        draft = write_bundle(Path(work) / "draft.bundle", manifest, files)
        say("comparing with the source")
        manifest = _pass_gates(network, draft, inputs, options, say)
        files["README.md"] = model_card(manifest).encode()
        say(f"writing {out}")
        return write_output(out, manifest, files)


def _bare_manifest(network: Source) -> Manifest:
    """What the network is, before anything is known of its file."""
    return Manifest(
        name=network.name,
        task=network.task,
        inputs=network.inputs,
        outputs=network.outputs,
        decoding=network.decoding,
        metrics=network.metrics,
    )


def _describe(network: Source, model: ModelProto, options: ExportOptions) -> Manifest:
    """The manifest before the gates. Raises BadArtefact when the model is of another precision than asked for."""
    precision = read_precision(model)
    check_is(precision, options.precision)
    graph = summarise(at_usual_size(model, network.inputs))
    return replace(
        _bare_manifest(network),
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


def _pass_gates(network: Source, draft: Bundle, inputs: Inputs, options: ExportOptions, say: Say) -> Manifest:
    """The manifest with the parity and the metrics that the draft reached; GateFailed when it misses."""
    manifest = draft.manifest
    with _reference(network, draft) as (reference, origin), load(draft, SessionOptions("cpu")) as session:
        parity = check_parity(reference, session.run, inputs.feeds, options.tolerance)
        record: dict[str, Any] = {
            **parity.to_json(),
            **manifest.parity["cpu"],
            "reference": origin,
            "inputs": inputs.origin,
            "inputs_are_real": inputs.real,
        }
        if sizes := _parity_at_other_sizes(reference, draft, inputs, options.tolerance):
            say(f"compared at {', '.join(sizes)} as well")
            record["other_sizes"] = sizes
        metrics = dict(network.metrics)
        if network.score is not None:
            say("scoring the network and the exported file on the task's own data")
            after, record["score"] = check_score(network.score, reference, session.run, manifest, options.max_drop)
            metrics |= after
    return replace(manifest, metrics=metrics, parity={"cpu": record})


def _parity_at_other_sizes(reference: Run, draft: Bundle, inputs: Inputs, tolerance: Tolerance) -> Mapping[str, Any]:
    """{WIDTHxHEIGHT: parity} at a landscape and a portrait size; nothing when the network takes one size."""
    found = {}
    for height, width in other_sizes(draft.manifest.inputs):
        resized = draft.resized((height, width))
        feeds = [resize_feeds(one, resized.manifest.inputs) for one in inputs.feeds[:SIZE_COUNT]]
        try:
            with load(resized, SessionOptions("cpu")) as session:
                parity = check_parity(reference, session.run, feeds, tolerance)
        except GateFailed as error:
            raise GateFailed(f"at {width}x{height}: {error}") from error
        except BadArtefact as error:
            raise BadArtefact(
                f"the network does not take {width}x{height}, though its input says so: {error}"
            ) from error
        found[f"{width}x{height}"] = parity.to_json()
    return found


@contextmanager
def _reference(network: Source, draft: Bundle) -> Iterator[tuple[Run, str]]:
    """What the exported file is compared with, and its name for the record."""
    if network.module is None:
        yield plain_onnx_run(draft.model, network.outputs), "onnxruntime with its optimisations off"
        return
    with one_torch_thread():
        yield torch_run(network.module, network.inputs, network.outputs), "torch"


def _say_inputs(inputs: Inputs, say: Say) -> None:
    n = len(inputs.feeds)
    say(f"{n} input{'s' * (n != 1)} to compare on: {inputs.origin}")
    if not inputs.real:
        say("WARNING: parity is checked on generated inputs only; give real ones with --calibration DIR")
    elif n < COUNT:
        say(f"WARNING: only {n} inputs; give at least {COUNT} for a parity to rely on")


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
