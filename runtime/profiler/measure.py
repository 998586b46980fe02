"""Measuring a bundle: its feeds, its stages, and the record of the run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

import numpy as np

from ...devices.errors import CameraUnavailable, UsageError
from ...devices.here import here
from ...devices.processor import processor
from ...devices.sensors import sample_sensors
from ..backends import Feeds, Session, SessionOptions, load
from ..bundle import SHIPPED, Bundle, TensorSpec
from ..results import Image
from ..sources import open_source, without_password
from ..tasks import Task, task_for
from .conditions import IDLE_S, gpu_of_run, measure_idle
from .counted import graph_of
from .others import OthersWatch
from .record import Profile
from .scenario import CAMERA, OFFLINE, SINGLE_STREAM, WAIT, Scenario, offline, paced
from .stream import Limits, Stage, Times, measure_overhead, single_stream, warm_up

SAMPLE_URI = "sample://corridor"
FRAMES = 32
SENSOR_INTERVAL_S = 1.0
STAGES = ("prepare", "inference", "decode")
PACKAGES = ("helmsight", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "opencv-python")


@dataclass(frozen=True, slots=True)
class ProfileOptions:
    """How to measure.

    `stages`: from the frame to the decoded record, not the network alone. `source` is the URI of the frames; without
    one, the clip that ships. `seed` is for random input, which a network without a task gets. `scenario` is how queries
    arrive.
    """

    session: SessionOptions = field(default_factory=SessionOptions)
    limits: Limits = field(default_factory=Limits)
    stages: bool = False
    source: str | None = None
    seed: int = 0
    scenario: Scenario = field(default_factory=Scenario)


@dataclass(frozen=True, slots=True)
class Workload:
    """Items, the stages they pass through, the array feeds of one query, and where they come from."""

    items: Sequence[Any]
    names: tuple[str, ...]
    stages: tuple[Stage, ...]
    sample: Feeds
    origin: str


def profile(bundle: Bundle, options: ProfileOptions | None = None) -> Profile:
    """Measure `bundle` on this machine: warm-up, then the scenario's queries, with sensors and CPU load watched.

    Raises what `backends.load` and `open_source` raise, and UsageError when stages are asked for without frames.
    """
    options = options or ProfileOptions()
    graph = graph_of(bundle)  # before anything is loaded that is measured
    with ExitStack() as opened:
        wanted, count = _sessions(options)
        sessions = [opened.enter_context(load(bundle, wanted)) for _ in range(count)]
        works = [workload(bundle, session, options) for session in sessions]
        session, work = sessions[0], works[0]
        overhead = measure_overhead(len(work.stages))
        idle = measure_idle(min(IDLE_S, options.limits.duration_s))
        warmed = [warm_up(one.items, one.stages) for one in works]
        date = datetime.now(timezone.utc).isoformat(timespec="seconds")
        begin = time.perf_counter()
        with sample_sensors(SENSOR_INTERVAL_S) as sensors, OthersWatch() as others:
            names, samples, scenario = _run(works, options)
        duration_s = round(time.perf_counter() - begin, 3)
        machine = here()
        return Profile(
            bundle=bundle.manifest.name,
            task=bundle.manifest.task,
            files={**bundle.manifest.files, "manifest.json": bundle.manifest_sha256},
            inputs={k: {"shape": list(v.shape), "dtype": v.dtype.name} for k, v in work.sample.items()},
            feeds=work.origin,
            stages=names,
            device=session.device,
            precision=session.precision,
            threads=wanted.threads or processor().usable_cores,
            warm_up=min(warmed, key=lambda one: one.stable),
            overhead=overhead,
            other_cores=others.cores,
            machine=machine.to_json(),
            sensors=sensors.summary().to_json() | {"samples": sensors.series(), "idle": idle},
            versions=_versions(),
            date_utc=date,
            duration_s=duration_s,
            samples=samples,
            metrics=bundle.manifest.metrics,
            graph=graph,
            scenario=scenario,
            gpu=gpu_of_run(session.device, machine.gpus),
        )


def _sessions(options: ProfileOptions) -> tuple[SessionOptions, int]:
    """What each session is loaded with and how many there are: cores are shared by the streams of offline."""
    if options.scenario.name != OFFLINE:
        return options.session, 1
    cores = processor().usable_cores
    streams = options.scenario.streams or max(1, cores // max(1, options.session.threads))
    return replace(options.session, threads=options.session.threads or max(1, cores // streams)), streams


def _run(works: Sequence[Workload], options: ProfileOptions) -> tuple[tuple[str, ...], Times, dict[str, Any]]:
    """The names of the stages, the samples, and the scenario with what came of it."""
    scenario, limits, work = options.scenario, options.limits, works[0]
    if scenario.name == OFFLINE:
        found = offline([(one.items, one.stages) for one in works], limits)
        return work.names, found.times, found.outcome(len(works))
    if scenario.name == CAMERA:
        seen = paced(work.items, work.stages, limits, scenario.fps)
        return (WAIT, *work.names), seen.times, seen.outcome(scenario)
    return work.names, single_stream(work.items, work.stages, limits), {"name": SINGLE_STREAM}


def random_feeds(inputs: Sequence[TensorSpec], seed: int) -> Feeds:
    """Seeded uniform noise in each input's range; a dimension that may vary counts as 1.

    Without a range: 0..255 for uint8, 0 and 1 for other integers, 0..1 for floats.
    """
    rng = np.random.default_rng(seed)
    feeds = {}
    for spec in inputs:
        shape = [d if isinstance(d, int) else 1 for d in spec.shape]
        dtype = np.dtype(spec.dtype)
        low, high = spec.range or ((0, 255) if dtype == np.uint8 else (0, 1))
        noise = rng.uniform(low, high, shape) if dtype.kind == "f" else rng.integers(int(low), int(high) + 1, shape)
        feeds[spec.name] = noise.astype(dtype)
    return feeds


def network_feeds(bundle: Bundle, options: ProfileOptions) -> tuple[list[Feeds], str]:
    """What the network alone is fed with, query by query, and where it is from.

    Frames for a bundle with a task, or where a source is given; else, and where no clip ships, one seeded noise.
    """
    uri = options.source or _sample_uri()
    if uri is None or not (bundle.manifest.task or options.source):
        return [random_feeds(bundle.manifest.inputs, options.seed)], f"random, seed {options.seed}"
    task, frames = task_for(bundle.manifest), _frames(uri)
    # A task may hand out the same buffer again and again, so each query's feeds are copied.
    return [{name: array.copy() for name, array in task.prepare(f).items()} for f in frames], _origin(frames, uri)


def workload(bundle: Bundle, session: Session, options: ProfileOptions) -> Workload:
    """What `session` is measured with. Raises UsageError when stages are asked for without frames."""
    if not options.stages:
        feeds, origin = network_feeds(bundle, options)
        return Workload(feeds, ("inference",), (session.run,), feeds[0], origin)
    uri = options.source or _sample_uri()
    if uri is None:
        raise UsageError("--stages needs frames and no sample clip ships here; give them with --source URI")
    task, frames = task_for(bundle.manifest), _frames(uri)
    return Workload(frames, STAGES, _stages(task, session), task.prepare(frames[0]), _origin(frames, uri))


def _origin(frames: Sequence[Image], uri: str) -> str:
    return f"{len(frames)} frames of {without_password(uri)}"


def _stages(task: Task, session: Session) -> tuple[Stage, ...]:
    """The pipeline's work on a frame; the frame's size travels along, because decoding needs it."""

    def prepare(image: Image) -> Any:
        return task.prepare(image), image.shape[:2]

    def infer(prepared: Any) -> Any:
        feeds, image_hw = prepared
        return session.run(feeds), image_hw

    def decode(answered: Any) -> Any:
        outputs, image_hw = answered
        return task.decode(outputs, image_hw)

    return prepare, infer, decode


def _frames(uri: str) -> list[Image]:
    """The first frames of a source, at most 32."""
    images: list[Image] = []
    with open_source(uri) as source:
        while len(images) < FRAMES and (frame := source.read()) is not None:
            images.append(frame.image.copy())
    if not images:
        raise CameraUnavailable(
            f"--source {without_password(uri)} gave no frame; expected at least one to measure with"
        )
    return images


def _sample_uri() -> str | None:
    return SAMPLE_URI if (SHIPPED / "corridor.mp4").is_file() else None


def _versions() -> dict[str, str]:
    found = {"python": python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
