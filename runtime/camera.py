"""Everything that `helmsight camera` does, as one object: bundles, source, pipeline and sinks put together."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..devices.errors import UsageError
from ..devices.processor import processor
from .backends import Session, SessionOptions, load
from .backends.one_by_one import OneByOne
from .bundle import Bundle, open_bundle, resize_bundles
from .calibration import DEFAULT_GEOMETRY
from .camera_checks import check_drawn, check_driving, check_files, check_pace
from .camera_options import CameraOptions
from .camera_report import CameraReport, outcome
from .driving.guarded import GuardedSinks
from .driving.local import RobotShape
from .driving.pilot import Pilot
from .driving.piloted import PilotedSinks
from .driving.route import Route, check_goal
from .mapping.from_results import ResultMapper
from .meter import SourceState
from .model import Model
from .pipeline import Pipeline, PipelineOptions, Sink
from .results import Result
from .sinks.difference import Difference
from .sinks.jsonlines import JsonLines
from .sinks.map import MapSink
from .sinks.overlay import Overlay
from .sinks.recorder import Recorder
from .sinks.robot import RobotSink
from .sinks.shown import ShownMap
from .sinks.side_by_side import SideBySide
from .sinks.take import Takes
from .sinks.window import Window
from .sources import CameraGeometry, Robot, open_source
from .sources.replay import ReplaySource
from .tasks import Task, task_for, tile_faces
from .tracking import FaceTracker, TrackedSinks, follow_weak_faces, score_threshold

if TYPE_CHECKING:
    from .preview.preview import Preview
    from .preview.status import Running

__all__ = ["Camera", "CameraOptions", "CameraReport"]

log = logging.getLogger(__name__)

DEFAULT_TAKE = Path("recording")
"""Where the page's button records to, where nothing else was said."""


