"""`helmsight profile`: what a bundle costs on this machine, on boards over SSH, or by prediction on others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..devices.errors import UsageError
from ._output import print_json, table

if TYPE_CHECKING:
    from ..devices.errors import HelmsightError
    from ..runtime.bundle import Bundle
    from ..runtime.profiler import Profile, ProfileOptions, Scenario
    from ..runtime.profiler.predicted import Predicted
    from ..runtime.profiler.record import Summary

    Keep = Callable[[Sequence[Profile]], None]
    Found = tuple[list[tuple[str, Profile]], list[HelmsightError]]
    """Where, and what was measured there; and what failed."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(profile)


def profile(
    bundles: Annotated[list[str], typer.Argument(metavar="BUNDLE...", help="Bundles to measure, one after the other.")],
    duration: Annotated[float, typer.Option(min=0, help="Seconds that each run lasts at least.")] = 10.0,
    queries: Annotated[int, typer.Option(min=1, help="Queries that each run has at least.")] = 100,
    stages: Annotated[bool, typer.Option("--stages", help="From frame to result, not the network alone.")] = False,
    scenario: Annotated[
        str, typer.Option(help="How queries arrive: single-stream, offline (all at once) or camera (at a rate).")
    ] = "single-stream",
    streams: Annotated[
        int | None, typer.Option(help="Of offline: sessions side by side; else as many as the cores are for.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Of camera: frames a second; else 30.")] = None,
    deadline: Annotated[
        float | None, typer.Option(help="Of camera: milliseconds from a frame to its result; else one frame time.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the engine; 0: as many as it may use.")] = 0,
    imgsz: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", help="Input size, of the networks that take several.")
    ] = "",
    device: Annotated[str, typer.Option(help="cpu, openvino, tuned, cuda, tensorrt or tensorrt-rtx.")] = "cpu",
    source: Annotated[str | None, typer.Option(help="Frames to feed; without it, the clip that ships.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the record, all samples in it.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the distribution and the stages (.png, .svg, .pdf).")] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BOARD|ssh://HOST",
            help="Predict for a board that is not here, or measure on one over SSH; may be repeated.",
        ),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Time the layers too, in a run of its own.")] = False,
    trace: Annotated[
        Path | None, typer.Option(help="Write stages and layers over time, in Chrome's trace format (.json).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Measure latency on this machine: p50, p90, p99 with the samples that support them, and what made them.

    With --on ssh://[user@]host[:port] it is measured there. With the name of a board nothing is measured: what the
    network alone would take there is predicted, with an interval. Both may be given.
    """
    arriving = _scenario(scenario, {"streams": streams}, {"fps": rate, "deadline_ms": deadline})
    if not isfinite(duration):
        raise UsageError(f"--duration {duration}: expected seconds")
    there = [name for name in on or () if "://" in name]
    boards = [name for name in on or () if "://" not in name]
    if boards and not there and (threads or scenario != "single-stream"):
        what = f"--threads {threads}" if threads else f"--scenario {scenario}"
        raise UsageError(f"--on {boards[0]} predicts one query after the other and knows no threads; leave out {what}")
    if boards and (imgsz or (not there and (stages or output or plot or source or layers or trace))):
        raise UsageError(
            f"--on {boards[0]} predicts the network alone at its usual size; leave out what measures, or that --on"
        )
    predicted = _predict(bundles, boards)
    if boards and not there:
        _print([], predicted, as_json)
        return
    from ..runtime.backends import SessionOptions
    from ..runtime.bundle import open_bundle, resize_bundles
    from ..runtime.profiler import Limits, ProfileOptions, save_profiles
    from ..runtime.profiler.plot import check_path, plot_profiles
    from ._layers import check_layers, print_layers, with_layers
    from ._options import image_size

    _check_files(output, trace)
    if plot:
        check_path(plot)
    if layers or trace:
        check_layers(device, there, trace)
    limits = Limits(duration, queries)
    options = ProfileOptions(SessionOptions(device, threads), limits, stages, source, scenario=arriving)
    opened = [open_bundle(b) for b in bundles]
    if imgsz:
        opened = resize_bundles(opened, image_size(imgsz))

    def keep(profiles: Sequence[Profile]) -> None:
        if output:
            save_profiles(output, profiles)

    found, failed = _measure_there(there, opened, options, keep) if there else _measure_here(opened, options, keep)
    profiles = [one for _, one in found]
    if plot and profiles:
        plot_profiles(profiles, plot)
    try:
        if layers or trace:
            profiles = with_layers(opened[: len(profiles)], profiles, options, trace)
            keep(profiles)
    finally:  # what was measured is printed also where the layers cannot be
        _print([(where, one) for (where, _), one in zip(found, profiles, strict=True)], predicted, as_json)
    if layers and not as_json:
        print_layers(profiles)
    for error in failed[:-1]:
        print(f"helmsight: {error}", file=sys.stderr)
    if failed:
        raise failed[-1]


def _check_files(*files: Path | None) -> None:
    """Raise UsageError for a file that cannot be made."""
    for option, file in zip(("--output", "--trace"), files, strict=True):
        if file and not file.parent.is_dir():
            raise UsageError(f"{option} {file}: there is no folder {file.parent}; make it first")
        if file and file.is_dir():
            raise UsageError(f"{option} {file}: a folder; expected a file in it")


def _measure_here(bundles: Sequence[Bundle], options: ProfileOptions, keep: Keep) -> Found:
    """One after the other; where a later one fails, what was measured before is kept."""
    from ..devices.errors import HelmsightError
    from ..runtime.profiler import profile as measure

    found: list[tuple[str, Profile]] = []
    for bundle in bundles:
        print(f"measuring {bundle.manifest.name} for at least {options.limits.duration_s:g} s", file=sys.stderr)
        try:
            found.append(("", measure(bundle, options)))
        except HelmsightError as error:
            if not found:
                raise
            return found, [error]
        keep([one for _, one in found])
    return found, []


def _measure_there(there: Sequence[str], bundles: Sequence[Bundle], options: ProfileOptions, keep: Keep) -> Found:
    from ..runtime.profiler.address import parse_address
    from ..runtime.profiler.remote import profile_on

    addresses = [parse_address(text) for text in there]
    boards = [one.board for one in addresses]
    if twice := [str(one) for number, one in enumerate(addresses) if one.board in boards[:number]]:
        raise UsageError(f"--on {twice[0]} is given twice; two runs at once on one board would disturb each other")
    names = ", ".join(bundle.manifest.name for bundle in bundles)
    for address in addresses:
        print(f"measuring {names} on {address} for at least {options.limits.duration_s:g} s each", file=sys.stderr)
    found, failed = profile_on(
        addresses, bundles, options, lambda done: keep([one for _, one in done]), ask=sys.stdin.isatty()
    )
    return [(str(address), one) for address, one in found], failed


def _scenario(name: str, offline: Mapping[str, int | None], camera: Mapping[str, float | None]) -> Scenario:
    """The scenario out of its options; UsageError for an option of another one."""
    from ..runtime.profiler.scenario import CAMERA, OFFLINE, Scenario

    given: dict[str, Any] = {}
    for belongs, options in ((OFFLINE, offline), (CAMERA, camera)):
        said = {key: value for key, value in options.items() if value is not None}
        if said and name != belongs:
            words = {"fps": "rate", "deadline_ms": "deadline"}
            named = ", ".join(f"--{words.get(key, key)}" for key in said)
            raise UsageError(f"{named} is of --scenario {belongs}, and {name} is asked for; leave one of them out")
        given |= said
    return Scenario(name, **given)


def _predict(bundles: Sequence[str], boards: Sequence[str]) -> list[Predicted]:
    from ..devices.device import device
    from ..runtime.bundle import open_bundle
    from ..runtime.profiler.predicted import predict_bundle

    devices = [device(name) for name in boards]
    return [one for name in bundles if devices for one in predict_bundle(open_bundle(name), devices)]


def _print(found: Sequence[tuple[str, Profile]], predicted: Sequence[Predicted], as_json: bool) -> None:
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
    table(title, ("bundle", "stage", "queries", "p50", "its 95 %", "p90", "p99", "max"), rows)
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
    from ..runtime.profiler.conditions import clocks_and_heat, energy_in_words

    took = one.energy
    set_ = {"power mode": one.machine.get("power_mode"), "governor": one.machine.get("governor")}
    energy = (
        f"energy a query not available ({took})" if isinstance(took, str) else f"energy a query {energy_in_words(took)}"
    )
    return "; ".join([energy, *clocks_and_heat(one.sensors), *(f"{k} {v}" for k, v in set_.items() if v)])
