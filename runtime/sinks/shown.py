"""Between a pipeline and the sinks that draw: they get the map as it is with each result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..driving.pilot import Pilot
from ..mapping.mapper import Mapper
from ..mapping.view import MapView, view_of
from ..results import Command, Result, Stop


class ShownMap:
    """A sink that passes results on to `sinks` with the map, and with the goal and the plan of a pilot.

    It looks at the map in the thread that makes it, for drawing is done in others.
    """

    def __init__(self, mapper: Mapper, pilot: Pilot | None, sinks: Sequence[Callable[[Result], None]]) -> None:
        self._mapper, self._pilot, self._sinks = mapper, pilot, sinks

    def __call__(self, result: Result) -> None:
        result = replace(result, map=self._view(result.command))
        for sink in self._sinks:
            sink(result)

    def _view(self, command: Command | Stop | None) -> MapView:
        pilot = self._pilot
        goal = pilot.route.goal if pilot and pilot.route else None
        plan = pilot.plan if pilot and isinstance(command, Command) else None
        # The last plan stays while the robot turns round: that command was not chosen among arcs.
        meant = plan is not None and isinstance(command, Command) and plan.command.steer == command.steer
        return view_of(self._mapper, goal, plan.arc if plan and meant else None)
