"""What every sink with something to close shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

from ..results import Result

S = TypeVar("S", bound="BaseSink")


class BaseSink(ABC):
    """Closes on exit."""

    @abstractmethod
    def __call__(self, result: Result) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
