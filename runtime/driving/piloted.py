"""The pilot between the pipeline and its sinks: they get what it commands in place of what the network would."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..mapping.from_results import ResultMapper
from ..results import Command, Drive, Result, Stop
from ..sources import Source
from .pilot import Pilot

log = logging.getLogger(__name__)

USUAL_FPS = 20.0
"""Of a source that is no live one and does not say how many frames a second it has."""


class PilotedSinks:
    """A sink that passes on to `sinks` what the pilot made of each result.

    A Stop of the pipeline stays one: the pilot has no say while a result is too old. `at_goal` is called once, when the
    goal is reached, `stopped` for each Stop that the pilot gives.
    """

    def __init__(
        self,
        pilot: Pilot,
        results: ResultMapper,
        source: Source,
        sinks: Sequence[Callable[[Result], None]],
        at_goal: Callable[[], None] = lambda: None,
        stopped: Callable[[], None] = lambda: None,
    ) -> None:
        self._pilot, self._map, self._source, self._sinks = pilot, results, source, sinks
        self._at_goal, self._stopped = at_goal, stopped
        self._there = self._standing = False

    def __call__(self, result: Result) -> None:
        time_s = self._time_s(result)
        if self._map(result, self._pilot.expected(time_s)) and isinstance(result.command, Command):
            drive = result.readings["navigate"].record
            assert isinstance(drive, Drive)
            result = replace(result, command=self._told(self._pilot.command(drive, time_s)))
        else:
            self._pilot.overruled(result.command, time_s)
        for sink in self._sinks:
            sink(result)
        if self._pilot.arrived and not self._there:
            self._there = True
            self._at_goal()

    def _told(self, command: Command | Stop) -> Command | Stop:
        """The command; the first Stop of several is said."""
        stop = isinstance(command, Stop)
        if isinstance(command, Stop):
            self._stopped()
            if not self._standing:
                log.warning("STOP: %s", command.reason)
        self._standing = stop
        return command

    def _time_s(self, result: Result) -> float:
        """When the frame was captured; a source that waits is read at any pace, so there its frames tell the time."""
        if self._source.live:
            return result.frame.captured_ns / 1e9
        return result.frame.index / (self._source.fps or USUAL_FPS)
