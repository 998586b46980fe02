"""What happens to a robot whose camera is pulled, hangs or freezes: when it is stopped, when that is noticed, when the
camera is back.

A stand-in for a webcam, and a real RTSP server (GStreamer's, where it is installed) on the loopback and at the end of a
virtual cable (by root), 30 frames a second, the navigation network, a robot that is told by UDP's sink in place of
wheels. Times are from the moment that the camera is taken away, and from the moment that it is there again. Those that
are away for a minute and more are so side by side.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from helmsight.cli.main import OPENCV
from helmsight.devices.errors import CameraUnavailable
from helmsight.runtime.driving.guarded import GuardedSinks
from helmsight.runtime.model import load
from helmsight.runtime.pipeline import Pipeline
from helmsight.runtime.results import Command, Frame, Stop
from helmsight.runtime.results import Result as Seen
from helmsight.runtime.sources import Source, open_source
from helmsight.runtime.sources._base import BaseSource

from .cable import Cable, RtspServer
from .harness import Goal, Result, parser, spread

GIVE_UP_S = 30.0
SELECT_S = 10.0
"""OpenCV's `read` of a V4L2 camera that gives nothing returns after so long, without a frame."""
SHORT_S = 10.0


class Webcam(BaseSource):
    """30 frames a second of noise; `state` is shared by all that open the same camera."""

    live = True
    can_freeze = True
    fps = 30.0

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__("webcam")
        self._state = state
        self._noise = np.random.default_rng(0).integers(0, 256, (480 + 64, 640, 3), np.uint8)
        self._hung = False

    def open(self) -> None:
        if self._state["is"] == "pulled":
            raise CameraUnavailable("webcam: not there")

    def read(self) -> Frame | None:
        time.sleep(1 / self.fps)
        until = time.monotonic() + SELECT_S
        while self._state["is"] == "stalls" and time.monotonic() < until:
            time.sleep(0.01)
        if self._state["is"] in ("stalls", "over"):
            return None
        while self._hung or self._state["is"] == "never returns":
            self._hung = True
            if self._state["is"] == "over":
                return None
            time.sleep(0.01)
        if self._state["is"] == "pulled":
            return None
        if self._state["is"] != "frozen":
            self._state["index"] += 1
        index = self._state["index"]
        top = index * 7 % 64
        return Frame(self._noise[top : top + 480].copy(), index, time.perf_counter_ns())

    def close(self) -> None:
        return

    def another(self) -> Webcam:
        return Webcam(self._state)


class Robot:
    """When it was last told of each kind."""

    def __init__(self) -> None:
        self.told: list[tuple[float, Command | Stop]] = []

    def __call__(self, result: Seen) -> None:
        if result.command is not None:
            self.told.append((time.perf_counter(), result.command))

    def first(self, kind: type, after_s: float) -> float | None:
        """Seconds from `after_s` to the first of this kind."""
        return next((at - after_s for at, told in list(self.told) if at > after_s and isinstance(told, kind)), None)


def wait(what: Callable[[], Any]) -> Any:
    """What it gives, waited for."""
    until = time.perf_counter() + GIVE_UP_S
    while (got := what()) is None:
        if time.perf_counter() > until:
            raise RuntimeError("it did not come")
        time.sleep(0.001)
    return got


def once(source: Source, take: Callable[[], None], give: Callable[[], None], away_s: float) -> Mapping[str, float]:
    """Drive, take the camera away for a while, give it back; the times."""
    robot = Robot()
    guarded = GuardedSinks([robot], [], 500)
    with load("navigate") as model:
        pipeline = Pipeline(source, [model], urgent=guarded.stop)
        thread = threading.Thread(target=pipeline.run, args=([guarded],))
        thread.start()
        wait(lambda: len(robot.told) > 30 or None)
        taken_s = time.perf_counter()
        take()
        stopped = wait(lambda: robot.first(Stop, taken_s))
        noticed = wait(lambda: pipeline.meter.source if pipeline.meter.source.name != "open" else None)
        time.sleep(max(0.0, away_s - (time.perf_counter() - taken_s)))
        given_s = time.perf_counter()
        give()
        back = wait(lambda: robot.first(Command, given_s))
        pipeline.stop()
        thread.join()
    return {"stop s": stopped, "noticed s": noticed.since_ns / 1e9 - taken_s, "back s": back}


