"""`helmsight camera`: run bundles on a camera, a file, or the simulator."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..devices.errors import HelmsightError, UsageError
from ._options import by_model, image_size, numbers, source_uri
from ._output import print_json, table

if TYPE_CHECKING:
    from ..runtime.camera import Camera, CameraOptions, CameraReport
    from ..runtime.driving.local import RobotShape
    from ..runtime.mapping.from_results import MapReport
    from ..runtime.sources import CameraGeometry


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(camera)


def camera(
    bundles: Annotated[list[str], typer.Argument(help="Bundles; `face` and `navigate` ship with helmsight.")],
    source: Annotated[
        str,
        typer.Option(
            "--source",
            "-s",
            help="0, /dev/video0, rtsp://..., clip.mp4, 'frames/*.jpg', sample://, sim://, @FILE: named in it",
        ),
    ],
    show: Annotated[bool, typer.Option("--show/--headless", help="Open a window; q ends.")] = False,
    preview: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Serve a live page there, such as 127.0.0.1:8080.")
    ] = "",
    record: Annotated[
        Path | None, typer.Option(help="Annotated video: .mp4, .mkv, .avi; no suffix: to replay.")
    ] = None,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Of a replay, draw what was recorded beside what is said now.")
    ] = False,
    log: Annotated[Path | None, typer.Option(help="Results as JSON lines.")] = None,
    map_: Annotated[Path | None, typer.Option("--map", help="Map of the drive: a .png, and a .yaml beside it.")] = None,
    geometry: Annotated[
        str | None,
        typer.Option(help="How it looks at the floor: camera.json, or FOV_Y_DEG, HEIGHT_M, PITCH_DEG with commas."),
    ] = None,
    imgsz: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", help="Input size, of the networks that take several.")
    ] = "",
    tile: Annotated[bool, typer.Option("--tile", help="Look for small faces in parts of the frame too.")] = False,
    track: Annotated[
        bool, typer.Option("--track", help="Follow faces: ids that last, boxes that do not flicker.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep going along the way, by the map that is made of it.")
    ] = False,
    goal: Annotated[
        str, typer.Option(metavar="X,Y", help="Drive there: metres ahead and to the left of the start.")
    ] = "",
    robot: Annotated[
        str, typer.Option(metavar="URI", help="Send commands: udp://HOST:PORT, or - for JSON lines on stdout.")
    ] = "",
    robot_shape: Annotated[
        str, typer.Option(metavar="R,V,W", help="Its radius in m, top speed in m/s and turn rate in rad/s.")
    ] = "",
    device: Annotated[str, typer.Option(help="cpu, openvino, tuned, cuda, tensorrt or tensorrt-rtx.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Threads a model; 0 shares the cores.", min=0)] = 0,
    period: Annotated[
        list[str] | None, typer.Option(metavar="MODEL=MS", help="A look every so long, and a deadline (live sources).")
    ] = None,
    priority: Annotated[
        list[str] | None, typer.Option(metavar="MODEL=N", help="Others make room for the highest (live sources).")
    ] = None,
    max_age_ms: Annotated[float, typer.Option(help="Older commands become STOP (live sources).", min=1)] = 500.0,
    wait_for_camera: Annotated[
        bool, typer.Option("--wait-for-camera", help="Wait for one that is absent at the start.")
    ] = False,
    frozen_after_ms: Annotated[
        float, typer.Option(help="Open a camera again that shows the same so long; 0: never.", min=0)
    ] = 800.0,
    max_frames: Annotated[int, typer.Option(help="End after so many results; 0 is no limit.", min=0)] = 0,
    allow_fallback: Annotated[bool, typer.Option(help="Run on the CPU where the device is missing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Run one or more bundles on a camera, a video, pictures or the simulator."""
    for option, value in (("--max-age-ms", max_age_ms), ("--frozen-after-ms", frozen_after_ms)):
        if not isfinite(value):
            raise UsageError(f"{option} {value}: expected milliseconds")
    from ..runtime.heap import share_one_heap

    share_one_heap()  # before there are threads that have theirs
    from ..runtime.camera import CameraOptions
    from ..runtime.pipeline import PipelineOptions

    options = CameraOptions(
        bundles=bundles,
        source=source_uri(source),
        show=show,
        preview=preview or None,
        preview_token=os.environ.get("HELMSIGHT_PREVIEW_TOKEN") or None,
        record=record,
        side_by_side=side_by_side,
        log=log,
        map=map_,
        geometry=_geometry(geometry) if geometry else None,
        image_hw=image_size(imgsz) if imgsz else None,
        tile=tile,
        track=track,
        follow=follow,
        goal=_goal(goal) if goal else None,
        robot=robot or None,
        shape=_shape(robot_shape) if robot_shape else None,
        periods_ms=by_model("--period", period or (), "milliseconds, such as navigate=50"),
        priorities=by_model("--priority", priority or (), "the highest first, such as navigate=2"),
        device=device,
        threads=threads,
        allow_fallback=allow_fallback,
        pipeline=PipelineOptions(
            max_age_ms=max_age_ms,
            max_frames=max_frames,
            wait_for_source=wait_for_camera,
            frozen_after_s=frozen_after_ms / 1e3,
        ),
    )
    _camera(options, as_json)


