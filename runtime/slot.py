"""The hand-over between two threads: one item at most, so that nothing queues up and grows old."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Slot(Generic[T]):
    """Holds at most one item.

    With `keep_every`, `put` waits until the item before was taken. Without it, `put` overwrites, and `overwritten`
    counts what nobody took.
    """

    def __init__(self, keep_every: bool) -> None:
        self.overwritten = 0
        self._keep_every = keep_every
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> None:
        """Hand over `item`; after `close` it is dropped."""
        with self._changed:
            if self._keep_every:
                self._changed.wait_for(lambda: self._item is None or self._closed)
            elif self._item is not None:
                self.overwritten += 1
            if not self._closed:
                self._item = item
                self._changed.notify_all()

    def get(self, timeout_s: float | None = None) -> T | None:
        """The item, waited for; None after `timeout_s`, or when the slot is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            self._changed.notify_all()
            return item

    def pause(self, seconds: float) -> None:
        """Wait so long, or until it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)

    @property
    def finished(self) -> bool:
        """True when it is closed and its last item was taken."""
        with self._changed:
            return self._closed and self._item is None

    def close(self) -> None:
        """No more items; the one that is in it can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Close, and drop the item that is in it."""
        with self._changed:
            self._closed = True
            self._item = None
            self._changed.notify_all()
