"""Options of a camera run that contradict each other, refused before anything is opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..devices.errors import UsageError
from .sources import Robot, Source

if TYPE_CHECKING:
    from .camera_options import CameraOptions


def check_driving(options: CameraOptions, tasks: Sequence[str], source: Source) -> None:
    """Raise UsageError where nothing would drive, or two things would."""
    goal = f"--goal {options.goal[0]:g},{options.goal[1]:g}" if options.goal else None
    pilot = goal or ("--follow" if options.follow else None)
    robot = f"--robot {options.robot}" if options.robot else None
    if "navigate" not in tasks:
        wishes = {f"--map {options.map}" if options.map else None: "map is", pilot: "map is", robot: "commands are"}
        for wish, what in wishes.items():
            if wish:
                raise UsageError(f"{wish}: the {what} made by a navigation bundle; add one, such as navigate")
    if goal and options.follow:
        raise UsageError(f"{goal} and --follow: a robot drives to a place or along the way; expected one of them")
    if isinstance(source, Robot):
        driver = pilot or robot
        if source.driver != "command" and driver:
            raise UsageError(f"{driver}: {source.uri} has a driver of its own; leave out driver={source.driver}")
        if options.shape:
            raise UsageError("--robot-shape: the simulator's robot has its own; leave it out, or take another source")


def check_pace(options: CameraOptions, tasks: Sequence[str], source: Source) -> None:
    """Raise UsageError for a period or a priority of nobody, or where each frame is looked at anyway."""
    for option, values in (("--period", options.periods_ms), ("--priority", options.priorities)):
        for task, value in values.items():
            given = f"{option} {task}={value:g}"
            if task not in tasks:
                raise UsageError(f"{given}: no such model; expected one of {', '.join(tasks)}")
            if not source.live:
                raise UsageError(f"{given}: {source.uri} waits for its models, every frame is looked at; leave it out")
            if option == "--period" and not 1 <= value <= options.pipeline.max_age_ms:
                raise UsageError(
                    f"{given}: expected milliseconds from 1 to --max-age-ms {options.pipeline.max_age_ms:g}: what is "
                    "looked at more rarely is too old by then"
                )


def check_drawn(options: CameraOptions) -> None:
    """Raise UsageError for a comparison of pictures with nothing to compare, or that nobody would see."""
    if not options.side_by_side:
        return
    if not options.source.startswith("replay://"):
        raise UsageError(f"--side-by-side: {options.source} is no recording; expected --source replay://NAME")
    video = options.record is not None and options.record.suffix
    if not (video or options.show or options.preview):
        raise UsageError("--side-by-side draws nothing by itself; add --record VIDEO.mp4, --show or --preview")


def check_files(options: CameraOptions) -> None:
    """Two outputs in one file, or one over its own source, would each lose the other."""
    files = {"--record": options.record, "--log": options.log, "--map": options.map, "--source": Path(options.source)}
    taken: dict[Path, str] = {}
    for option, file in files.items():
        if file is None:
            continue
        other = taken.setdefault(file.resolve(), option)
        if other != option:
            raise UsageError(f"{other} and {option} name the same file {file}; expected one each")
