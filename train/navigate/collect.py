"""Frames with labels from the simulator: who drives, what is recorded, and many courses at once.

The expert labels every frame, whoever drives it (DAgger, Ross et al. 2011). Nothing here is random beyond its seeds:
a course and a round give the same frames in any number of processes.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...runtime.results import Image
from ...runtime.sim import expert
from ...runtime.sim.course import Course, make_course
from ...runtime.sim.looks import split_of
from ...runtime.sim.robot import RADIUS_M, Pose, wrap
from ...runtime.sim.simulator import Simulator
from ...runtime.sim.things import Obstacle
from ...runtime.sim.world import clearance_m, free_ahead_m
from ...runtime.tasks._picture import resize
from .model import IMAGE_HW, MASK_HW

RENDER_HW = (192, 256)
"""Twice the network's size: shrunk by areas, as frames of a camera are."""
PERIOD_S = 0.1
FRAMES_PER_COURSE = 40
"""Few: another course with another look teaches more than another frame of the same."""
NEAR_SHARE = 0.35
"""Share of frames from robots set down at odd angles close to things, which good driving never shows."""
THING_FRAMES = 16
"""More of a training course that the expert drives, from robots set down around what stands and moves about."""
STRETCH = 8
"""Frames of a training course before the robot starts elsewhere; those of other courses see longer stretches."""
ASKEW_RAD, OFF_LINE_M = 1.5, 0.9
"""Such a robot is at most so far from the line and its direction: the expert's steering means little beyond."""
THING_M, LATER_S = 1.4, 6.0
"""It is up to so far from a thing; what moves has gone on for up to so long."""
COURSES = ("office", "corridor")

Driver = Callable[[Image], tuple[float, float]]
"""From a picture (96, 128, 3) to steering and collision probability."""


@dataclass(frozen=True, slots=True)
class Frames:
    """`images` (N, 96, 128, 3) uint8 BGR; `steer` (N,) float32; `collision` (N,) bool; `free` and `way` (N, 48, 64)
    bool: the floor, and that of it where the way goes on."""

    images: NDArray[np.uint8]
    steer: NDArray[np.float32]
    collision: NDArray[np.bool_]
    free: NDArray[np.bool_]
    way: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.steer)

    def save(self, file: Path) -> None:
        """Write the arrays, whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.stem}.new.npz")
        free, way = np.packbits(self.free, -1), np.packbits(self.way, -1)
        np.savez(beside, images=self.images, steer=self.steer, collision=self.collision, free=free, way=way)
        beside.replace(file)


def load_frames(file: Path) -> Frames:
    """What `Frames.save` wrote."""
    with np.load(file) as data:
        free, way = (np.unpackbits(data[name], axis=-1, count=MASK_HW[1]).astype(bool) for name in ("free", "way"))
        return Frames(data["images"], data["steer"], data["collision"], free, way)


def join(parts: Sequence[Frames]) -> Frames:
    """All frames of several collections, in order."""
    return Frames(
        np.concatenate([p.images for p in parts]),
        np.concatenate([p.steer for p in parts]),
        np.concatenate([p.collision for p in parts]),
        np.concatenate([p.free for p in parts]),
        np.concatenate([p.way for p in parts]),
    )


def collect(seeds: Sequence[int], salt: int, driver: Path | None, workers: int) -> Iterator[Frames]:
    """The frames of each course in turn, in the order of the seeds; offices and corridors take turns.

    `driver` is a network to drive by (a run folder), None for the expert with noise.
    """
    jobs = [(seed, salt, None if driver is None else str(driver)) for seed in seeds]
    context = multiprocessing.get_context("spawn")
    with context.Pool(max(1, workers), _one_thread) as pool:
        yield from pool.imap(_collect_course, jobs, chunksize=1)


def _one_thread() -> None:
    """One thread a process: Mesa's renderer would hand every picture to threads that wait for the same cores."""
    os.environ["LP_NUM_THREADS"] = "0"
    cv2.setNumThreads(0)


def _collect_course(job: tuple[int, int, str | None]) -> Frames:
    seed, salt, driver = job
    course = make_course(COURSES[seed % 2], seed)
    rng = np.random.default_rng((seed, salt, 41))
    with Simulator(course, seed=salt) as simulator:
        recorder = _Recorder(simulator)
        near = round(FRAMES_PER_COURSE * NEAR_SHARE)
        training = split_of(seed) == "train"
        if driver is None:
            _drive_with_noise(recorder, rng, FRAMES_PER_COURSE - near, STRETCH if training else 40)
            _set_down(recorder, rng, near)
            if training:
                _look_at_things(recorder, rng, THING_FRAMES)
        else:
            _drive_by(recorder, _network(driver), rng, FRAMES_PER_COURSE)
        return recorder.frames()


