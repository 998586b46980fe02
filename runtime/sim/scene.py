"""Draws a course with OpenGL, MiniWorld's textures and meshes, without a display.

Importing this file loads MiniWorld and opens EGL, so only `Simulator` does it, after it has checked for both. An
OpenGL context belongs to one thread: make, use and close a Scene in the same one.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from pathlib import Path

import cv2  # noqa: TID253 - this file is the drawing: importing it is what loads the packages
import numpy as np
import pyglet  # noqa: TID253
from miniworld.objmesh import ObjMesh  # noqa: TID253
from miniworld.utils import get_file_path  # noqa: TID253
from numpy.typing import NDArray
from pyglet import gl  # noqa: TID253

from ..results import Floats, Image
from ..sources import CameraGeometry
from .course import Course
from .framebuffer import FrameBuffer, Texture
from .patches import Patch, patches, thing_patches
from .patterns import PREFIX, pattern
from .robot import Pose
from .things import POT_M, POTTED, TURNED_DEG, Obstacle, blocks

NEAR_M, FAR_M = 0.04, 100.0
CROWN_M = 1.0
"""The widest that a plant is drawn: it stands 0.55 m from the walls of its corner."""


class Scene:
    """A course on the graphics side."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self._window = pyglet.window.Window(width=1, height=1, visible=False)
        self._window.switch_to()
        gl.glEnable(gl.GL_DEPTH_TEST)
        gl.glEnable(gl.GL_CULL_FACE)
        self._buffers: dict[tuple[int, int], FrameBuffer] = {}
        self._drawn: FrameBuffer | None = None
        self._textures: dict[str, Texture] = {}
        things = [*course.obstacles, *(mover.thing for mover in course.movers)]
        self._meshes = {thing.kind: ObjMesh.get(thing.kind) for thing in things if not blocks(thing.kind)}
        self._blocks: dict[tuple[str, float, float, float], tuple[int, float, float]] = {}
        self._list = gl.glGenLists(1)
        made = patches(course)
        for patch in made:
            self._texture(patch.texture)
        gl.glNewList(self._list, gl.GL_COMPILE)
        self._draw_patches(made)
        for thing in course.obstacles:
            if not blocks(thing.kind):
                self._draw_mesh(thing)
        gl.glEndList()

    def draw(
        self, pose: Pose, camera: CameraGeometry, image_hw: tuple[int, int], loose: Sequence[Obstacle] = ()
    ) -> Image:
        """The picture (H, W, 3) uint8 BGR, the caller's to keep, that the camera at `pose` sees.

        `loose` are the things that are not the course's own: they may stand elsewhere in each picture.
        """
        if self._window is None:
            raise RuntimeError("this scene is closed")
        self._window.switch_to()
        if image_hw not in self._buffers:
            self._buffers[image_hw] = FrameBuffer(image_hw)
        self._drawn = self._buffers[image_hw]
        lists = [self._block_list(thing) for thing in loose if blocks(thing.kind)]
        self._drawn.bind()
        self._look(pose, camera, image_hw[1] / image_hw[0])
        gl.glCallList(self._list)
        for number, dx, dy in lists:
            gl.glPushMatrix()
            gl.glTranslatef(dx, 0.0, -dy)
            gl.glCallList(number)
            gl.glPopMatrix()
        for thing in loose:
            if not blocks(thing.kind):
                self._draw_mesh(thing)
        return self._drawn.read()

    def depth_m(self) -> Floats:
        """Distance (H, W) float32 along the optical axis, in metres, of the picture that was drawn last."""
        if self._window is None or self._drawn is None:
            raise RuntimeError("nothing was drawn yet, or the scene is closed")
        clip = 2 * self._drawn.read_depth() - 1
        depth: Floats = 2 * FAR_M * NEAR_M / (FAR_M + NEAR_M - clip * (FAR_M - NEAR_M))
        return depth

    def close(self) -> None:
        """Free the context; may be called twice."""
        if self._window is not None:
            self._window.switch_to()
            for number in (self._list, *(made for made, _, _ in self._blocks.values())):
                gl.glDeleteLists(number, 1)
            for texture in self._textures.values():
                texture.free()
            for buffer in self._buffers.values():
                buffer.free()
            self._window.close()
            self._window = None

    def _block_list(self, thing: Obstacle) -> tuple[int, float, float]:
        """A display list for a built thing that moves, in the light of where it stood first, and how far it went."""
        key = (thing.kind, thing.length_m, thing.width_m, thing.height_m)
        if key not in self._blocks:
            made = thing_patches(self.course, thing)
            for patch in made:
                self._texture(patch.texture)
            number = gl.glGenLists(1)
            gl.glNewList(number, gl.GL_COMPILE)
            self._draw_patches(made)
            gl.glEndList()
            self._blocks[key] = (number, thing.x, thing.y)
        number, x, y = self._blocks[key]
        return number, thing.x - x, thing.y - y

    def _look(self, pose: Pose, camera: CameraGeometry, aspect: float) -> None:
        gl.glMatrixMode(gl.GL_PROJECTION)
        gl.glLoadIdentity()
        gl.gluPerspective(camera.fov_y_deg, aspect, NEAR_M, FAR_M)
        gl.glMatrixMode(gl.GL_MODELVIEW)
        gl.glLoadIdentity()
        pitch = math.radians(camera.pitch_deg)
        eye = (pose.x, camera.height_m, -pose.y)
        ahead = (
            math.cos(pose.heading_rad) * math.cos(pitch),
            -math.sin(pitch),
            -math.sin(pose.heading_rad) * math.cos(pitch),
        )
        gl.gluLookAt(*eye, *(e + a for e, a in zip(eye, ahead, strict=True)), 0.0, 1.0, 0.0)

    def _texture(self, name: str) -> Texture:
        if name not in self._textures:
            self._textures[name] = Texture(_load(name))
        return self._textures[name]

    def _draw_patches(self, made: list[Patch]) -> None:
        gl.glDisable(gl.GL_LIGHTING)
        gl.glEnable(gl.GL_TEXTURE_2D)
        for name in sorted({p.texture for p in made}):
            texture = self._texture(name)
            texture.bind()
            mine = [p for p in made if p.texture == name]
            xyz = np.ascontiguousarray(np.concatenate([p.xyz for p in mine]))
            uv = np.concatenate([p.uv for p in mine])
            # A picture's own quad spans its texture once; surfaces repeat theirs by the metre.
            scale: tuple[int, int] = (1, 1) if uv.max() <= 1 and uv.min() >= 0 else texture.size
            _draw_quads(
                xyz, np.ascontiguousarray(uv / np.array(scale), np.float32), np.concatenate([p.rgb for p in mine])
            )

    def _draw_mesh(self, thing: Obstacle) -> None:
        """One of MiniWorld's meshes, scaled to the obstacle's size, under a soft light from above."""
        mesh = self._meshes[thing.kind]
        look = self.course.look
        # Textured meshes come without a colour of their own and take the light's.
        gl.glEnable(gl.GL_LIGHTING)
        gl.glEnable(gl.GL_LIGHT0)
        gl.glEnable(gl.GL_NORMALIZE)
        gl.glShadeModel(gl.GL_SMOOTH)
        gl.glEnable(gl.GL_COLOR_MATERIAL)
        gl.glColorMaterial(gl.GL_FRONT_AND_BACK, gl.GL_AMBIENT_AND_DIFFUSE)
        gl.glLightfv(gl.GL_LIGHT0, gl.GL_POSITION, _floats(thing.x + 0.6, 2.5, -thing.y + 0.4, 1))
        gl.glLightfv(gl.GL_LIGHT0, gl.GL_AMBIENT, _floats(*(look.ambient * 0.8,) * 3, 1))
        gl.glLightfv(gl.GL_LIGHT0, gl.GL_DIFFUSE, _floats(*(look.lamp * 0.9,) * 3, 1))
        turn, base_m, scale = _fitted(mesh, thing)
        middle = (mesh.min_coords + mesh.max_coords) / 2
        gl.glPushMatrix()
        gl.glTranslatef(thing.x, base_m, -thing.y)
        gl.glRotatef(math.degrees(thing.heading_rad) + turn, 0, 1, 0)
        gl.glScalef(*scale)
        gl.glTranslatef(-middle[0], 0.0, -middle[2])
        gl.glColor3f(1, 1, 1)
        mesh.render()
        gl.glPopMatrix()
        gl.glDisable(gl.GL_LIGHTING)


