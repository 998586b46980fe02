"""The layers of what `helmsight profile` measured: timed in a run of their own, printed, and written as a trace."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..devices.errors import UsageError
from ._output import table

if TYPE_CHECKING:
    from ..runtime.bundle import Bundle
    from ..runtime.profiler import Profile, ProfileOptions
    from ..runtime.profiler.layer_profile import Layer, LayerProfile
    from ..runtime.profiler.measured import Measured

SHOWN = 10


def check_layers(device: str, trace: Path | None) -> None:
    """What can be known before anything is measured; UsageError."""
    from ..runtime.profiler.layers import DEVICES

    if device not in DEVICES:
        raise UsageError(f"--layers: --device {device} does not time its layers; expected {', '.join(DEVICES)}")
    if trace and trace.suffix.lower() != ".json":
        raise UsageError(
            f"--trace {trace}: the ending is {trace.suffix!r}; expected .json, which Perfetto and Chrome open"
        )
    if trace and not trace.parent.is_dir():
        raise UsageError(f"--trace {trace}: there is no folder {trace.parent}; make it first")


def with_layers(bundles: Sequence[Bundle], runs: Sequence[Measured], options: ProfileOptions) -> list[Measured]:
    """`runs` with the layers of their `bundles`, timed now if they ran here: elsewhere they were timed then."""
    from ..runtime.profiler.layers import profile_layers
    from ..runtime.profiler.trace import process_of

    if not runs or any(run.address for run in runs):
        return list(runs)
    print("timing the layers, in a run of its own", file=sys.stderr)
    made = []
    for bundle, run in zip(bundles, runs, strict=True):
        layers, timeline = profile_layers(bundle, options)
        made.append(replace(run, profile=replace(run.profile, layers=layers), trace=process_of(timeline, run.title)))
    return made


def write_layers(trace: Path, runs: Sequence[Measured]) -> None:
    """The layers of `runs` over time."""
    from ..runtime.profiler.trace import write_trace

    write_trace(trace, [run.trace for run in runs])
    print(f"wrote {trace}; open it at ui.perfetto.dev or in chrome://tracing", file=sys.stderr)


def print_layers(runs: Sequence[Measured]) -> None:
    """The slowest layers of each run that has some, and what must be known to read them."""
    for run in runs:
        layers = run.profile.layers
        if layers is None:
            continue
        slowest = layers.slowest(SHOWN)
        table(
            f"layers of {run.title}: the {len(slowest)} slowest of {len(layers.layers)}",
            ("module", "layer", "operator", "ms", "share", "operations", "bytes", "of the roofline"),
            [_cells(layers, layer) for layer in slowest],
            again=1,
        )
        print("\n".join(_lines(run.title, run.profile, layers)))


def _cells(layers: LayerProfile, layer: Layer) -> list[str]:
    reached = layers.of_roofline(layer)
    return [
        {None: "not available", "": "(the network)"}.get(layer.module, str(layer.module)),
        layer.name,
        layer.operator,
        f"{layer.ms:.3f}",
        f"{layer.ms / layers.layers_ms:.1%}",
        _count(layer.operations),
        _count(layer.moved_bytes),
        "not available" if reached is None else f"{reached[0]:.0%} of {reached[1]}",
    ]


def _count(value: int | None) -> str:
    """To three digits, such as 1.66e7 in engineers' form: 16.6 M."""
    if value is None:
        return "not available"
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return str(value)


def _lines(name: str, profile: Profile, layers: LayerProfile) -> list[str]:
    shown = sum(layer.ms for layer in layers.slowest(SHOWN)) / layers.layers_ms
    alone = next((s.percentiles[0].ms for s in profile.summaries if s.stage == "inference"), None)
    beside = "" if alone is None else f", {alone:.3f} ms without it"
    peak, bandwidth = layers.rates.peak_gflops, layers.rates.bandwidth_gb_s
    rates = ", ".join(
        f"{name} not available" if value is None else f"{name} {value:.3g}e9 {unit} a second"
        for name, value, unit in (("peak", peak, "operations"), ("bandwidth", bandwidth, "bytes"))
    )
    return [
        f"{name}: medians of {layers.runs} runs with {layers.profiler} on, which costs time: a run took "
        f"{layers.run_ms:.3f} ms{beside}; {layers.layers_ms:.3f} ms in layers, {shown:.0%} of that in those shown",
        f"{name}: {rates} ({layers.rates.origin})",
    ]
