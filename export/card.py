"""The model card, `README.md` in the bundle: what the network is for, how good it is, where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..runtime.bundle import Manifest, TensorSpec
from ..runtime.inspection import GENERIC, bf16_in_words, in_words, inputs_in_words

TASKS = {
    "face": "finds faces in a picture",
    "navigate": "steers a small robot through rooms: steering, collision probability, free space, the way on",
    "": "a network of the user's own; helmsight runs it and does not decode its outputs",
}


def model_card(manifest: Manifest) -> str:
    """Markdown, made from the manifest alone."""
    sections = (
        ("Inputs and outputs", _tensors(manifest)),
        ("Scores", _scores(manifest.metrics)),
        ("Checked against its source", _parity(manifest.parity)),
        ("Layers kept in fp32", _repair(manifest.parity)),
        ("On a board", _boards(manifest.parity)),
        ("Training", _training(manifest.provenance["source"])),
        ("Limits", _limits(manifest)),
        ("Made with", _made(manifest.provenance)),
    )
    head = f"# {manifest.name}\n\nTask `{manifest.task or GENERIC}`: {TASKS.get(manifest.task, manifest.task)}.\n"
    return head + "".join(f"\n## {title}\n\n{body}\n" for title, body in sections if body)


def _tensors(manifest: Manifest) -> str:
    rows = [("input", spec) for spec in manifest.inputs] + [("output", spec) for spec in manifest.outputs]
    lines = [f"| {kind} | `{spec.name}` | {_shape(spec)} | {_meaning(spec)} |" for kind, spec in rows]
    return "\n".join(["| | name | shape | what |", "|---|---|---|---|", *lines])


def _shape(spec: TensorSpec) -> str:
    return f"{spec.dtype} {'x'.join(str(d) for d in spec.shape) or 'scalar'}"


def _meaning(spec: TensorSpec) -> str:
    limits = f"{spec.range[0]:g}..{spec.range[1]:g}" if spec.range else ""
    return " ".join(part for part in (spec.layout, spec.colour, limits) if part)


def _scores(metrics: Mapping[str, Any]) -> str:
    if not metrics:
        return "None were measured."
    lines = [
        f"| {name} | {_number(m.get('value'))} | {m.get('data', '')} | {m.get('n', '')} |"
        for name, m in metrics.items()
    ]
    return "\n".join(["| metric | value | data | n |", "|---|---|---|---|", *lines])


def _parity(parity: Mapping[str, Any]) -> str:
    lines = []
    for target, record in parity.items():
        if "artefacts" in record:
            continue
        precision = in_words(record["precision"], record["real"])
        lines.append(
            f"- `{target}`: {precision}, against {record['reference']} on {inputs_in_words(record['n'])} "
            f"({record['inputs']}): largest difference {record['max_abs']:.2g}, relative {record['max_rel']:.2g}."
        )
        lines += [
            f"  - {name}: {_number(pair['fp32'])} before, {_number(pair['exported'])} exported"
            for name, pair in record.get("score", {}).items()
        ]
        lines += [f"  - {line}" for line in _cost(record)]
        if bf16 := record.get("bf16"):
            lines.append(f"  - {bf16_in_words(bf16)}.")
            lines += [
                f"  - {name}: {_number(pair['fp32'])} before, {_number(pair['exported'])} in bf16"
                for name, pair in bf16.get("score", {}).items()
            ]
    return "\n".join(lines)


def _cost(record: Mapping[str, Any]) -> list[str]:
    """What a lower precision costs and brings where it was exported."""
    lines = []
    if computed := record.get("computed"):
        lines.append(
            f"ONNX Runtime on an {computed['machine']} CPU computes it in {in_words(computed['precision'], computed)}."
        )
    if record.get("rounded"):
        lines.append("The figures above are with every value rounded to float16, as a GPU has them.")
    if speed := record.get("speed"):
        lines.append(
            f"{speed['times_as_fast']:.2f} times as fast as fp32 on one thread of that CPU: {speed['ms']:.3g} ms, "
            f"fp32 {speed['fp32_ms']:.3g} ms (medians of {speed['n']} runs in turns)."
        )
    return lines


def _repair(parity: Mapping[str, Any]) -> str:
    """Score and speed against the number of layers that stay in fp32."""
    parts = []
    for repair in (record["repair"] for record in parity.values() if record.get("repair")):
        kept = ", ".join(f"`{k['layer']}` ({_error(k['error'])})" for k in repair["kept"])
        parts.append(
            f"{len(repair['kept'])} of {repair['layers']} layers stay in fp32: {kept}. In brackets: how far the "
            "outputs are off, added up, when that layer alone is in the lower precision."
        )
        names = list(repair["trials"][-1]["scores"])
        rows = [
            f"| {t['kept']} | {'yes' if t['passed'] else t['missed']} | "
            + "".join(f"{_number(t['scores'].get(name, ''))} | " for name in names)
            + f"{t['times_as_fast']:.2f} | {t['bytes']:,} |"
            for t in repair["trials"]
        ]
        head = ["layers in fp32", "passes the gates", *names, "times as fast as fp32", "bytes"]
        parts.append("\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows]))
    return "\n\n".join(parts)


def _error(error: float | None) -> str:
    return "values that are not finite" if error is None else _number(error)


def _boards(parity: Mapping[str, Any]) -> str:
    """What each target runs, and how."""
    rows = [
        f"| `{target}` | {kind} | {one['precision']} | `{one['run']}` |"
        for target, record in parity.items()
        for kind, one in record.get("artefacts", {}).items()
    ]
    head = [
        "| target | artefact | precision | there, in the folder of this bundle or in `targets/TARGET` |",
        "|---" * 4 + "|",
    ]
    return "\n".join([*head, *rows]) if rows else ""


def _training(source: Mapping[str, Any]) -> str:
    """What the checkpoint says of its training, in its own words."""
    return "\n".join(_listed(source.get("training", {}))) or "Not known to helmsight."


def _limits(manifest: Manifest) -> str:
    lines = [f"- {line}" for line in manifest.provenance["source"].get("limits", ())]
    lines += [f"- Input `{spec.name}` {_shape(spec)}: {_sizes(spec)}." for spec in manifest.inputs]
    if any(not record.get("inputs_are_real", True) for record in manifest.parity.values()):
        lines.append("- It was compared with its source on generated inputs only, not on real ones.")
    if not manifest.metrics:
        lines.append("- No score was measured: how good it is at its task is not known here.")
    return "\n".join(lines)


def _sizes(spec: TensorSpec) -> str:
    if not spec.multiple:
        return "it takes just this size"
    return f"height and width may be other multiples of {spec.multiple}, chosen when it is loaded (`--imgsz`)"


def _made(provenance: Mapping[str, Any]) -> str:
    graph, source = provenance["graph"], provenance["source"]
    macs = "unknown" if graph["macs"] is None else f"{graph['macs'] / 1e6:.4g} M"
    hashes = {key.removesuffix("_sha256"): value for key, value in source.items() if key.endswith("_sha256") and value}
    lines = [
        f"- source: {source['kind']} `{source['model']}`",
        f"- size: {graph['parameters']:,} parameters, {macs} multiply-accumulates a run, opset {graph['opset']}",
        *(f"- {name} SHA-256: `{value}`" for name, value in hashes.items()),
        "- versions: " + ", ".join(f"{name} {version}" for name, version in provenance["versions"].items()),
    ]
    return "\n".join(lines)


def _listed(data: Mapping[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}- {key}:", *_listed(value, indent + "  ")]
        else:
            shown = ", ".join(str(v) for v in value) if isinstance(value, (list, tuple)) else str(value)
            lines.append(f"{indent}- {key}: {shown}")
    return lines


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
