"""The simulator as a camera on a robot: frames out, commands in.

`sim://COURSE?seed=N&frames=N&pace=lockstep|realtime&fps=20&size=640x480&driver=command|expert&blocks=N`
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ...devices.errors import CameraUnavailable, UsageError
from ..results import Command, Frame, Stop
from ..sim import expert
from ..sim.course import MOST_BLOCKS, make_course
from ..sim.looks import make_look
from ..sim.robot import Pose
from ..sim.simulator import Simulator
from ._address import Options
from ._base import BaseSource

log = logging.getLogger(__name__)

COMMAND_TIMEOUT_S = 10.0
STUCK_M, STUCK_S = 0.3, 30.0
"""A drive without a number of frames ends where the robot stayed within so far for so long."""


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
    another comes. It ends after a lap, a collision, STUCK_S within STUCK_M or, where `frames` says so, so many frames.
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
        self._left: tuple[float, Pose] = (0.0, Pose(0.0, 0.0, 0.0))
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
        self._left = 0.0, self._simulator.pose
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
            "stuck": not self.settings.frames and self._stuck(simulator.pose),
            "frames": bool(self.settings.frames) and self._frames >= self.settings.frames,
        }
        self._write_account(next((end for end, true in ends.items() if true), "open"))

    def _stuck(self, pose: Pose) -> bool:
        """Whether it has been near one place for STUCK_S of the drive's time."""
        now_s, (since_s, left) = len(self._deviation_m) / self.fps, self._left
        if math.hypot(pose.x - left.x, pose.y - left.y) > STUCK_M:
            self._left = now_s, pose
            return False
        return now_s - since_s > STUCK_S

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
        if end == "stuck":
            log.warning("%s: the robot got no farther than %.1f m in %.0f s", self.uri, STUCK_M, STUCK_S)
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
    options = Options(uri, parts.query, {"seed", "frames", "pace", "fps", "size", "driver", "blocks"})
    return DriveSettings(
        course=parts.netloc or parts.path.strip("/"),
        seed=options.whole("seed", 0, 0, 2**31),
        frames=options.whole("frames", 0, 0, 10**9),
        lockstep=options.one_of("pace", ("lockstep", "realtime"), "lockstep") == "lockstep",
        fps=options.number("fps", 20, 1, 240),
        image_hw=options.size("size"),
        driver=options.one_of("driver", ("command", "expert"), "command"),
        blocks=options.whole("blocks", 1, 1, MOST_BLOCKS) if "blocks" in options else None,
    )


def _as_motion(command: Command | Stop) -> tuple[float, float]:
    """Steering and speed, each as a share of the robot's largest."""
    return (0.0, 0.0) if isinstance(command, Stop) else (command.steer, command.speed)
