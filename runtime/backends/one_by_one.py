"""A session that takes several pictures at once from one whose network takes one."""

from __future__ import annotations

from types import TracebackType

import numpy as np

from . import Feeds, Outputs, Session


class OneByOne:
    """Runs `session` once for each of the T rows of every feed (T, ...) and puts its outputs (1, ...) together again.

    It owns `session` and closes it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.inputs = session.inputs
        self.outputs = session.outputs
        self.device = session.device
        self.precision = session.precision

    def run(self, feeds: Feeds) -> Outputs:
        count = len(next(iter(feeds.values())))
        if count == 1:
            return self._session.run(feeds)
        runs = [self._session.run({name: rows[i : i + 1] for name, rows in feeds.items()}) for i in range(count)]
        return {name: np.concatenate([one[name] for one in runs]) for name in runs[0]}

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> OneByOne:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