class _Recorder:
    """Keeps what the camera sees with the expert's labels."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._rows: list[tuple[Image, float, bool, NDArray[np.bool_], NDArray[np.bool_]]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def record(self) -> Image:
        simulator = self.simulator
        image = resize(simulator.render(RENDER_HW), IMAGE_HW)
        free = simulator.drivable_mask().reshape(MASK_HW[0], 4, MASK_HW[1], 4).mean((1, 3)) > 0.5
        way = simulator.way_mask(free)
        steer = expert.steer(simulator.course, simulator.pose, simulator.nearest)
        collision = expert.collision_ahead(simulator.course, simulator.pose)
        self._rows.append((image, steer, collision, free, way))
        return image

    def frames(self) -> Frames:
        images, steer, collision, free, way = zip(*self._rows, strict=True)
        return Frames(np.stack(images), np.array(steer, np.float32), np.array(collision), np.stack(free), np.stack(way))


def _drive_with_noise(recorder: _Recorder, rng: np.random.Generator, frames: int, stretch: int) -> None:
    """The expert at the wheel, pushed around by slow noise, so that the pictures show how to come back.

    After every `stretch` frames the robot starts elsewhere.
    """
    simulator, noise = recorder.simulator, 0.0
    course = simulator.course
    _start(simulator, rng)
    for step in range(frames * 3):
        if step % 3 == 0:
            recorder.record()
        # Ornstein-Uhlenbeck: correlated over about half a second, spread 0.5.
        noise += -0.2 * noise + 0.32 * rng.standard_normal()
        steer = expert.steer(course, simulator.pose, simulator.nearest) + noise
        simulator.step(steer, max(0.25, expert.speed(course, simulator.pose)), PERIOD_S)
        if simulator.collided or (step + 1) % (3 * stretch) == 0:
            _start(simulator, rng)


def _set_down(recorder: _Recorder, rng: np.random.Generator, frames: int) -> None:
    """The robot at places and angles where something is near ahead, about half of them too near."""
    simulator, wanted = recorder.simulator, len(recorder) + frames
    solids = simulator.course.solids
    while len(recorder) < wanted:
        base = simulator.pose_on_line(int(rng.integers(len(simulator.course.line))))
        across, turn = rng.normal(0, 0.35), rng.uniform(-ASKEW_RAD, ASKEW_RAD)
        x = base.x - across * np.sin(base.heading_rad)
        y = base.y + across * np.cos(base.heading_rad)
        pose = Pose(float(x), float(y), wrap(base.heading_rad + float(turn)))
        here = np.array([pose.x, pose.y])
        if clearance_m(here[None], solids)[0] < RADIUS_M + 0.02 or abs(across) > OFF_LINE_M:
            continue
        free = free_ahead_m(here, pose.heading_rad, RADIUS_M, solids, 1.2)
        if free < (expert.COLLISION_M if rng.random() < 0.7 else 1.2):
            simulator.place(pose)
            recorder.record()


def _look_at_things(recorder: _Recorder, rng: np.random.Generator, frames: int) -> None:
    """The robot around what stands and moves about, looking at it or just past it, half of the time too near.

    As often at each thing as the place and the heading allow: not far from the line and not against the way. Fewer
    frames where there is no room.
    """
    simulator, wanted = recorder.simulator, len(recorder) + frames
    for attempt in range(200 * frames):
        if len(recorder) == wanted or not simulator.course.obstacles:
            return
        if attempt % 20 == 0:
            simulator.step(0.0, 0.0, float(rng.uniform(0, LATER_S)))
        course = simulator.course
        pose = _pose_before(_some_thing(course, rng), rng)
        here = np.array([pose.x, pose.y])
        off_m = np.hypot(*(course.line - here).T)
        way = simulator.pose_on_line(int(off_m.argmin()))
        if off_m.min() > OFF_LINE_M or abs(wrap(pose.heading_rad - way.heading_rad)) > ASKEW_RAD:
            continue
        if clearance_m(here[None], course.solids)[0] < RADIUS_M + 0.02:
            continue
        if rng.random() < 0.5 or expert.collision_ahead(course, pose):
            simulator.place(pose)
            recorder.record()


def _some_thing(course: Course, rng: np.random.Generator) -> Obstacle:
    """Any thing of the course; what moves, last among them, more often than its share."""
    things, moving = course.obstacles, len(course.movers)
    return things[-rng.integers(1, moving + 1)] if moving and rng.random() < 0.3 else things[rng.integers(len(things))]


def _pose_before(thing: Obstacle, rng: np.random.Generator) -> Pose:
    around, turn = rng.uniform(-np.pi, np.pi), rng.uniform(-0.8, 0.8)
    away_m = max(thing.length_m, thing.width_m) / 2 + RADIUS_M + rng.uniform(0.02, THING_M)
    x, y = thing.x + away_m * np.cos(around), thing.y + away_m * np.sin(around)
    return Pose(float(x), float(y), wrap(float(around + np.pi + turn)))


def _drive_by(recorder: _Recorder, driver: Driver, rng: np.random.Generator, frames: int) -> None:
    """The network at the wheel: the expert says what it should have done where it got to."""
    simulator = recorder.simulator
    _start(simulator, rng)
    for step in range(frames * 3):
        image = recorder.record() if step % 3 == 0 else resize(simulator.render(RENDER_HW), IMAGE_HW)
        steer, collision = driver(image)
        simulator.step(steer, max(0.25, 1 - collision), PERIOD_S)
        if simulator.collided:
            _start(simulator, rng)


def _start(simulator: Simulator, rng: np.random.Generator) -> None:
    pose = simulator.pose_on_line(int(rng.integers(len(simulator.course.line))))
    simulator.place(Pose(pose.x, pose.y, wrap(pose.heading_rad + float(rng.normal(0, 0.2)))))


def _network(folder: str) -> Driver:
    import torch
    from safetensors.torch import load_file

    from .model import build

    torch.set_num_threads(1)
    model = build()
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    model.eval()

    def drive(image: Image) -> tuple[float, float]:
        with torch.no_grad():
            steer, collision, *_ = model(torch.from_numpy(image)[None])
        return float(steer), float(collision)

    return drive