def _camera(options: CameraOptions, as_json: bool) -> None:
    """Run, say what came of it, and raise for what was to be done and was not."""
    commands_on_stdout = options.robot == "-"
    if commands_on_stdout and as_json:
        raise UsageError("--json: standard output has the commands of --robot -; leave one of them out")
    if options.show and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UsageError("--show: there is no screen here (DISPLAY and WAYLAND_DISPLAY are unset); use --record")
    asked = {"--record": options.record, "--log": options.log, "--map": options.map}
    with _naming_what_is_lost(asked), redirect_stdout(sys.stderr) if commands_on_stdout else nullcontext():
        report, code = run_camera(options)
        if as_json:
            print_json(report.to_json())
        else:
            print_report(report)
            for name, path in (("recording", _made(report)), ("log", options.log), ("map", options.map)):
                if path is not None and path.exists():
                    print(f"{name}: {path}")
    _check_written(report, options)
    if code:
        raise typer.Exit(code)
    if options.goal and report.goal != "reached":
        why = "there is no way to it" if report.goal == "no way" else "the run ended before"
        x, y = options.goal
        raise HelmsightError(f"--goal {x:g},{y:g}: not reached: {why}; the robot stands")


@contextmanager
def _naming_what_is_lost(files: Mapping[str, Path | None]) -> Iterator[None]:
    """Name those of `files`, by option, that were there and have been written over, however the run ends."""
    before = {f"{option} {path}": (path, _mark(path)) for option, path in files.items() if path and path.is_file()}
    try:
        yield
    finally:
        lost = [name for name, (path, mark) in before.items() if _mark(path) != mark]
        if lost:
            print(f"helmsight: {', '.join(lost)}: was there already and was written over", file=sys.stderr)


