"""Tasks: from a frame to a network's feeds, from its outputs to a record, and its drawing. One file each.

To add a task, write `NAME.py` beside `face.py` with a class that has these three methods and takes the bundle's
manifest, and name it in `TASKS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, Protocol

from ...devices.errors import UsageError
from ..backends import Feeds, Outputs
from ..bundle import Bundle, Manifest
from ..results import Image, Record
from ._picture import Letterbox, resize

__all__ = ["TASKS", "Letterbox", "Task", "resize", "task_for", "tile_faces"]

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


def tile_faces(bundles: Sequence[Bundle]) -> list[Bundle]:
    """The bundles, with the face detector's set to look at parts of the frame too; its session must be a `OneByOne`.

    Raises UsageError when there is none.
    """
    if not any(bundle.manifest.task == "face" for bundle in bundles):
        raise UsageError("--tile: only faces are looked for in tiles; add a face bundle, such as face")
    return [_tiled(bundle) if bundle.manifest.task == "face" else bundle for bundle in bundles]


def _tiled(bundle: Bundle) -> Bundle:
    manifest = bundle.manifest
    return replace(bundle, manifest=replace(manifest, decoding={**manifest.decoding, "tile": True}))
