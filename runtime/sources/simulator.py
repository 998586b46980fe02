"""The simulator as a camera on a robot: frames out, commands in.

`sim://COURSE?seed=N&frames=N&pace=lockstep|realtime&fps=20&size=640x480&driver=command|expert&blocks=N`
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from ...devices.errors import CameraUnavailable, UsageError
from ..results import Command, Frame, Stop
from ..sim import expert
from ..sim.course import MOST_BLOCKS, make_course
from ..sim.looks import make_look
from ..sim.simulator import Simulator
from ._base import BaseSource

log = logging.getLogger(__name__)

COMMAND_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class DriveSettings:
    """What a `sim://` address says. `frames` 0 is no limit; `lockstep` waits for each frame's command; `blocks` None
    leaves the size of the course to its seed."""

    course: str
    seed: int = 0
    frames: int = 0
    lockstep: bool = True
    fps: float = 20.0
    image_hw: tuple[int, int] = (480, 640)
    driver: str = "command"
    blocks: int | None = None


class SimulatorSource(BaseSource):
    """A robot that drives one lap of a course, seen through its camera.

    In lock-step (the default) it is not live: `read` for the next frame waits for the command that was computed from
    the last, so that a drive is the same on any machine. In real time it is live: the newest command holds until
    another comes. It ends after a lap, a collision or `frames` frames.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.settings = parse_address(uri)
        self.live = not self.settings.lockstep
        self.fps = self.settings.fps
        self.geometry = make_look(self.settings.seed).camera
        self.driver = self.settings.driver
        self._simulator: Simulator | None = None
        self._frames = 0
        self._next_s = 0.0
        self._account: dict[str, Any] = {}
        self._deviation_m: list[float] = []
        self._arrived = threading.Condition()
        self._command: Command | Stop = Stop("no command yet")
        self._command_frame = -1

    def open(self) -> None:
        if self.ended:
            raise UsageError(f"--source {self.uri}: this drive is over ({self._account['end']}); start another one")
        settings = self.settings
        course = make_course(settings.course, settings.seed, settings.blocks)
        self._simulator = Simulator(course, settings.seed)
        self._frames, self._next_s = 0, time.perf_counter()
        self._deviation_m = []
        self._command_frame = -1
        self._write_account("open")

    def read(self) -> Frame | None:
        simulator = self._simulator
        if simulator is None:
            raise RuntimeError("this source is not open")
        if self._frames and not self.ended:
            self._move(simulator)
        if self.ended:
            return None
        if self.live:
            self._keep_pace()
        image = simulator.render(self.settings.image_hw)
        frame = Frame(image, self._frames, time.perf_counter_ns())
        self._frames += 1
        return frame

    def command(self, command: Command | Stop, frame_index: int) -> None:
        """Called from the pipeline's thread, see `Robot`."""
        with self._arrived:
            self._command, self._command_frame = command, frame_index
            self._arrived.notify_all()

    def drive_summary(self) -> dict[str, Any]:
        return dict(self._account)

    def close(self) -> None:
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def _move(self, simulator: Simulator) -> None:
        """One frame's time of driving, and the account of it."""
        if self.driver == "expert":
            steer = expert.steer(simulator.course, simulator.pose, simulator.nearest)
            speed = expert.speed(simulator.course, simulator.pose)
        else:
            steer, speed = _as_motion(self._wait_for_command() if self.settings.lockstep else self._command)
        simulator.step(steer, speed, 1 / self.fps)
        self._deviation_m.append(abs(simulator.lateral_deviation_m))
        ends = {
            "collision": simulator.collided,
            "lap": simulator.lap_done,
            "frames": bool(self.settings.frames) and self._frames >= self.settings.frames,
        }
        self._write_account(next((end for end, true in ends.items() if true), "open"))

    def _wait_for_command(self) -> Command | Stop:
        wanted = self._frames - 1
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._command_frame >= wanted, COMMAND_TIMEOUT_S):
                raise CameraUnavailable(
                    f"{self.uri}: no command for frame {wanted} within {COMMAND_TIMEOUT_S:.0f} s; in lock-step each "
                    "frame needs one: run a navigation bundle, or add driver=expert or pace=realtime to the address"
                )
            return self._command

    def _keep_pace(self) -> None:
        """Wait until the next frame is due; a frame that is late moves all later ones."""
        self._next_s = max(self._next_s + 1 / self.fps, time.perf_counter())
        time.sleep(max(0.0, self._next_s - time.perf_counter()))

    @property
    def ended(self) -> bool:
        return bool(self._account) and self._account["end"] != "open"

    def _write_account(self, end: str) -> None:
        simulator = self._simulator
        assert simulator is not None
        if end == "collision":
            log.warning("%s: the robot hit something after %.1f m", self.uri, simulator.progress_m)
        # Replaced whole: `drive_summary` reads it from another thread.
        self._account = {
            "course": self.settings.course,
            "seed": self.settings.seed,
            "driver": self.driver,
            "end": end,
            "frames": self._frames,
            "seconds": round(len(self._deviation_m) / self.fps, 2),
            "distance_m": round(simulator.progress_m, 2),
            "lap_m": round(simulator.course.length_m, 2),
            "collisions": int(simulator.collided),
            "lap": simulator.lap_done,
            "deviation_median_m": round(float(np.median(self._deviation_m)), 3) if self._deviation_m else 0.0,
        }


def parse_address(uri: str) -> DriveSettings:
    """What a `sim://` address says; raises UsageError that names what is wrong in it."""
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = {"seed", "frames", "pace", "fps", "size", "driver", "blocks"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise UsageError(f"--source {uri}: {unknown[0]} is unknown; expected {', '.join(sorted(known))}")
    pace, driver = options.get("pace", "lockstep"), options.get("driver", "command")
    if pace not in ("lockstep", "realtime"):
        raise UsageError(f"--source {uri}: pace is {pace!r}; expected lockstep or realtime")
    if driver not in ("command", "expert"):
        raise UsageError(f"--source {uri}: driver is {driver!r}; expected command or expert")
    return DriveSettings(
        course=parts.netloc or parts.path.strip("/"),
        seed=int(_number(uri, options, "seed", "0", 0, 2**31)),
        frames=int(_number(uri, options, "frames", "0", 0, 10**9)),
        lockstep=pace == "lockstep",
        fps=_number(uri, options, "fps", "20", 1, 240),
        image_hw=_size(uri, options.get("size", "640x480")),
        driver=driver,
        blocks=int(_number(uri, options, "blocks", "", 1, MOST_BLOCKS)) if "blocks" in options else None,
    )


def _number(uri: str, options: dict[str, str], name: str, default: str, low: float, high: float) -> float:
    text = options.get(name, default)
    try:
        value = float(text) if name == "fps" else int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise UsageError(f"--source {uri}: {name} is {text!r}; expected a number from {low:g} to {high:g}")
    return value


def _size(uri: str, text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(s.isdigit() and 16 <= int(s) <= 4096 for s in sides):
        raise UsageError(f"--source {uri}: size is {text!r}; expected WIDTHxHEIGHT from 16 to 4096, such as 640x480")
    return int(sides[1]), int(sides[0])


def _as_motion(command: Command | Stop) -> tuple[float, float]:
    """Steering and speed, each as a share of the robot's largest."""
    return (0.0, 0.0) if isinstance(command, Stop) else (command.steer, command.speed)
