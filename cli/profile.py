"""`helmsight profile`: what a bundle costs on this machine, on boards over SSH, or by prediction on others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..devices.errors import UsageError
from ._measured import print_measured

if TYPE_CHECKING:
    from ..devices.errors import HelmsightError
    from ..runtime.bundle import Bundle
    from ..runtime.profiler import Profile, ProfileOptions, Scenario
    from ..runtime.profiler.measured import Measured
    from ..runtime.profiler.predicted import Predicted

    Keep = Callable[[Sequence[Profile]], None]
    Found = tuple[list[Measured], list[HelmsightError]]
    """What was measured, and what failed."""


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
    source: Annotated[str | None, typer.Option(help="Frames to feed, @FILE: named in it; without, a clip.")] = None,
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
    outputs = _Outputs(output, plot, trace, layers, as_json)
    measuring: dict[str, object] = {"--threads": threads, "--stages": stages, "--source": source}
    measuring |= {"--device": device != "cpu", "--scenario": arriving.arguments()} | outputs.given()
    _check_predictable(boards, {"--imgsz": imgsz, **({} if there else measuring)})
    predicted = _predict(bundles, boards)
    if boards and not there:
        print_measured([], predicted, as_json)
        return
    from ..runtime.backends import SessionOptions
    from ..runtime.bundle import open_bundle, resize_bundles
    from ..runtime.profiler import Limits, ProfileOptions
    from ._options import image_size, source_uri

    outputs.check(device)
    source = None if source is None else source_uri(source)
    limits = Limits(duration, queries)
    options = ProfileOptions(SessionOptions(device, threads), limits, stages, source, scenario=arriving)
    opened = [open_bundle(b) for b in bundles]
    if imgsz:
        opened = resize_bundles(opened, image_size(imgsz))
    measure = partial(_measure_there, there, bool(layers or trace)) if there else _measure_here
    found, failed = measure(opened, options, outputs.keep)
    _write(outputs, opened, options, found, predicted)
    for error in failed[:-1]:
        print(f"helmsight: {error}", file=sys.stderr)
    if failed:
        raise failed[-1]


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What is written and printed."""

    record: Path | None
    plot: Path | None
    trace: Path | None
    layers: bool
    as_json: bool

    def given(self) -> dict[str, object]:
        """The options, with something true where they are given."""
        return {"--output": self.record, "--plot": self.plot, "--trace": self.trace, "--layers": self.layers}

    def check(self, device: str) -> None:
        """Raise UsageError for what cannot be made."""
        from ..runtime.profiler.plot import check_path
        from ._layers import check_layers

        for option, file in (("--output", self.record), ("--trace", self.trace)):
            if file and not file.parent.is_dir():
                raise UsageError(f"{option} {file}: there is no folder {file.parent}; make it first")
            if file and file.is_dir():
                raise UsageError(f"{option} {file}: a folder; expected a file in it")
        if self.plot:
            check_path(self.plot)
        if self.layers or self.trace:
            check_layers(device, self.trace)

    def keep(self, profiles: Sequence[Profile]) -> None:
        """Write what was measured so far."""
        from ..runtime.profiler import save_profiles

        if self.record:
            save_profiles(self.record, profiles)


def _check_predictable(boards: Sequence[str], given: Mapping[str, object]) -> None:
    """Raise UsageError for an option that a prediction knows nothing of."""
    if boards and (named := [option for option, value in given.items() if value]):
        raise UsageError(
            f"--on {boards[0]} predicts the network alone, at its usual size, one query after the other; leave out "
            f"{', '.join(named)}, or that --on"
        )


def _write(
    outputs: _Outputs,
    bundles: Sequence[Bundle],
    options: ProfileOptions,
    found: Sequence[Measured],
    predicted: Sequence[Predicted],
) -> None:
    """The picture, the layers and what is printed, of all that was measured."""
    from ..runtime.profiler.plot import plot_profiles
    from ._layers import print_layers, with_layers, write_layers

    if outputs.plot and found:
        plot_profiles([one.profile for one in found], outputs.plot)
    try:
        if outputs.layers or outputs.trace:
            found = with_layers(bundles[: len(found)], found, options)
            outputs.keep([one.profile for one in found])
        if outputs.trace and any(one.trace for one in found):
            write_layers(outputs.trace, found)
    finally:  # what was measured is printed also where the layers cannot be
        print_measured([(one.where, one.profile) for one in found], predicted, outputs.as_json)
    if outputs.layers and not outputs.as_json:
        print_layers(found)


def _measure_here(bundles: Sequence[Bundle], options: ProfileOptions, keep: Keep) -> Found:
    """One after the other; where a later one fails, what was measured before is kept."""
    from ..devices.errors import HelmsightError
    from ..runtime.profiler import profile as measure
    from ..runtime.profiler.measured import Measured

    found: list[Measured] = []
    for bundle in bundles:
        print(f"measuring {bundle.manifest.name} for at least {options.limits.duration_s:g} s", file=sys.stderr)
        try:
            found.append(Measured(None, measure(bundle, options)))
        except HelmsightError as error:
            if not found:
                raise
            return found, [error]
        keep([one.profile for one in found])
    return found, []


def _measure_there(
    there: Sequence[str], layers: bool, bundles: Sequence[Bundle], options: ProfileOptions, keep: Keep
) -> Found:
    from ..runtime.profiler.address import parse_address
    from ..runtime.profiler.remote import profile_on

    addresses = [parse_address(text) for text in there]
    boards = [one.board for one in addresses]
    if twice := [str(one) for number, one in enumerate(addresses) if one.board in boards[:number]]:
        raise UsageError(f"--on {twice[0]} is given twice; two runs at once on one board would disturb each other")
    names = ", ".join(bundle.manifest.name for bundle in bundles)
    for address in addresses:
        print(f"measuring {names} on {address} for at least {options.limits.duration_s:g} s each", file=sys.stderr)
    return profile_on(
        addresses, bundles, options, lambda done: keep([one.profile for one in done]), sys.stdin.isatty(), layers
    )


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
    from ..runtime.bundle import open_bundle
    from ..runtime.profiler.predicted import predict_bundle
    from ._options import boards as named

    devices = named(boards)
    return [one for name in bundles if devices for one in predict_bundle(open_bundle(name), devices)]
