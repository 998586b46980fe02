"""Off-screen pictures and depth, and textures, in OpenGL. Used by `scene.py` only and, like it, imported late.

MiniWorld has both. Its frame buffer keeps 32-bit floats for each of four samples, which costs half again as much time
per frame on a CPU, and 16 bits of depth; its texture loader rewrites pixels with a regular expression, 2 s a course.
"""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray
from pyglet import gl  # noqa: TID253 - see scene.py

from ..results import Floats, Image

SAMPLES = 4


class FrameBuffer:
    """A multisampled colour and depth buffer of `image_hw` pixels, read back as arrays that the caller owns."""

    def __init__(self, image_hw: tuple[int, int]) -> None:
        self.image_hw = image_hw
        self._stores: list[gl.GLuint] = []
        self._many = self._make(SAMPLES)
        self._single = self._make(0)
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, 0)

    def bind(self) -> None:
        """Clear it and draw into it from now on."""
        height, width = self.image_hw
        gl.glEnable(gl.GL_MULTISAMPLE)
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._many)
        gl.glViewport(0, 0, width, height)
        gl.glClearColor(0.0, 0.0, 0.0, 1.0)
        gl.glClearDepth(1.0)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT | gl.GL_DEPTH_BUFFER_BIT)

    def read(self) -> Image:
        """The picture (H, W, 3) uint8 BGR that was drawn."""
        self._resolve(gl.GL_COLOR_BUFFER_BIT)
        pixels = np.empty((*self.image_hw, 3), np.uint8)
        self._read_pixels(gl.GL_BGR, gl.GL_UNSIGNED_BYTE, pixels)
        return np.ascontiguousarray(pixels[::-1])

    def read_depth(self) -> Floats:
        """OpenGL's depth (H, W) float32 in 0..1 of what was drawn."""
        self._resolve(gl.GL_DEPTH_BUFFER_BIT)
        depth = np.empty(self.image_hw, np.float32)
        self._read_pixels(gl.GL_DEPTH_COMPONENT, gl.GL_FLOAT, depth)
        return np.ascontiguousarray(depth[::-1])

    def free(self) -> None:
        """Give its memory back; pyglet's contexts share theirs, so that closing a window does not."""
        for frame in (self._many, self._single):
            gl.glDeleteFramebuffers(1, ctypes.byref(frame))
        for store in self._stores:
            gl.glDeleteRenderbuffers(1, ctypes.byref(store))

    def _read_pixels(self, layout: int, kind: int, into: NDArray[np.uint8] | Floats) -> None:
        height, width = self.image_hw
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._single)
        gl.glPixelStorei(gl.GL_PACK_ALIGNMENT, 1)
        gl.glReadPixels(0, 0, width, height, layout, kind, into.ctypes.data_as(ctypes.c_void_p))

    def _resolve(self, what: int) -> None:
        height, width = self.image_hw
        gl.glBindFramebuffer(gl.GL_READ_FRAMEBUFFER, self._many)
        gl.glBindFramebuffer(gl.GL_DRAW_FRAMEBUFFER, self._single)
        gl.glBlitFramebuffer(0, 0, width, height, 0, 0, width, height, what, gl.GL_NEAREST)

    def _make(self, samples: int) -> gl.GLuint:
        height, width = self.image_hw
        frame = gl.GLuint(0)
        gl.glGenFramebuffers(1, ctypes.byref(frame))
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, frame)
        for attachment, layout in (
            (gl.GL_COLOR_ATTACHMENT0, gl.GL_RGBA8),
            (gl.GL_DEPTH_ATTACHMENT, gl.GL_DEPTH_COMPONENT24),
        ):
            store = gl.GLuint(0)
            gl.glGenRenderbuffers(1, ctypes.byref(store))
            self._stores.append(store)
            gl.glBindRenderbuffer(gl.GL_RENDERBUFFER, store)
            gl.glRenderbufferStorageMultisample(gl.GL_RENDERBUFFER, samples, layout, width, height)
            gl.glFramebufferRenderbuffer(gl.GL_FRAMEBUFFER, attachment, gl.GL_RENDERBUFFER, store)
        state = gl.glCheckFramebufferStatus(gl.GL_FRAMEBUFFER)
        if state != gl.GL_FRAMEBUFFER_COMPLETE:
            raise RuntimeError(
                f"OpenGL makes no {width}x{height} frame buffer of {samples} samples (status {state:#x})"
            )
        return frame


class Texture:
    """A picture (H, W, 3) uint8 BGR on the graphics side, repeated in both directions.

    `size` is (width, height) in texels.
    """

    def __init__(self, image: Image) -> None:
        pixels = np.ascontiguousarray(image[::-1])
        self.size = (image.shape[1], image.shape[0])
        self._id = gl.GLuint(0)
        gl.glGenTextures(1, ctypes.byref(self._id))
        self.bind()
        gl.glPixelStorei(gl.GL_UNPACK_ALIGNMENT, 1)
        where = pixels.ctypes.data_as(ctypes.c_void_p)
        gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, gl.GL_RGB8, *self.size, 0, gl.GL_BGR, gl.GL_UNSIGNED_BYTE, where)
        gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MAG_FILTER, gl.GL_LINEAR)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_LINEAR)
        # Trilinear filtering alone blurs floors seen at a low angle; anisotropic filtering costs 8 times on a CPU.
        gl.glTexParameterf(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_LOD_BIAS, -0.6)

    def free(self) -> None:
        """Give its memory back."""
        gl.glDeleteTextures(1, ctypes.byref(self._id))

    def bind(self) -> None:
        """Make it the texture of what is drawn next."""
        gl.glBindTexture(gl.GL_TEXTURE_2D, self._id)