class Camera:
    """One run; everything it opens is closed when `run` returns, however it returns."""

    def __init__(self, options: CameraOptions) -> None:
        if not options.bundles:
            raise UsageError("no bundle given; expected one or more, for example: face navigate")
        self._options = options
        self._bundles = bundles = _bundles(options)
        self._tracker: FaceTracker | None = None
        if options.track:
            self._bundles = follow_weak_faces(bundles)
            self._tracker = FaceTracker(score_threshold(bundles))
        self._tasks: list[Task] = [task_for(bundle.manifest) for bundle in self._bundles]
        self._names = names = [task.name for task in self._tasks]
        if len(set(names)) < len(names):
            raise UsageError(f"two bundles of the same task ({', '.join(names)}); expected one bundle a task")
        check_files(options)
        self._source = open_source(options.source)
        check_driving(options, names, self._source)
        check_pace(options, names, self._source)
        check_drawn(options)
        self._shape = options.shape or RobotShape()
        self._route = Route(check_goal(options.goal), self._shape.radius_m) if options.goal else None
        self._pipeline: Pipeline | None = None
        self._stopped = False

    def stop(self) -> None:
        """End soon and whole; may be called from a signal handler."""
        self._stopped = True
        if self._pipeline is not None:
            self._pipeline.stop()

    @property
    def source_state(self) -> SourceState | None:
        """How the source is, for any thread; None before the models are loaded."""
        return self._pipeline.meter.source if self._pipeline else None

    def run(self, more: Sequence[Sink] = ()) -> CameraReport:
        """Run until the source ends or `stop`. `more` are sinks of the caller's, called after those of the options."""
        with ExitStack() as opened:
            commands = self._commands(opened)
            preview = self._preview(opened)
            sessions = [opened.enter_context(self._load(bundle)) for bundle in self._bundles]
            models = [self._model(session, task) for session, task in zip(sessions, self._tasks, strict=True)]
            robot = self._robot()
            recorders, takes = self._recorders(opened, sessions)
            results = self._results()
            pilot = self._pilot(results)
            log_ = self._log(opened)
            beside = Difference(self._source.recording) if isinstance(self._source, ReplaySource) else None
            sinks: list[Sink] = [sink for sink in (log_, beside) if sink]
            drawing: list[Sink] = [*recorders, *([preview] if preview else [])]
            sinks += [*self._mapped(opened, results), *self._shown(opened, drawing, results, pilot), *more]
            if self._tracker:
                sinks = [TrackedSinks(self._tracker, self._source, sinks)]
            guarded = self._guarded(robot, commands, sinks)
            sinks = [guarded]
            if commands:
                opened.push(commands)  # closed first: a stop does not wait for a file to be finished
            if results and pilot:
                sinks = [PilotedSinks(pilot, results, self._source, sinks, self.stop, self._count_stop)]
            self._pipeline = pipeline = Pipeline(self._source, models, self._pipeline_options(), guarded.stop)
            if preview:
                preview.follow(self._running(pipeline, sessions, takes))
            if self._stopped:
                pipeline.stop()
            summary = pipeline.run(sinks)
        return CameraReport(
            source=self._source.uri,
            models=self._ran(sessions),
            summary=summary,
            recording=next((str(r.path) for r in recorders if r.path), None),
            recorded_frames=sum(r.frames for r in recorders),
            recording_dropped=sum(r.dropped for r in recorders),
            recording_error=next((str(r.error) for r in recorders if r.error), None),
            log_dropped=log_.dropped if log_ else 0,
            log_error=str(log_.error) if log_ and log_.error else None,
            drive=robot.drive_summary() if robot else None,
            robot=commands.report if commands else None,
            goal=outcome(pilot) if pilot else None,
            map=results.report if results else None,
            replay=beside.tasks if beside else None,
        )

    def _guarded(self, robot: Robot | None, commands: RobotSink | None, sinks: Sequence[Sink]) -> GuardedSinks:
        """The robot's sinks, which get each command first, and the others."""
        told: list[Sink] = [partial(_send, robot)] if robot else []
        told += [commands] if commands else []
        max_age_ms = self._options.pipeline.max_age_ms if self._source.live else math.inf
        return GuardedSinks(told, sinks, max_age_ms, self._count_stop)

    def _count_stop(self) -> None:
        assert self._pipeline is not None
        self._pipeline.meter.stopped()

    def _ran(self, sessions: Sequence[Session]) -> dict[str, dict[str, Any]]:
        return {
            name: {"bundle": str(bundle.path), "device": session.device, "precision": session.precision}
            for name, bundle, session in zip(self._names, self._bundles, sessions, strict=True)
        }

    def _running(self, pipeline: Pipeline, sessions: Sequence[Session], takes: Takes | None) -> Running:
        """What the preview shows besides the results."""
        from .preview.status import Running

        return Running(
            self._source.uri,
            self._ran(sessions),
            pipeline.meter,
            lambda: pipeline.overwritten,
            self._options.pipeline.max_age_ms if self._source.live else None,
            takes,
        )

    def _pipeline_options(self) -> PipelineOptions:
        drives = self._options.piloted or self._options.robot is not None
        return replace(self._options.pipeline, one_size=drives)

    def _commands(self, opened: ExitStack) -> RobotSink | None:
        """Opened before anything that may fail, so that whatever does ends with a stop."""
        options = self._options
        return opened.enter_context(RobotSink(options.robot, self._shape)) if options.robot else None

    def _preview(self, opened: ExitStack) -> Preview | None:
        options = self._options
        if options.preview is None:
            return None
        from .preview.preview import Preview  # its servers are 4 MB

        return opened.enter_context(Preview(options.preview, self._overlay(head=False), options.preview_token))

    def _overlay(self, head: bool = True) -> Overlay:
        """What draws: one object a sink."""
        if self._options.side_by_side and isinstance(self._source, ReplaySource):
            return SideBySide(self._tasks, self._source.recording, head)
        return Overlay(self._tasks, head)

    def _load(self, bundle: Bundle) -> Session:
        cores = processor().usable_cores
        threads = self._options.threads or max(1, (cores - 1) // len(self._bundles))
        session = load(bundle, SessionOptions(self._options.device, threads, self._options.allow_fallback))
        return OneByOne(session) if self._options.tile else session

    def _model(self, session: Session, task: Task) -> Model:
        options, name = self._options, task.name
        priority = options.priorities.get(name, float(name == "navigate"))
        return Model(session, task, options.periods_ms.get(name, 0.0), priority)

    def _robot(self) -> Robot | None:
        """The source, if it takes commands; without a model that drives it drives itself."""
        source = self._source
        if not isinstance(source, Robot):
            return None
        if not any(task.name == "navigate" for task in self._tasks):
            source.driver = "expert"
            log.warning("%s: no navigation bundle, so the simulator's own expert drives", self._source.uri)
        return source

    def _recorders(self, opened: ExitStack, sessions: Sequence[Session]) -> tuple[list[Recorder | Takes], Takes | None]:
        """The annotated video, the recordings that can be replayed, or both; the page starts and stops the latter."""
        path, recorders = self._options.record, list[Recorder | Takes]()
        video = path is not None and path.suffix != ""
        if path is not None and video:
            recorders.append(opened.enter_context(Recorder(path, self._overlay(), self._source)))
        if self._options.preview is None and (path is None or video):
            return recorders, None
        where = DEFAULT_TAKE if path is None or video else path
        takes = opened.enter_context(Takes(where, self._source, self._ran(sessions)))
        if where is path:
            takes.start()
        return [*recorders, takes], takes

    def _results(self) -> ResultMapper | None:
        """What makes the map, for the pilot and for the file."""
        wanted = self._options.piloted or self._options.map is not None
        return ResultMapper(self._geometry()) if wanted else None

    def _pilot(self, results: ResultMapper | None) -> Pilot | None:
        if results is None or not self._options.piloted:
            return None
        return Pilot(results.mapper, self._route, self._shape)

    def _log(self, opened: ExitStack) -> JsonLines | None:
        path = self._options.log
        return opened.enter_context(JsonLines(path, self._source.live)) if path else None

    def _mapped(self, opened: ExitStack, results: ResultMapper | None) -> list[Sink]:
        """The map is made before it is shown."""
        path = self._options.map
        return [opened.enter_context(MapSink(path, results))] if path and results else []

    def _shown(
        self, opened: ExitStack, drawing: Sequence[Sink], results: ResultMapper | None, pilot: Pilot | None
    ) -> list[Sink]:
        """Those that draw, and get the map."""
        sinks = list(drawing)
        if self._options.show:
            sinks.insert(0, opened.enter_context(Window(self._overlay(), self.stop)))
        return [ShownMap(results.mapper, pilot, sinks)] if results and sinks else sinks

    def _geometry(self) -> CameraGeometry:
        geometry = self._options.geometry or self._source.geometry
        if geometry is None:
            geometry = DEFAULT_GEOMETRY
            log.warning(
                "map: how %s looks at the floor is not known; taken to be %g degrees high, %g m over the floor and "
                "level, so distances are a guess; measure it with: helmsight calibrate 'boards/*.jpg' --board 9x6 "
                "--square 0.025 --floor floor.jpg --out camera.json, and give --geometry camera.json",
                self._source.uri,
                geometry.fov_y_deg,
                geometry.height_m,
            )
        return geometry


def _bundles(options: CameraOptions) -> list[Bundle]:
    """The bundles, checked, and set up for the size and the tiles that are asked for."""
    bundles = [open_bundle(name) for name in options.bundles]
    if options.image_hw:
        bundles = resize_bundles(bundles, options.image_hw)
    return tile_faces(bundles) if options.tile else bundles


def _send(robot: Robot, result: Result) -> None:
    if result.command is not None:
        robot.command(result.command, result.frame.index)
