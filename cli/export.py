"""`helmsight export`: from a checkpoint, a network of the user's or an ONNX file to a bundle."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._output import print_json, table

if TYPE_CHECKING:
    from ..export.targets import Row
    from ..runtime.bundle import Bundle


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A checkpoint (runs/NAME), package.module:callable, FILE.onnx, or a bundle."
        ),
    ] = "",
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="What to build for, once for each; see --list-targets.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="NAME.bundle", help="Where to write it.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights for package.module:callable.")] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="[NAME:][DTYPE:]SHAPE", help="An input, e.g. 1x3x224x224.")
    ] = None,
    name: Annotated[str, typer.Option(help="What the bundle calls itself.")] = "",
    task: Annotated[
        str,
        typer.Option(help="The network's own: face, navigate, or generic for one whose outputs are given as they are."),
    ] = "",
    precision: Annotated[str, typer.Option(help="What it must compute in: fp32, fp16, bf16 or int8.")] = "fp32",
    opset: Annotated[int, typer.Option(help="ONNX operator set; 0: 18, or an ONNX file's own.")] = 0,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Pictures, or an .npz of inputs, to check with and, for int8, to calibrate."),
    ] = None,
    max_drop: Annotated[str, typer.Option(metavar="PERCENT", help="The most that a score may fall.")] = "1%",
    atol: Annotated[
        float | None,
        typer.Option(
            min=0, help="How far a value may be off, beside what the precision may lose of it (0.1 % in fp32)."
        ),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Keep the layers that lose most in fp32, as few as the gates allow.")
    ] = False,
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Sign the bundle with this private key (PEM, elliptic curve).")
    ] = None,
    certificates: Annotated[
        list[Path] | None,
        typer.Option(
            "--certificate", metavar="FILE", help="The key's certificate, then those up to the authority, one each."
        ),
    ] = None,
    list_targets: Annotated[bool, typer.Option("--list-targets", help="What each device gets, and no export.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show all that torch says.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Export a network to a bundle, checked against its source on real inputs and by its own score."""
    from ..devices.errors import UsageError
    from ..export.build import ExportOptions
    from ..export.build import export as build
    from ..runtime.inspection import describe
    from ..runtime.parity import tolerance
    from ._bundle import print_description
    from ._options import share

    if list_targets:
        _print_targets(as_json)
        return
    if not source:
        raise UsageError("export what? expected SOURCE: runs/NAME, package.module:callable, FILE.onnx, or a bundle")
    options = ExportOptions(
        targets=tuple(target or ("cpu",)),
        out=out,
        name=name,
        task=task,
        weights=weights,
        inputs=tuple(inputs or ()),
        calibration=calibration,
        opset=opset,
        precision=precision,
        max_drop=share(max_drop, "--max-drop"),
        tolerance=tolerance(precision, atol),
        repair=repair,
        sign=sign,
        certificates=tuple(certificates or ()),
        verbose=verbose,
    )
    bundle = build(source, options, say=lambda line: print(line, file=sys.stderr))
    print_description(describe(bundle.path), as_json)
    for line in _to_copy(bundle):
        print(line, file=sys.stderr)


def _to_copy(bundle: Bundle) -> Iterator[str]:
    """For each board without our Python: the folder that goes there, and what to run in it."""
    for target, record in bundle.manifest.parity.items():
        kinds = record.get("artefacts", {})
        commands = [str(kinds[kind]["run"]) for kind in ("trtexec", "ncnn") if kind in kinds]
        if commands:
            folder = bundle.path / "targets" / target
            yield f"for {target}: copy {folder} there, whole, and in it run {', or '.join(commands)}"


def _print_targets(as_json: bool) -> None:
    from ..devices.device import states_in_words
    from ..export.targets import rows

    if as_json:
        print_json([one.to_json() for one in rows()])
        return
    lines = []
    for one in rows():
        plan, kinds = one.plan, one.artefacts.items()
        artefacts = ", ".join(k if ps == one.precisions else f"{k} ({' '.join(ps)})" for k, ps in kinds)
        cells = (_precisions(one), artefacts, plan.engine, str(plan.opset or "any"), plan.here, plan.there, one.state)
        lines.append((one.name, *(cell.replace(", ", ",\n").replace("; ", ";\n") for cell in cells)))
    columns = ("target", "precisions", "artefact", "read by", "opset", "made here", "on the board", "state")
    table("targets", columns, lines, again=1)
    print("opset: the newest of ONNX that is read there; precisions in brackets: no faster there, for who asks")
    print(states_in_words(one.state for one in rows()))


def _precisions(one: Row) -> str:
    """What it gets, and what it may have that was measured to be no faster there."""
    asked = [p for p in one.plan.on_request if p in one.precisions]
    usual = " ".join(p for p in one.precisions if p not in asked)
    return f"{usual} ({' '.join(asked)})" if asked else usual
