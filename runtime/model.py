"""A loaded network with its task: from a frame to a record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from .backends import Session, SessionOptions
from .backends import load as load_session
from .bundle import open_bundle
from .results import Frame, Record
from .tasks import Task, task_for


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded network and its task. Called with a frame it gives the task's record; closing it closes the session.

    In a pipeline, which runs it from one thread and does not close it, it looks at a frame of a live source every
    `period_ms` at most (0: as often as it can). Where the one of the highest `priority` has a period, those of lower
    priority make room for it: see `shedding.py`.
    """

    session: Session
    task: Task
    period_ms: float = 0.0
    priority: float = 0.0

    def __call__(self, frame: Frame) -> Record:
        height, width = frame.image.shape[:2]
        return self.task.decode(self.session.run(self.task.prepare(frame.image)), (height, width))

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()


def load(bundle: str | Path, options: SessionOptions | None = None) -> Model:
    """The model of a bundle by its path, or by its name where it ships with helmsight: use it in a `with` statement.

    Raises what `open_bundle` and `backends.load` raise.
    """
    opened = open_bundle(bundle)
    return Model(load_session(opened, options), task_for(opened.manifest))
