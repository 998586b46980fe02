"""`helmsight demo`: everything that ships, once: camera, map, profile. What `make demo` runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..devices.errors import UsageError
from ._output import table
from .camera import map_rows, run_camera

if TYPE_CHECKING:
    from ..runtime.camera import CameraReport
    from ..runtime.profiler import Profile


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the video, the map and the profile.")] = Path("out"),
    duration: Annotated[float, typer.Option(help="Seconds to measure each network.", min=0.1)] = 3.0,
) -> None:
    """Run both shipped bundles on the shipped clip: an annotated video, a map, and a latency report."""
    from ..runtime.camera import CameraOptions

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}; expected a folder that can be written") from error
    names = ("demo.mp4", "map.png", "map.yaml", "map-drive.png", "results.jsonl", "profile.json", "profile.png")
    files = {name: out / name for name in names}
    print("helmsight: running face and navigate on sample://corridor", file=sys.stderr)
    options = CameraOptions(
        bundles=("face", "navigate"),
        source="sample://corridor",
        record=files["demo.mp4"],
        log=files["results.jsonl"],
        map=files["map.png"],
    )
    report, code = run_camera(options)
    if code:
        raise typer.Exit(code)
    profiles = _profile(duration, files["profile.json"], files["profile.png"])
    table("demo", ("what", "value"), _rows(report, profiles))
    for line in (f"{one.bundle}: {warning}" for one in profiles for warning in one.warnings):
        print(f"! {line}")
    for name, path in files.items():
        print(f"{name.ljust(14)} {path}")


def _profile(duration_s: float, record: Path, plot: Path) -> list[Profile]:
    from ..runtime.bundle import open_bundle
    from ..runtime.profiler import Limits, ProfileOptions, profile, save_profiles
    from ..runtime.profiler.plot import plot_profiles

    profiles = []
    for name in ("face", "navigate"):
        print(f"helmsight: measuring {name} from frame to result for {duration_s:g} s", file=sys.stderr)
        options = ProfileOptions(limits=Limits(duration_s), stages=True)
        profiles.append(profile(open_bundle(name), options))
    save_profiles(record, profiles)
    plot_profiles(profiles, plot)
    return profiles


def _rows(report: CameraReport, profiles: list[Profile]) -> list[tuple[str, str]]:
    summary, age = report.summary, report.summary.times["age"]
    lost = sum(summary.overwritten.values()) + report.recording_dropped
    rows = [
        ("frames", f"{summary.results}, {lost} lost, {summary.frames_per_s:.0f} a second with recording and map"),
        (
            "age of a result",
            f"p50 {age.p50_ms:.1f} ms, p99 {age.p99_ms:.1f} ms (a file's frames wait for the encoder)",
        ),
    ]
    rows += map_rows(report.map) if report.map else []
    for one in profiles:
        for stage in one.summaries:
            p50, _, p99 = (percentile.ms for percentile in stage.percentiles)
            rows.append(
                (
                    f"{one.bundle} {stage.stage}",
                    f"p50 {p50:.2f} ms, p99 {p99:.2f} ms of {stage.n:,} queries, {one.threads} threads",
                )
            )
    return rows
