"""`export`: from a source to a bundle, through the gates; a bundle that was there before stays when one fails."""

from __future__ import annotations

import platform
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ..devices.errors import UsageError, need
from ..runtime.backends.openvino import find_openvino
from ..runtime.bundle import Bundle, Manifest, write_bundle
from ..runtime.inspection import inputs_in_words
from ..runtime.parity import Run, Tolerance, plain_onnx_run, tolerance
from ..runtime.signature import signer
from .artefacts import Order, check_tools, make_for
from .bf16 import OPENVINO, in_bf16
from .card import model_card
from .convert import to_model, with_outputs
from .gates import score_gate
from .graph import GraphSummary, summarise
from .inputs import CALIBRATION, COUNT, Feeds, Inputs, gather_inputs
from .judge import Judge, Limits
from .lowered import Attempt, Lowering, Say
from .memory import check_memory
from .output import check_output, write_output
from .precision import Precision, check_is, check_wish, read_precision
from .quantise import FORMAT, NVIDIA_FORMAT
from .reference import one_torch_thread, torch_run
from .sizes import at_usual_size
from .source import Source, check_task, load_source
from .targets import NVIDIA, Target, check_targets, renamed

if TYPE_CHECKING:
    from onnx import ModelProto

PACKAGES = ("helmsight", "torch", "onnx", "onnxscript", "onnxruntime", "numpy")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export for and how strict to be.

    `out` defaults to `NAME.bundle` in the working directory, or `NAME-PRECISION.bundle` for one that is not fp32;
    `name` and `task` to the source's own. `weights` and `inputs` (texts as `parse_inputs` reads them) describe a
    network of the user's. `calibration` is a folder of pictures or an .npz for the gates and for the ranges of int8.
    `max_drop` is a share: 0.01 allows a score to fall by 1 % of fp32's. `tolerance` None is what suits the precision.
    `opset` 0 means 18, or an ONNX file's own. With `repair`, the layers that lose most stay in fp32 where a gate is
    missed. With `sign`, a private key, and maybe `certificates`, the bundle is signed (see `signer`). With `verbose`,
    what torch prints while it exports goes to the screen.
    """

    targets: tuple[str, ...] = ("cpu",)
    out: Path | None = None
    name: str = ""
    task: str = ""
    weights: Path | None = None
    inputs: tuple[str, ...] = ()
    calibration: Path | None = None
    opset: int = 0
    precision: str = "fp32"
    max_drop: float = 0.01
    tolerance: Tolerance | None = None
    repair: bool = False
    sign: Path | None = None
    certificates: tuple[Path, ...] = ()
    verbose: bool = False

    @property
    def allowed(self) -> Tolerance:
        """How far outputs may be off."""
        return self.tolerance or tolerance(self.precision)


def export(source: str, options: ExportOptions | None = None, say: Say = lambda line: None) -> Bundle:
    """Export `source` (see `load_source`) to a bundle that passed its gates; `say` is told each step.

    Raises UsageError or DeviceMismatch before any work for what cannot be had, BadArtefact for a source that is broken
    or that ONNX cannot hold, GateFailed when the result differs from the source.
    """
    options = options or ExportOptions()
    targets = _check_options(options)
    seal = signer(options.sign, options.certificates) if options.sign else None
    for line in renamed(options.targets):
        say(line)
    say(f"reading {source}")
    network = load_source(source, options.weights, options.inputs)
    check_task(network, options.task)
    network = replace(network, name=_checked_name(options.name or network.name))
    out = _place(network, options)
    network = with_outputs(network)
    inputs, calibration = _gather(network, options)
    _say_inputs(inputs, len(calibration), say)
    with tempfile.TemporaryDirectory(prefix="helmsight-") as work:
        say("converting to ONNX" if network.module is not None else "copying the ONNX model")
        log = None if options.verbose else Path(work) / "export.log"
        model = to_model(network, options.opset, log, out.with_name(f"{network.name}.export.log"))
        made = _Making(network, options, targets, inputs, calibration, Path(work), say).bundle(model)
        draft = replace(made.draft, manifest=_judged(network, made))
        score = score_gate(network.score, draft.manifest, options.max_drop) if network.score else None
        parity, files = make_for(
            targets, Path(work), lambda t, place: Order(draft, t, place, inputs.feeds, options.allowed, say, score)
        )
        manifest = replace(draft.manifest, parity={**draft.manifest.parity, **parity})
        say(f"writing {out}" + (", in place of the bundle that was there" if out.exists() else ""))
        files |= {"model.onnx": made.draft.model, "README.md": model_card(manifest).encode()}
        return write_output(out, manifest, files, seal)


def _check_options(options: ExportOptions) -> tuple[Target, ...]:
    """The targets; refuses what cannot be meant or had before anything is read."""
    check_wish(options.precision)
    targets = check_targets(options.targets, options.precision)
    if options.repair and options.precision in ("fp32", "bf16"):
        raise UsageError(
            "--repair keeps layers in fp32, and a file of fp32 or bf16 has no others; use --precision int8"
        )
    if options.certificates and options.sign is None:
        raise UsageError("--certificate says whose key signs, and none does; add --sign KEY")
    for package, extra in (("onnx", "train"), ("onnxruntime", "cpu")):
        need(package, extra)
    if options.precision == "bf16":
        find_openvino()
    for target in targets:
        check_tools(target)
    return targets


def _place(network: Source, options: ExportOptions) -> Path:
    """Where the bundle goes: never over what it is made from."""
    suffix = "" if options.precision == "fp32" else f"-{options.precision}"
    out = options.out or Path(f"{network.name}{suffix}.bundle")
    check_output(out)
    if network.onnx is not None and network.onnx.resolve().parent == out.resolve():
        raise UsageError(f"-o {out} is the source itself; choose another name")
    return out


def _gather(network: Source, options: ExportOptions) -> tuple[Inputs, tuple[Feeds, ...]]:
    """Inputs for the gates, and for int8 real ones to measure its ranges on."""
    if options.precision == "int8" and network.samples is None and options.calibration is None:
        raise UsageError(
            "--precision int8 is calibrated on real inputs and the source has no samples; expected --calibration DIR, "
            "a folder of pictures as the camera gives them, or an .npz"
        )
    if options.precision != "int8":
        inputs = gather_inputs(_bare_manifest(network), network.samples, options.calibration)
        return inputs, ()
    count = COUNT + CALIBRATION
    return gather_inputs(_bare_manifest(network), network.samples, options.calibration, count).split()


@dataclass(frozen=True, slots=True)
class _Making:
    """What a bundle is made of and judged by; drafts lie in `work`."""

    network: Source
    options: ExportOptions
    targets: tuple[Target, ...]
    inputs: Inputs
    calibration: tuple[Feeds, ...]
    work: Path
    say: Say

    def bundle(self, model: ModelProto) -> Attempt:
        """The draft of `model` that passes the gates. Raises GateFailed when none does."""
        network, options = self.network, self.options
        summary = summarise(at_usual_size(model, network.inputs))
        for target in self.targets:
            check_memory(target, summary)
        for_nvidia = any(NVIDIA & set(target.artefacts) for target in self.targets)
        int8 = NVIDIA_FORMAT if for_nvidia else FORMAT
        describe = _Describe(network, options, summary, len(self.calibration), int8)
        found = read_precision(model)
        files: dict[str, Path | bytes] = {"model.onnx": model.SerializeToString(deterministic=True)}
        full = write_bundle(self.work / "fp32.bundle", describe(model, found), files)
        with _reference(network, full) as reference:
            limits = Limits(options.allowed, options.max_drop)
            in_fp32 = replace(limits, tolerance=tolerance("fp32")) if options.precision == "bf16" else limits
            judge = Judge(network, reference, self.inputs, in_fp32)
            if options.precision not in ("fp32", "bf16"):
                self.say(f"converting to {options.precision} and comparing with the source")
                lowering = Lowering(network, full, judge, describe, self.say, for_nvidia)
                return lowering.export(options.precision, model, self.calibration or self.inputs.feeds, options.repair)
            check_is(found, "fp32")
            self.say("comparing with the source")
            verdict = judge(full)
            if verdict.failed is not None:
                raise verdict.failed
            passed = Attempt(full, (), verdict)
            if options.precision == "fp32":
                return passed
            judge = Judge(network, reference, self.inputs, limits, device=OPENVINO)
            return in_bf16(passed, judge, self.inputs.feeds, self.say)


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


@dataclass(frozen=True, slots=True)
class _Describe:
    """The manifest of a file before the gates; `work` is counted on the network in fp32, whose work it does."""

    network: Source
    options: ExportOptions
    work: GraphSummary
    calibrated_on: int
    int8: str

    def __call__(self, model: ModelProto, precision: Precision) -> Manifest:
        network, options = self.network, self.options
        graph = replace(
            summarise(at_usual_size(model, network.inputs)), parameters=self.work.parameters, macs=self.work.macs
        )
        made = "torch.onnx.export (dynamo)" if network.module is not None else "none, an ONNX file"
        return replace(
            _bare_manifest(network),
            parity={"cpu": {"precision": precision.name, "real": precision.to_json()}},
            provenance={
                "source": dict(network.provenance),
                "versions": _versions(),
                "export": {
                    "targets": list(options.targets),
                    "opset": graph.opset,
                    "exporter": made,
                    "precision": options.precision,
                    **(
                        {"format": self.int8, "calibrated_on": self.calibrated_on}
                        if options.precision == "int8"
                        else {}
                    ),
                    **options.allowed.to_json(),
                    "max_drop": options.max_drop,
                },
                "graph": graph.to_json(),
            },
        )


def _judged(network: Source, made: Attempt) -> Manifest:
    """The manifest with what the gates found."""
    manifest = made.draft.manifest
    record = {**made.verdict.record, **manifest.parity["cpu"]}
    return replace(manifest, metrics={**network.metrics, **made.verdict.metrics}, parity={"cpu": record})


@contextmanager
def _reference(network: Source, full: Bundle) -> Iterator[tuple[Run, str]]:
    """What exported files are compared with, and its name for the record."""
    if network.module is None:
        yield plain_onnx_run(full.model, network.outputs), "onnxruntime with its optimisations off"
        return
    with one_torch_thread():
        yield torch_run(network.module, network.inputs, network.outputs), "torch"


def _say_inputs(inputs: Inputs, calibrated_on: int, say: Say) -> None:
    n = len(inputs.feeds)
    more = f" and {calibrated_on} to calibrate on" if calibrated_on else ""
    say(f"{inputs_in_words(n)} to compare on{more}: {inputs.origin}")
    if not inputs.real:
        say("WARNING: parity is checked on generated inputs only; give real ones with --calibration DIR")
    elif n < COUNT:
        say(f"WARNING: only {inputs_in_words(n)}; give at least {COUNT} for a parity to rely on")


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
