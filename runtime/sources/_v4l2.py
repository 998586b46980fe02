"""What a V4L2 camera has, and who has it: asked of the kernel, for OpenCV does not tell."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CAPTURE = 1
"""V4L2_BUF_TYPE_VIDEO_CAPTURE of linux/videodev2.h, which has the records and numbers below too."""
DISCRETE = 1
"""V4L2_FRMSIZE_TYPE_DISCRETE and V4L2_FRMIVAL_TYPE_DISCRETE."""
FORMAT, SIZE, INTERVAL = "<3I32sI4I", "<3I6I2I", "<5I6I2I"
"""v4l2_fmtdesc: index, type, flags, description, pixelformat. v4l2_frmsizeenum: index, format, type, width, height (or
from, to and step of both). v4l2_frmivalenum: index, format, width, height, type, seconds as a fraction."""
ENUM_FORMAT, ENUM_SIZE, ENUM_INTERVAL = 2, 74, 75
MOST = 64
"""Entries of a list that are asked for."""

Ioctl = Callable[[int, int, bytes], bytes]


@dataclass(frozen=True, slots=True)
class Mode:
    """A size that a camera has in a format, with its rates in frames a second, the highest first."""

    format: str
    width: int
    height: int
    fps: tuple[float, ...] = ()

    def __str__(self) -> str:
        rates = f" at {', '.join(f'{rate:g}' for rate in self.fps)}" if self.fps else ""
        return f"{self.format} {self.width}x{self.height}{rates}"


def modes(path: Path, ioctl: Ioctl | None = None) -> list[Mode]:
    """All that the camera has; of a range of sizes the largest. Empty where the kernel does not say."""
    try:
        device = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        return list(_modes(device, ioctl or _ioctl))
    finally:
        os.close(device)


def users(path: Path) -> str:
    """The processes that have `path` open, those of other users only for root: `python (12), ffmpeg (15)`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(os.path.samefile(link, path) for link in (process / "fd").iterdir() if link.exists()):  # noqa: PTH121
                found.append(f"{(process / 'comm').read_text().strip()} ({process.name})")
    return ", ".join(found)


def _modes(device: int, ioctl: Ioctl) -> Iterator[Mode]:
    for entry in _entries(device, ioctl, ENUM_FORMAT, FORMAT, CAPTURE):
        format_ = entry[4]
        name = format_.to_bytes(4, "little").decode("ascii", "replace")
        for size in _entries(device, ioctl, ENUM_SIZE, SIZE, format_):
            width, height = (size[3], size[4]) if size[2] == DISCRETE else (size[4], size[7])
            intervals = _entries(device, ioctl, ENUM_INTERVAL, INTERVAL, format_, width, height)
            rates = tuple(round(i[6] / i[5], 2) for i in intervals if i[4] == DISCRETE and i[5])
            yield Mode(name, width, height, rates)


def _entries(device: int, ioctl: Ioctl, number: int, layout: str, *asked: int) -> Iterator[tuple[int, ...]]:
    """The kernel's records with index 0, 1, ... until it has no more; each begins with its index and what is asked."""
    size = struct.calcsize(layout)
    request = 3 << 30 | size << 16 | ord("V") << 8 | number  # _IOWR('V', number, record)
    for index in range(MOST):
        head = struct.pack(f"<{1 + len(asked)}I", index, *asked)
        try:
            yield struct.unpack(layout, ioctl(device, request, head.ljust(size, b"\0")))
        except OSError:
            return


def _ioctl(device: int, request: int, record: bytes) -> bytes:
    import fcntl

    return fcntl.ioctl(device, request, record)
