"""Tasks: from a frame to a network's feeds, from its outputs to a record, and its drawing. One file each.

To add a task, write `NAME.py` beside `face.py` with a class that has these three methods and takes the bundle's
manifest, and name it in `TASKS`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from ...devices.errors import UsageError
from ..backends import Feeds, Outputs
from ..bundle import Manifest
from ..results import Image, Record
from ._picture import Letterbox, resize

__all__ = ["TASKS", "Letterbox", "Task", "resize", "task_for"]

TASKS = {"face": "FaceTask", "navigate": "NavigateTask", "": "RawTask"}
"""A task's name, which is also its file (`raw.py` for a model without one), and its class."""


class Task(Protocol):
    """One task of one bundle. A method is called from one thread at a time, `prepare` and `decode` maybe at once."""

    name: str

    def prepare(self, image: Image) -> Feeds:
        """The network's feeds for a frame of any size (H x W x 3 uint8 BGR)."""
        ...

    def decode(self, outputs: Outputs, image_hw: tuple[int, int]) -> Record:
        """The record, in pixels of the frame that `prepare` was given."""
        ...

    def draw(self, image: Image, record: Any) -> None:
        """Draw the record into `image`, in place."""
        ...


def task_for(manifest: Manifest) -> Task:
    """The task that the manifest names."""
    if manifest.task not in TASKS:
        known = ", ".join(t for t in TASKS if t)
        raise UsageError(f"bundle {manifest.name} has task {manifest.task!r}; this helmsight knows {known}")
    module = import_module(f".{manifest.task or 'raw'}", __package__)
    task: Task = getattr(module, TASKS[manifest.task])(manifest)
    return task
