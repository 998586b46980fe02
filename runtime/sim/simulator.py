"""The simulator: a robot on a course, what its camera sees, and what is true about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import MissingExtra, need
from ..results import Image
from ..sources import CameraGeometry
from . import expert
from .course import Course
from .layout import LINE_STEP_M
from .robot import RADIUS_M, Pose, advance, wrap
from .world import clearance_m, crosses

if TYPE_CHECKING:
    from .scene import Scene

FLOOR_HEIGHT_M = 0.02
DEBIAN_PACKAGES = "libegl1 libegl-mesa0 libgl1-mesa-dri libglu1-mesa"


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """`camera` None takes the camera that the course's look has."""

    camera: CameraGeometry | None = None


class Simulator:
    """One robot that drives one course.

    Make, use and close it in one thread: its OpenGL context belongs to that thread. Raises MissingExtra when
    MiniWorld or the system's EGL is missing.
    """

    def __init__(self, course: Course, seed: int = 0, options: SimulatorOptions | None = None) -> None:
        self.course = course
        self.geometry = (options or SimulatorOptions()).camera or course.look.camera
        self._start = int(np.random.default_rng((seed, 29)).integers(len(course.line)))
        self._scene = _open_scene(course)
        self.reset()

    def reset(self) -> None:
        """Back to the start, which the seed chose, on the line and along it."""
        self.place(self.pose_on_line(self._start))

    def pose_on_line(self, index: int) -> Pose:
        """The pose on the line's point `index`, looking along it."""
        line = self.course.line
        here, ahead = line[index % len(line)], line[(index + 4) % len(line)]
        return Pose(float(here[0]), float(here[1]), math.atan2(ahead[1] - here[1], ahead[0] - here[0]))

    def place(self, pose: Pose) -> None:
        """Put the robot somewhere; what it has driven so far counts no more."""
        self.pose = pose
        self.nearest = self._origin = expert.nearest_index(self.course, pose)
        self.progress_m = 0.0
        self.collided = self._touches(pose, pose)

    def put_back(self, progress_m: float) -> None:
        """Help the robot back onto the line, where it has driven `progress_m` of its lap; the lap goes on."""
        origin = self._origin
        self.place(self.pose_on_line(origin + round(progress_m / LINE_STEP_M)))
        self._origin, self.progress_m = origin, progress_m

    def step(self, steer: float, speed: float, dt_s: float) -> None:
        """Drive `dt_s` seconds: `steer` -1..1 (positive left) and `speed` 0..1, see `robot.advance`.

        A robot that touches something stays where it was, with `collided` true from then on.
        """
        new = advance(self.pose, steer, speed, dt_s)
        if self._touches(self.pose, new):
            self.collided = True
            return
        self.pose = new
        self._follow()

    def render(self, image_hw: tuple[int, int]) -> Image:
        """What the camera sees: (H, W, 3) uint8 BGR, the caller's to keep."""
        return self._scene.draw(self.pose, self.geometry, image_hw)

    def free_space_mask(self) -> NDArray[np.bool_]:
        """(H, W): where the picture rendered last shows floor, exact from its depth."""
        depth = self._scene.depth_m()
        height, _ = depth.shape
        focal = height / 2 / math.tan(math.radians(self.geometry.fov_y_deg) / 2)
        down = (np.arange(height) + 0.5 - height / 2) / focal
        pitch = math.radians(self.geometry.pitch_deg)
        drop = math.sin(pitch) + down * math.cos(pitch)  # metres below the camera per metre of depth
        above_floor = self.geometry.height_m - depth * drop[:, None]
        return np.asarray(above_floor < FLOOR_HEIGHT_M)

    @property
    def lateral_deviation_m(self) -> float:
        """Distance from the line, positive to its left."""
        line = self.course.line
        here = line[self.nearest]
        along = line[(self.nearest + 1) % len(line)] - here
        dx, dy = self.pose.x - here[0], self.pose.y - here[1]
        return float((along[0] * dy - along[1] * dx) / np.hypot(*along))

    @property
    def lap_done(self) -> bool:
        """True once the robot has been all the way around."""
        return self.progress_m >= self.course.length_m

    def close(self) -> None:
        """Free the graphics; may be called twice."""
        self._scene.close()

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _touches(self, old: Pose, new: Pose) -> bool:
        start, end = np.array([old.x, old.y]), np.array([new.x, new.y])
        near = clearance_m(end[None], self.course.solids)[0] < RADIUS_M
        return bool(near) or crosses(start, end, self.course.solids)

    def _follow(self) -> None:
        """Move `nearest` along the line, looking only close by: the next corridor may be nearer through a wall."""
        line = self.course.line
        window = (self.nearest + np.arange(-20, 21)) % len(line)
        moved = int(((line[window] - (self.pose.x, self.pose.y)) ** 2).sum(1).argmin()) - 20
        self.nearest = (self.nearest + moved) % len(line)
        self.progress_m += moved * LINE_STEP_M

    def heading_error_rad(self) -> float:
        """The robot's heading less the line's."""
        return wrap(self.pose.heading_rad - self.pose_on_line(self.nearest).heading_rad)


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
