"""What `helmsight profile` prints: what was measured, and what was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._output import print_json, table

if TYPE_CHECKING:
    from ..runtime.profiler import Profile
    from ..runtime.profiler.predicted import Predicted
    from ..runtime.profiler.record import Summary


def print_measured(found: Sequence[tuple[str, Profile]], predicted: Sequence[Predicted], as_json: bool) -> None:
    """What was measured and what was predicted, which never stand in one table."""
    from ..runtime.profiler.record import to_json

    if as_json:
        predictions = {"predictions": [one.to_json() for one in predicted]} if predicted else {}
        print_json((to_json([one for _, one in found]) if found or not predicted else {}) | predictions)
        return
    if found:
        _report("MEASURED latency in ms" if predicted else "latency in ms", found)
    if predicted:
        _report_predicted(predicted)


def _report_predicted(predicted: Sequence[Predicted]) -> None:
    table(
        "PREDICTED latency of the network alone, ms (nothing was measured on these boards)",
        (
            "bundle",
            "board",
            "precision",
            "predicted",
            f"{predicted[0].prediction.coverage:.0%} interval",
            "memory, at least",
        ),
        [_predicted_cells(one) for one in predicted],
    )
    for line in dict.fromkeys(f"! {one.bundle}: {why}" for one in predicted for why in one.prediction.outside):
        print(line)
    for line in dict.fromkeys(
        f"{one.bundle}: memory not available, {one.memory_note}" for one in predicted if one.memory_note
    ):
        print(line)
    print("fitted to published figures of TensorRT at batch 1; docs/prediction.md says how far off it is")


def _predicted_cells(one: Predicted) -> list[str]:
    said = one.prediction
    around = f"{said.low_ms:.3g}..{said.high_ms:.3g}"
    memory = "not available" if one.memory_bytes is None else f"{one.memory_bytes / 1e6:.3g} MB"
    if one.memory_bytes is not None and one.board_bytes:
        memory += f" of {one.board_bytes / 1e9:g} GB"
    return [one.bundle, said.device, said.precision, f"~{said.ms:.3g}", around, memory]


def _report(title: str, found: Sequence[tuple[str, Profile]]) -> None:
    names = [one.bundle + (f" on {where}" if where else "") for where, one in found]
    rows = [
        ("" if i else name, *_cells(summary))
        for name, (_, one) in zip(names, found, strict=True)
        for i, summary in enumerate(one.summaries)
    ]
    table(title, ("bundle", "stage", "queries", "p50", "its 95 %", "p90", "p99", "max"), rows, again=2)
    for name, (_, one) in zip(names, found, strict=True):
        print("\n".join(_lines(name, one)))


def _cells(summary: Summary) -> list[str]:
    tail = [f"{q.ms:.3f}" + ("" if q.supported else "*") for q in summary.percentiles]
    around = f"{summary.median_ms.low:.3f}..{summary.median_ms.high:.3f}"
    return [summary.stage, f"{summary.n:,}", tail[0], around, *tail[1:], f"{summary.max_ms:.3f}"]


def _lines(name: str, one: Profile) -> list[str]:
    """What made the figures, and what to know of them; `*` in the table points here."""
    from ..runtime.profiler.scenario import outcome_in_words

    warm_up, overhead = one.warm_up, one.overhead
    made = (
        f"{name}: {one.device}, {one.precision}, {one.threads} thread{'s' * (one.threads != 1)}; "
        f"fed with {one.feeds}; warm-up {warm_up.queries} queries in {warm_up.seconds:.1f} s; "
        f"loop {overhead.per_query_us:.2f} us a query, {overhead.in_sample_us:.2f} us of it in each sample"
    )
    warnings = [("* " if w.startswith("tail") else "! ") + w for w in one.warnings]
    came_of_it = outcome_in_words(one.scenario)
    return [made, *([f"{name}: {came_of_it}"] if came_of_it else []), f"{name}: {_conditions(one)}", *warnings]


def _conditions(one: Profile) -> str:
    from ..runtime.profiler.conditions import clocks_and_heat, energy_in_words, gpu_in_words

    took = one.energy
    set_ = {"power mode": one.machine.get("power_mode"), "governor": one.machine.get("governor")}
    energy = (
        f"energy a query not available ({took})" if isinstance(took, str) else f"energy a query {energy_in_words(took)}"
    )
    ran_on = [f"GPU {gpu_in_words(one.gpu)}"] if one.gpu else []
    return "; ".join([energy, *ran_on, *clocks_and_heat(one.own_sensors), *(f"{k} {v}" for k, v in set_.items() if v)])