def _mark(file: Path) -> tuple[int, int] | None:
    """What another content of the same name differs in."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _made(report: CameraReport) -> Path | None:
    return Path(report.recording) if report.recording else None


def _check_written(report: CameraReport, options: CameraOptions) -> None:
    """Raise HelmsightError for what was to be sent or written and was not; the first of several."""
    sent = report.robot
    if sent and not sent.stopped:
        raise HelmsightError(
            f"--robot {sent.uri}: the last stop did not get there: {sent.error}; {sent.failed} of {sent.sent} commands "
            "failed; see that the robot listens"
        )
    unfinished = (
        ("--record", options.record, report.recording_error),
        ("--log", options.log, report.log_error),
    )
    for option, path, error in unfinished:
        if error:
            raise HelmsightError(f"{option} {path}: not recorded whole: {error}; the run itself went on")


def run_camera(options: CameraOptions) -> tuple[CameraReport, int]:
    """Run until the end or a signal; the report, and 0 or 128 + the signal."""
    from ..runtime.camera import Camera

    running = Camera(options)
    caught: list[int] = []
    previous = {number: _on_signal(number, running, caught) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        report = running.run()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if caught:
        print(f"helmsight: ended by {signal.Signals(caught[0]).name}; everything is written", file=sys.stderr)
    return report, 128 + caught[0] if caught else 0


def print_report(report: CameraReport) -> None:
    """The report as a table."""
    summary = report.summary
    left_out = ", ".join(f"{name} {count}" for name, count in summary.overwritten.items() if count) or "none"
    rows = [
        ("results", f"{summary.results} in {summary.seconds:.1f} s, {summary.frames_per_s:.1f} a second"),
        ("frames overwritten", left_out),
        ("stops, re-openings", f"{summary.stops}, {summary.reopened}"),
    ]
    if summary.repeated:
        rows.append(("frozen or blank frames", f"{summary.repeated}, given to no model"))
    if summary.late:
        late = ", ".join(f"{name} {count}" for name, count in summary.late.items())
        rows.append(("late answers, load shed", f"{late}, {summary.shed_steps} times"))
    if report.log_dropped:
        rows.append(("log", f"{report.log_dropped} lines dropped"))
    rows += [(f"{name} runs on", f"{m['device']}, {m['precision']}") for name, m in report.models.items()]
    for name, t in summary.times.items():
        rows.append((f"{name} ms", f"p50 {t.p50_ms:.2f}   p90 {t.p90_ms:.2f}   p99 {t.p99_ms:.2f}   (n {t.n})"))
    if report.recorded_frames:
        rows.append(("recorded", f"{report.recorded_frames} frames, {report.recording_dropped} results dropped"))
    if sent := report.robot:
        rows.append((f"robot {sent.uri}", f"{sent.sent} commands, {sent.stops} of them stops"))
        rows.append(("commands that failed", f"{sent.failed}, overtaken {sent.overtaken}"))
    rows += map_rows(report.map) if report.map else []
    if report.goal:
        rows.append(("goal", report.goal))
    for name, found in (report.replay or {}).items():
        first = "" if found.first_frame is None else f", the first in frame {found.first_frame}"
        rows.append((f"{name} beside the recording", f"{found.same} the same, {found.different} different{first}"))
    for name, value in (report.drive or {}).items():
        rows.append((f"drive {name}", str(value)))
    table(f"camera: {report.source}", ("what", "value"), rows)


def map_rows(made: MapReport) -> list[tuple[str, str]]:
    """What became of the map."""
    lost = f"{made.lost} with unknown motion" + (f" ({made.bridged} of them bridged)" if made.bridged else "")
    rows = [
        ("map", f"{made.frames} frames, {lost}, {made.skipped} not in it"),
        ("way on the map", f"{made.way_m:.1f} m, loops closed {made.loops}"),
    ]
    if made.pitch_off_deg is not None:
        off_deg = round(made.pitch_off_deg, 1)
        how = f"{abs(off_deg):.1f} degrees {'lower' if off_deg > 0 else 'higher'} than told" if off_deg else "as told"
        rows.append(("camera looks", f"{how}, as the floor goes by"))
    return rows


def _geometry(text: str) -> CameraGeometry:
    from ..runtime.calibration import geometry_of
    from ..runtime.lens import load_camera
    from ..runtime.mapping.geometry import check_geometry
    from ..runtime.sources import CameraGeometry

    if text.endswith(".json"):
        calibrated = load_camera(Path(text))
        geometry = geometry_of(calibrated)
        if calibrated.mount is None:
            print(
                f"helmsight: --geometry {text} has no mount; taken to be {geometry.height_m:g} m over the floor and "
                f"level; measure it with: helmsight calibrate {text} --floor floor.jpg --board 9x6 --square 0.025 "
                f"--out {text}",
                file=sys.stderr,
            )
        return geometry
    fov_y_deg, height_m, pitch_deg = numbers(
        "--geometry", text, "FOV_Y_DEG,HEIGHT_M,PITCH_DEG", "these three or camera.json"
    )
    geometry = CameraGeometry(fov_y_deg, height_m, pitch_deg)
    try:
        check_geometry(geometry)
    except UsageError as error:
        raise UsageError(f"--geometry {text}: {error}") from None
    return geometry


def _goal(text: str) -> tuple[float, float]:
    x, y = numbers("--goal", text, "X,Y", "metres ahead and to the left of the start")
    return x, y


def _shape(text: str) -> RobotShape:
    from ..runtime.driving.local import RobotShape

    return RobotShape(*numbers("--robot-shape", text, "RADIUS_M,MAX_SPEED_MPS,MAX_YAW_RATE_RPS", "of your robot"))


def _on_signal(number: int, running: Camera, caught: list[int]) -> signal.Handlers:
    def handle(signum: int, _frame: object) -> None:
        caught.append(signum)
        running.stop()
        signal.signal(signum, signal.SIG_DFL)  # a second one ends the process at once

    return signal.signal(number, handle)  # type: ignore[return-value]
