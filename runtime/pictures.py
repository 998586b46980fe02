"""Reading a picture file, whatever its kind: one way for sources, training and evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..devices.errors import BadArtefact, need
from .picture_headers import Header, NotRead, check_whole, read_header
from .results import Image

LARGEST = 1 << 26
"""Pixels that a picture may have: 67 million, 0.2 GB. Reading so many took 0.4 GB for a JPEG, 1.0 GB for the largest
kind, a PNG of 16 bits with alpha."""
LARGEST_FILE = 1 << 30
"""Bytes that a file may have: more than an uncompressed picture of that size needs."""
FIRST = 1 << 14
"""Bytes in which a header is looked for before the rest is read."""
BACKGROUND = 255
"""What shines through where a picture is transparent: white, as on a page."""


def read_picture(path: str | Path) -> Image:
    """The picture (H, W, 3) uint8 BGR, upright.

    EXIF's orientation is applied, 16 bits are scaled to 8, grey becomes three equal channels, CMYK becomes BGR, what is
    transparent lies on white, and of an animation or of several pages the first is taken. Colour profiles are not
    applied. Size and kind are looked at before anything is decoded. Raises BadArtefact in one line that names the file:
    missing, empty, of another format, too large, cut short or broken.
    """
    path = Path(path)
    try:
        header = _header(path)
        data = path.read_bytes()
        check_whole(header, data)
        return _turned(_to_bgr(_decoded(data, header), header), header.orientation)
    except (NotRead, OSError) as error:
        raise _bad(path, error) from error


def picture_hw(path: str | Path) -> tuple[int, int]:
    """Height and width that `read_picture` will give, from the header alone; raises BadArtefact as it does."""
    path = Path(path)
    try:
        return _header(path).image_hw
    except (NotRead, OSError) as error:
        raise _bad(path, error) from error


def _bad(path: Path, error: Exception) -> BadArtefact:
    if isinstance(error, OSError):
        return BadArtefact(f"{path} cannot be opened: {error.strerror or error}")
    return BadArtefact(f"{path} {error}")


def _header(path: Path) -> Header:
    """The header, with nothing decoded and, where that is enough, little read."""
    if path.exists() and not path.is_file():  # a pipe would wait for ever
        raise NotRead("is no file")
    size = path.stat().st_size
    if size == 0:
        raise NotRead("is empty (0 bytes)")
    if size > LARGEST_FILE:
        raise NotRead(f"has {size:,} bytes; at most {LARGEST_FILE:,} are read as a picture")
    with path.open("rb") as stream:
        data = stream.read(FIRST)
        try:
            # These two may carry their orientation at their end.
            if size > FIRST and data[:4] in (b"\x89PNG", b"RIFF"):
                data += stream.read()
            header = read_header(data)
        except NotRead:
            rest = stream.read()
            if not rest:
                raise
            header = read_header(data + rest)
    height, width = header.stored_hw
    if height * width > LARGEST:
        raise NotRead(f"is {width}x{height}, {height * width / 1e6:.0f} megapixels; at most {LARGEST / 1e6:.0f} are "
                      "read, so that memory is bounded; make it smaller")  # fmt: skip
    return header


def _decoded(data: bytes, header: Header) -> Image:
    """As stored: (H, W) or (H, W, 1..4), uint8 or uint16, channels BGR(A)."""
    cv2 = need("cv2", "cpu")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise NotRead(f"is a {header.format} file that OpenCV does not decode: {error.err}") from error
    if image is None:
        raise NotRead(f"is a {header.format} file that is cut short, broken or of a kind that OpenCV does not decode")
    if image.dtype not in (np.uint8, np.uint16):
        raise NotRead(f"has pixels of type {image.dtype}; 8 and 16 bits are read")
    return np.asarray(image)


def _to_bgr(image: Image, header: Header) -> Image:
    """(H, W, 3) uint8."""
    import cv2

    largest = np.iinfo(image.dtype).max
    white = header.white or largest
    if image.dtype != np.uint8 or white != largest:
        image = np.asarray(cv2.convertScaleAbs(image, alpha=255 / white), np.uint8)
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 3:
        return np.asarray(image, np.uint8)
    if channels == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    alpha = image[..., -1:]
    colours = image[..., :3] if channels == 4 else np.repeat(image[..., :1], 3, axis=2)
    return _on_background(colours, alpha, header.premultiplied)


def _on_background(colours: Image, alpha: Image, premultiplied: bool) -> Image:
    """`colours` (H, W, 3) over the background, rounded; in strips, since what is between takes twice the memory."""
    out = np.empty(colours.shape, np.uint8)
    for top in range(0, len(out), 256):
        rows = slice(top, top + 256)
        cover = alpha[rows].astype(np.uint16)
        through = BACKGROUND * (255 - cover) + 127
        out[rows] = colours[rows] + through // 255 if premultiplied else (colours[rows] * cover + through) // 255
    return out


def _turned(image: Image, orientation: int) -> Image:
    """Upright, from EXIF's orientation (1 to 8); always in one piece of memory."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