def webcam(how: str, away_s: float) -> Mapping[str, float]:
    """The stand-in, taken away in one way."""
    state = {"is": "there", "index": 0}

    def set_to(name: str) -> Callable[[], None]:
        return lambda: state.update({"is": name})

    times = once(Webcam(state), set_to(how), set_to("there"), away_s)
    state["is"] = "over"
    return times


def rtsp(how: str, away_s: float) -> Mapping[str, float]:
    """A real server that is killed and started again, which takes it a moment too, or that hangs for a while."""
    server = RtspServer(free_port())
    take, give = (server.kill, server.start) if how == "rebooted" else (server.stop, server.go_on)
    try:
        server.start()
        return once(open_source(server.uri), take, give, away_s)
    finally:
        server.kill()


def cable(away_s: float) -> Mapping[str, float]:
    """A real server whose network goes away in silence, and comes back."""
    with Cable(free_port()) as camera:
        return once(open_source(camera.server.uri), camera.pull, camera.plug, away_s)


def free_port() -> int:
    """One that nobody listens at now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def lost_for(away_s: float, rounds: int) -> list[dict[str, Any]]:
    """A row for each way to lose a camera for so long: the worst of the rounds."""
    ways: dict[str, Callable[[float], Mapping[str, float]]] = {
        "webcam pulled": partial(webcam, "pulled"),
        "webcam stalls": partial(webcam, "stalls"),
        "webcam frozen": partial(webcam, "frozen"),
        "RTSP camera rebooted": partial(rtsp, "rebooted"),
        "RTSP camera hangs": partial(rtsp, "hangs"),
        "RTSP camera's cable pulled": cable,
    }
    if away_s <= SHORT_S:
        ways["webcam whose read() never returns"] = partial(webcam, "never returns")
    with ThreadPoolExecutor(1 if away_s <= SHORT_S else len(ways)) as side_by_side:
        runs = {name: [side_by_side.submit(way, away_s) for _ in range(rounds)] for name, way in ways.items()}
    rows = []
    for name, tried in runs.items():
        try:
            times = [one.result() for one in tried]
        except FileNotFoundError as error:
            print(f"{name}: left out: {error}")
            continue
        worst = {key: spread([t[key] for t in times])["max"] for key in times[0]}
        rows.append({"what": name, "away s": away_s, "rounds": rounds, **worst})
    return rows


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--away", type=float, nargs="*", default=[5, 60, 300], help="seconds that the camera is away")
    made.add_argument("--rounds", type=int, default=3, help="of the short ones, up to 10 s")
    args = made.parse_args()
    os.environ.update(OPENCV | dict(os.environ))  # as the command has it
    rows = [row for away_s in args.away for row in lost_for(away_s, args.rounds if away_s <= SHORT_S else 1)]
    goals = [
        Goal("noticed, s, the worst", max(row["noticed s"] for row in rows), 1.0, at_least=False),
        Goal("robot stopped, s, the worst", max(row["stop s"] for row in rows), 0.55, at_least=False),
        Goal("back, s, the worst", max(row["back s"] for row in rows), 2, at_least=False),
    ]
    notes = [
        "The worst of the rounds. A robot's command holds for 500 ms (`--max-age-ms`), and so long a stop takes.",
        "A camera stalls as OpenCV's V4L2 does: `read` returns after 10 s, or as soon as there is a picture again. One "
        "whose `read` never returns is opened by another thread; each that hangs too is given twice as long, from the "
        "third on, so after minutes of it the return is met as late.",
    ]
    options = {"away": " ".join(f"{s:g}" for s in args.away), "rounds": args.rounds}
    Result("recovery", "A camera that is lost and returns", options, rows, goals, None, notes=notes).write(args.out)


if __name__ == "__main__":
    main()
