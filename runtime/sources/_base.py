"""What every source shares: it is a context manager."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

from ..results import Frame
from . import CameraGeometry

S = TypeVar("S", bound="BaseSource")


class BaseSource(ABC):
    """Opens on entry and closes on exit; iterating gives frames until the source ends."""

    live = False
    fps = 0.0
    geometry: CameraGeometry | None = None
    can_freeze = False

    @property
    def ended(self) -> bool:
        return False

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @abstractmethod
    def open(self) -> None: ...

    @abstractmethod
    def read(self) -> Frame | None: ...

    @abstractmethod
    def close(self) -> None: ...

    def another(self) -> BaseSource | None:
        return None

    def __enter__(self: S) -> S:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self: S) -> S:
        return self

    def __next__(self) -> Frame:
        frame = self.read()
        if frame is None:
            raise StopIteration
        return frame
