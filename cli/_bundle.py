"""How a bundle's description is printed: `export` shows it for what it wrote, `inspect` for what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..runtime.inspection import GENERIC, bf16_in_words, in_words, inputs_in_words
from ._output import print_json, short, table

if TYPE_CHECKING:
    from ..runtime.bundle import TensorSpec
    from ..runtime.inspection import Description


def print_description(described: Description, as_json: bool) -> None:
    """To standard output, as a table or as JSON."""
    if as_json:
        print_json(described.to_json())
    else:
        table(f"{described.name}: {described.path}", ("", ""), _rows(described))


def _rows(described: Description) -> Iterator[tuple[str, str]]:
    yield "task", described.task or GENERIC
    for spec in described.inputs:
        yield "input", _tensor(spec)
    for spec in described.outputs:
        yield "output", _tensor(spec)
    yield "size", f"{described.size_bytes / 1e6:.3g} MB in {len(described.files)} files"
    if described.graph:
        yield "network", _graph(described.graph)
    for target, record in described.parity.items():
        if artefacts := record.get("artefacts"):
            yield from ((f"target {target}", _artefact(kind, one)) for kind, one in artefacts.items())
            continue
        yield f"parity {target}", _parity(record)
        for metric, pair in record.get("score", {}).items():
            yield "", f"{metric}: {pair['fp32']:.4g} before export, {pair['exported']:.4g} after"
        yield from (("", line) for line in _cost(record))
        if bf16 := record.get("bf16"):
            yield "", bf16_in_words(bf16)
            for metric, pair in bf16.get("score", {}).items():
                yield "", f"{metric}: {pair['fp32']:.4g} before export, {pair['exported']:.4g} in bf16"
    for record in described.engines:
        yield "engine here", _engine(record)
    for metric, record in described.metrics.items():
        yield f"score {metric}", f"{_number(record.get('value'))} ({record.get('data', '?')}, n {record.get('n', '?')})"
    for file, record in described.files.items():
        yield file, f"SHA-256 {short(record['sha256'])}"
    yield "manifest.json", f"SHA-256 {short(described.manifest_sha256)}"
    yield "signature", "there, not checked: helmsight verify --key" if described.signed else "none"
    versions = described.provenance.get("versions", {})
    yield "made with", ", ".join(f"{name} {version}" for name, version in versions.items()) or "not stated"


def _tensor(spec: TensorSpec) -> str:
    limits = f"{spec.range[0]:g}..{spec.range[1]:g}" if spec.range else ""
    shape = "x".join(str(d) for d in spec.shape) or "scalar"
    sizes = f"or sides of other multiples of {spec.multiple}" if spec.multiple else ""
    return " ".join(part for part in (spec.name, spec.dtype, shape, spec.layout, spec.colour, limits, sizes) if part)


def _graph(graph: Mapping[str, Any]) -> str:
    macs = graph.get("macs")
    work = "unknown operations" if macs is None else f"{macs / 1e6:.4g} M multiply-accumulates"
    return f"{graph['parameters']:,} parameters, {work}, {graph['nodes']} nodes, opset {graph['opset']}"


def _parity(record: Mapping[str, Any]) -> str:
    if "n" not in record:
        return f"{record.get('precision', 'precision unknown')}, not compared"
    precision = in_words(record["precision"], record.get("real", {}))
    return (
        f"{precision}, largest difference {record['max_abs']:.2g} (relative {record['max_rel']:.2g}) from "
        f"{record.get('reference', 'its source')} on {inputs_in_words(record['n'])} "
        f"({record.get('inputs', 'origin not stated')})"
    )


def _artefact(kind: str, record: Mapping[str, Any]) -> str:
    """One kind of what a target gets, and what to run there."""
    differs = f"largest difference {record['max_abs']:.2g} on {inputs_in_words(record['n'])}" if "n" in record else ""
    compared = f", {differs}" if differs else ""
    if capability := record.get("compute_capability"):
        made = ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items())
        compared = f", an engine for compute capability {capability} by {made}, not run here"
        compared += f" ({differs} of the ONNX file that it was built from)" if differs else ""
    precision = in_words(record["precision"], record.get("real", {}))
    return f"{kind}: {precision}{compared}; run {record.get('run', '')}"


def _engine(record: Mapping[str, Any]) -> str:
    """One that `helmsight build` made and kept on this machine: of what, for what, and what was read back from it."""
    key = record["key"]
    sizes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in key["shapes"].items())
    made_for = f"{key['product']} {key['version']}, compute capability {key['compute_capability']}, {sizes}"
    real = in_words(record["precision"], {"weighted_ops": record["real"]})
    return f"{made_for}: computes in {real}; built from {record['network']}, in {record['asked']}"


def _cost(record: Mapping[str, Any]) -> Iterator[str]:
    """What a lower precision costs where it was exported."""
    if computed := record.get("computed"):
        rounded = "; compared with every value rounded to fp16" if record.get("rounded") else ""
        real = in_words(computed["precision"], computed)
        yield f"ONNX Runtime on an {computed['machine']} CPU computes it in {real}{rounded}"
    if speed := record.get("speed"):
        yield "{times_as_fast:.2f} times as fast as fp32 there: {ms:.3g} ms, fp32 {fp32_ms:.3g} ms".format_map(speed)
    if repair := record.get("repair"):
        kept = [one["layer"] for one in repair["kept"]]
        yield f"{len(kept)} of {repair['layers']} layers in fp32: {', '.join(kept)}"
        yield "its README.md has what other numbers of layers score and cost"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