def _fitted(mesh: ObjMesh, thing: Obstacle) -> tuple[float, float, tuple[float, float, float]]:
    """The turn in degrees, the height of the foot and the scales (x, y, z) that make a mesh fill the thing's sizes."""
    x, y, z = (float(v) for v in mesh.max_coords - mesh.min_coords)
    if thing.kind in POTTED:
        foot_m = 0.8 * POT_M
        scale = (thing.height_m - foot_m) / y
        wide = min(scale, CROWN_M / max(x, z))
        return 0.0, foot_m, (wide, scale, wide)
    turn = TURNED_DEG.get(thing.kind, 0)
    along, across = (z, x) if turn else (x, z)
    long, wide = thing.length_m / along, thing.width_m / across
    return turn, 0.0, (wide if turn else long, thing.height_m / y, long if turn else wide)


def _draw_quads(xyz: NDArray[np.float32], uv: NDArray[np.float32], rgb: NDArray[np.float32]) -> None:
    def pointer(array: NDArray[np.float32]) -> ctypes.c_void_p:
        return array.ctypes.data_as(ctypes.c_void_p)

    rgb = np.ascontiguousarray(rgb)
    states = (gl.GL_VERTEX_ARRAY, gl.GL_TEXTURE_COORD_ARRAY, gl.GL_COLOR_ARRAY)
    gl.glBindBuffer(gl.GL_ARRAY_BUFFER, 0)
    for state in states:
        gl.glEnableClientState(state)
    gl.glVertexPointer(3, gl.GL_FLOAT, 0, pointer(xyz))
    gl.glTexCoordPointer(2, gl.GL_FLOAT, 0, pointer(uv))
    gl.glColorPointer(3, gl.GL_FLOAT, 0, pointer(rgb))
    gl.glDrawArrays(gl.GL_QUADS, 0, len(xyz))
    for state in states:
        gl.glDisableClientState(state)


def _load(name: str) -> Image:
    """The picture that a texture's name means: a pattern, a file, or one of MiniWorld's."""
    if name.startswith(PREFIX):
        return pattern(name)
    file = name if Path(name).is_file() else get_file_path("textures", name, "png")
    image = cv2.imread(file, cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f"{file} is no picture that OpenCV reads")
    return np.asarray(image, np.uint8)


def _floats(*values: float) -> ctypes.Array[ctypes.c_float]:
    return (ctypes.c_float * len(values))(*values)
