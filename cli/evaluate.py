"""`helmsight evaluate`: how well a bundle does its task."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ..devices.errors import UsageError, need
from ._output import print_json, table

BESIDE = ("expert", "straight_on")
"""Whose scores `evaluate` may have beside the bundle's own, as `expert_collisions`."""
DRIVING = ("courses", "seed", "pilot", "boxes", "late_ms", "drop_every", "pitch_offset", "light")
"""Parameters that mean something to navigation alone."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    context: typer.Context,
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or one that ships.")],
    data: Annotated[str | None, typer.Option(help="Faces: a folder with boxes.json, or wider:DIR.")] = None,
    courses: Annotated[int, typer.Option(min=0, help="Navigation: laps to drive; 0: only look at frames.")] = 10,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the first course; else the first of the tests.")] = None,
    pilot: Annotated[
        bool, typer.Option(help="Drive on the map that is made on the way, or by the network alone.")
    ] = True,
    boxes: Annotated[int, typer.Option(min=0, help="Navigation: boxes to drop before the moving robot.")] = 0,
    late_ms: Annotated[float, typer.Option(min=0, max=2000, help="Commands act so many milliseconds late.")] = 0.0,
    drop_every: Annotated[int, typer.Option(min=0, help="Of so many frames one is lost; 0: none.")] = 0,
    pitch_offset: Annotated[float, typer.Option(help="The camera looks so many degrees lower than is known.")] = 0.0,
    light: Annotated[float, typer.Option(min=0.01, max=4, help="Times the usual light.")] = 1.0,
    imgsz: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", help="Input size, where the network takes several.")
    ] = "",
    tile: Annotated[bool, typer.Option("--tile", help="Look for small faces in parts of the picture too.")] = False,
    device: Annotated[str, typer.Option(help="cpu, openvino, tuned, cuda, tensorrt or tensorrt-rtx.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Measure a bundle: average precision for faces, closed-loop laps in the simulator for navigation."""
    from ..runtime.backends import SessionOptions, load
    from ..runtime.backends.one_by_one import OneByOne
    from ..runtime.bundle import open_bundle
    from ..runtime.tasks import tile_faces
    from ._options import image_size

    opened = open_bundle(bundle)
    if opened.manifest.task != "navigate":
        _no_driving(context, opened.manifest.name)
    if imgsz:
        opened = opened.resized(image_size(imgsz))
    if tile:
        (opened,) = tile_faces([opened])
    need("torch", "train")
    hard = {"late_ms": late_ms, "drop_every": drop_every, "pitch_offset_deg": pitch_offset, "light": light}
    drive = {"courses": courses, "seed": seed, "pilot": pilot, "boxes": boxes, **hard}
    from ..train.tasks import evaluate as measure

    with OneByOne(load(opened, SessionOptions(device=device))) as session:
        metrics = measure(session, opened.manifest, data, drive if courses or boxes else None)
        ran = {"device": session.device, "precision": session.precision}
    record = {"bundle": opened.manifest.name, "task": opened.manifest.task, **ran, "metrics": metrics}
    if as_json:
        print_json(record)
        return
    if any(m["n"] == 1 for m in metrics.values()):
        print("helmsight: a score of n 1 tells little of what comes next; measure on more", file=sys.stderr)
    _print(f"{record['bundle']} on {ran['device']} in {ran['precision']}", metrics)


def _no_driving(context: typer.Context, bundle: str) -> None:
    """Raise UsageError for an option of driving that was given for a bundle that does not drive."""
    for name in DRIVING:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--no-pilot" if context.params[name] is False else "--" + name.replace("_", "-")
            raise UsageError(f"{option} is of navigation, and {bundle} does not drive; leave it out")


def _print(title: str, metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """A table: those that drove the same laps in columns of their own, what all was measured on in the title."""
    beside = [who for who in BESIDE if any(name.startswith(f"{who}_") for name in metrics)]
    own = [name for name in metrics if not name.startswith(tuple(f"{who}_" for who in beside))]
    data = {(str(m["data"]), str(m["n"])) for m in metrics.values()}
    rows = []
    for name in own:
        found = [metrics.get(key) for key in (name, *(f"{who}_{name}" for who in beside))]
        values = ["" if one is None else f"{one['value']:.4g}" for one in found]
        where = () if len(data) == 1 else (str(metrics[name]["data"]), str(metrics[name]["n"]))
        rows.append((name, *values, *where))
    columns = ["metric", "value", *(who.replace("_", " ") for who in beside)]
    if len(data) == 1:
        ((all_on, n),) = data
        title += f": {all_on}, n {n}"
    table(title, columns if len(data) == 1 else [*columns, "data", "n"], rows)
