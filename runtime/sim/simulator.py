"""The simulator: a robot on a course (`motion.py`) and what its camera sees."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import MissingExtra, UsageError, need
from ..mapping.geometry import FloorView, Points
from ..mapping.geometry import Pose as MapPose
from ..results import Image
from ..sources import CameraGeometry
from .course import Course
from .layout import LINE_STEP_M
from .motion import Motion

if TYPE_CHECKING:
    from .scene import Scene

FLOOR_HEIGHT_M = 0.02
NEAREST_M = 0.05
"""Footprints are cut off nearer to the camera than this: what lies beside or behind it has no place in the picture."""
WAY_M, WAY_HALF_M = 4.0, 0.25
"""How far ahead the way on is told, and half its width, which is a robot's with some room."""
DEBIAN_PACKAGES = "libegl1 libegl-mesa0 libgl1-mesa-dri libglu1-mesa"


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """`camera` None takes the camera that the course's look has.

    For tests of robustness: the real camera looks `pitch_offset_deg` farther down than `geometry` says (negative:
    farther up), and the lamps and the ambient light are `light` times as bright as the course's look says.
    """

    camera: CameraGeometry | None = None
    pitch_offset_deg: float = 0.0
    light: float = 1.0


class Simulator(Motion):
    """One robot that drives one course, with a camera.

    Make, use and close it in one thread: its OpenGL context belongs to that thread. Raises MissingExtra when
    MiniWorld or the system's EGL is missing, UsageError for options that no camera has.
    """

    def __init__(self, course: Course, seed: int = 0, options: SimulatorOptions | None = None) -> None:
        options = options or SimulatorOptions()
        super().__init__(course, seed)
        self.geometry = options.camera or course.look.camera
        pitch_deg = self.geometry.pitch_deg + options.pitch_offset_deg
        if not -45 <= pitch_deg <= 60 or not 0 < options.light <= 4:
            raise UsageError(
                f"simulator: pitch {pitch_deg:g} degrees and light {options.light:g}; expected a pitch of -45 to 60, "
                "offset included, and a light above 0 and up to 4"
            )
        self._camera = replace(self.geometry, pitch_deg=pitch_deg)
        self._scene = _open_scene(lit(course, options.light))

    def render(self, image_hw: tuple[int, int]) -> Image:
        """What the camera sees: (H, W, 3) uint8 BGR, the caller's to keep."""
        return self._scene.draw(self.pose, self._camera, image_hw, self.course.obstacles[len(self._plan.obstacles) :])

    def free_space_mask(self) -> NDArray[np.bool_]:
        """(H, W): where the picture rendered last shows floor, exact from its depth."""
        depth = self._scene.depth_m()
        height, _ = depth.shape
        focal = height / 2 / math.tan(math.radians(self._camera.fov_y_deg) / 2)
        down = (np.arange(height) + 0.5 - height / 2) / focal
        pitch = math.radians(self._camera.pitch_deg)
        drop = math.sin(pitch) + down * math.cos(pitch)  # metres below the camera per metre of depth
        above_floor = self._camera.height_m - depth * drop[:, None]
        return np.asarray(above_floor < FLOOR_HEIGHT_M)

    def drivable_mask(self) -> NDArray[np.bool_]:
        """(H, W): the same without the floor under things: one sees it between their legs, but cannot drive there."""
        import cv2

        mask = self.free_space_mask().astype(np.uint8)
        view = FloorView(self._camera, (mask.shape[0], mask.shape[1]))
        here = MapPose(self.pose.x, self.pose.y, self.pose.heading_rad).inverse()
        for thing in self.course.obstacles:
            corners = _ahead_of(here.to_world(thing.corners), NEAREST_M)
            if len(corners):
                pixels = np.clip(view.to_pixels(corners), -1e4, 1e4).round().astype(np.int32)
                cv2.fillConvexPoly(mask, pixels, 0)
        return mask.astype(bool)

    def way_mask(self, drivable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(H, W): the floor of `drivable`, a raster of any size over the picture, that lies on the way on.

        That is within `WAY_HALF_M` of the line, up to `WAY_M` farther along it than the robot is.
        """
        view = FloorView(self._camera, (drivable.shape[0], drivable.shape[1]))
        rows, columns = np.nonzero(drivable)
        floor = view.to_floor(np.stack([columns, rows], axis=1).astype(float))
        line = self._plan.line
        ahead = line[(self.nearest + np.arange(0, round(WAY_M / LINE_STEP_M), 2)) % len(line)]
        here = MapPose(self.pose.x, self.pose.y, self.pose.heading_rad)
        way = here.inverse().to_world(ahead)
        off_m2 = ((floor[:, None] - way) ** 2).sum(-1).min(1)
        mask = np.zeros_like(drivable)
        mask[rows, columns] = off_m2 < WAY_HALF_M**2
        return mask

    def close(self) -> None:
        """Free the graphics; may be called twice."""
        self._scene.close()

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ahead_of(corners: Points, x_m: float) -> Points:
    """The part of a convex polygon (K, 2) with x of `x_m` and more (Sutherland and Hodgman 1974); (0, 2) for none."""
    kept = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if a[0] >= x_m:
            kept.append(a)
        if (a[0] >= x_m) != (b[0] >= x_m):
            kept.append(a + (b - a) * (x_m - a[0]) / (b[0] - a[0]))
    return np.array(kept).reshape(-1, 2)


def lit(course: Course, factor: float) -> Course:
    """The course with `factor` times the light."""
    look = course.look
    return replace(course, look=replace(look, ambient=look.ambient * factor, lamp=look.lamp * factor))


def _open_scene(course: Course) -> Scene:
    pyglet = need("pyglet", "sim")
    need("cv2", "sim")
    pyglet.options["headless"] = True  # must be set before pyglet.gl or miniworld is imported
    try:
        # Its import loads EGL; what a missing library raises is pyglet's ImportError.
        scene: type[Scene] = import_module(".scene", __package__).Scene
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name} is not installed; it comes with: pip install 'helmsight[sim]'") from error
    except Exception as error:  # pyglet raises classes of its own, which cannot be named without EGL
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MissingExtra(
            f"the simulator draws with EGL, which this machine lacks ({reason}); on Debian or Ubuntu: "
            f"apt-get install {DEBIAN_PACKAGES}"
        ) from error
    return scene(course)
