"""How far the way ahead is open, on grids that are drawn here."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2", reason="opencv-python is not installed")

from helmsight.runtime.driving.outlook import Outlook
from helmsight.runtime.mapping.geometry import Pose
from helmsight.runtime.mapping.grid import OccupancyGrid

from .test_local import grid_with


def test_rays_end_at_what_stands_and_at_their_reach() -> None:
    outlook = Outlook()
    open_m = outlook.open_m(grid_with((0.9, -1.5, 1.1, 0.1)), Pose())
    by_deg = dict(zip(np.degrees(outlook.bearings).round().astype(int).tolist(), open_m.tolist(), strict=True))
    assert by_deg[0] == pytest.approx(0.9 - outlook.options.grow_m, abs=0.08)
    assert by_deg[35] == outlook.options.reach_m


def test_what_was_not_seen_and_what_lies_beyond_the_map_is_open() -> None:
    outlook = Outlook()
    for grid, pose in (
        (OccupancyGrid(), Pose()),
        (grid_with(), Pose(50.0, 50.0, 1.0)),
        (grid_with(), Pose(2.9, 2.9, 0.5)),
    ):
        assert (outlook.open_m(grid, pose) == outlook.options.reach_m).all()


@pytest.mark.parametrize(("yaw", "ended"), [(0.0, True), (2.0, False)])
def test_the_way_ends_at_a_wall_and_not_at_a_box(yaw: float, ended: bool) -> None:
    wall, box = grid_with((0.8, -1.5, 1.0, 1.5)), grid_with((0.8, -0.1, 1.0, 0.1))
    assert Outlook().ended(wall, Pose(yaw_rad=yaw)) is ended
    assert not Outlook().ended(box, Pose(yaw_rad=yaw))
