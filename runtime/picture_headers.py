"""What a picture file says about itself, read without decoding it: format, size, orientation, white level.

JPEG, PNG, GIF, BMP, WebP, TIFF and PNM; what OpenCV reads beside them is not offered, since its size could not be
checked before its decoder asks for the memory.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

READ = "JPEG, PNG, GIF, BMP, WebP, TIFF, PNM"
ORIENTATION = 0x0112
"""The EXIF tag (CIPA DC-008, 4.6.4): 1 upright; 2, 4 mirrored; 3 turned over; 5 to 8 lie on a side."""


@dataclass(frozen=True, slots=True)
class Header:
    """`stored_hw`: pixels as stored; `orientation`: 1..8, how to turn them (EXIF); `white`: the largest value, or 0 for
    the largest of the type that it decodes to; `premultiplied`: whether colours decode times their opacity.
    """

    format: str
    stored_hw: tuple[int, int]
    orientation: int = 1
    white: int = 0
    premultiplied: bool = False

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width after turning."""
        height, width = self.stored_hw
        return (width, height) if self.orientation >= 5 else (height, width)


class NotRead(ValueError):
    """Why a file is not read, to stand after its name."""


def read_header(data: bytes) -> Header:
    """The header of a picture whose first bytes `data` are.

    Raises NotRead: another format, pixels of a kind that is not read, or cut short, which also means that more bytes
    are needed.
    """
    for start, name, parse in _PARSERS:
        if re.match(start, data, re.DOTALL):
            try:
                header = parse(data)
            except (struct.error, IndexError) as error:
                raise NotRead(f"is a {name} file that ends within its header") from error
            if min(header.stored_hw) < 1:
                raise NotRead(f"is a {name} file whose header says {header.stored_hw[1]}x{header.stored_hw[0]} pixels")
            return header
    raise NotRead(f"is no picture of a format that is read ({READ}); convert it")


def check_whole(header: Header, data: bytes) -> None:
    """Raise NotRead where the file ends before its picture does and the format tells without decoding."""
    if header.format == "PNG":
        at = 8
        while at < len(data) and data[at + 4 : at + 8] != b"IEND":
            at += 12 + int.from_bytes(data[at : at + 4], "big")
        cut = at >= len(data)
    elif header.format == "JPEG":
        cut = data.rfind(b"\xff\xd9") < data.find(b"\xff\xda")
    elif header.format == "WebP":
        cut = len(data) < 8 + int.from_bytes(data[4:8], "little")
    else:
        return
    if cut:
        raise NotRead(f"is a {header.format} file that is cut short; {len(data):,} bytes are there")


def _jpeg(data: bytes) -> Header:
    """ITU T.81, annex B: segments up to the start of the frame."""
    at, orientation = 2, 1
    while True:
        while data[at] != 0xFF:
            at += 1
        marker = data[at + 1]
        if marker in (0x01, 0xFF, *range(0xD0, 0xD9)):  # fill bytes, and markers without a length
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _orientation(data[at + 10 : at + 2 + length])
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits, height, width = struct.unpack_from(">BHH", data, at + 4)
            if bits != 8:
                raise NotRead(f"is a JPEG of {bits} bits; 8 are read")
            return Header("JPEG", (height, width), orientation)
        at += 2 + length


def _png(data: bytes) -> Header:
    """PNG, third edition: IHDR, and eXIf, which may follow the pixels."""
    width, height = struct.unpack_from(">II", data, 16)
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"eXIf":
            return Header("PNG", (height, width), _orientation(data[at + 8 : at + 8 + length]))
        at += 12 + length
    return Header("PNG", (height, width))


def _webp(data: bytes) -> Header:
    """RFC 9649: the first chunk has the size; EXIF stands after the pixels."""
    kind = data[12:16]
    if kind == b"VP8X":
        size = data[24:30]
        width, height = 1 + int.from_bytes(size[:3], "little"), 1 + int.from_bytes(size[3:], "little")
        at, orientation = 12, 1
        while at + 8 <= len(data):
            (length,) = struct.unpack_from("<I", data, at + 4)
            if data[at : at + 4] == b"EXIF":
                tiff = data[at + 8 : at + 8 + length]
                orientation = _orientation(tiff.removeprefix(b"Exif\0\0"))
            at += 8 + length + length % 2
        return Header("WebP", (height, width), orientation)
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, 21)
        return Header("WebP", (1 + (packed >> 14 & 0x3FFF), 1 + (packed & 0x3FFF)))
    width, height = struct.unpack_from("<HH", data, 26)
    return Header("WebP", (height & 0x3FFF, width & 0x3FFF))


def _gif(data: bytes) -> Header:
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("GIF", (height, width))


def _bmp(data: bytes) -> Header:
    """A negative height means rows from the top down; a header of 12 bytes has shorter numbers."""
    (size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", data, 18)
    return Header("BMP", (abs(height), width))


def _tiff(data: bytes) -> Header:
    """TIFF 6.0, first page. OpenCV turns its pixels itself, so the size is that after turning, and libtiff multiplies
    colours of 8 bits by their opacity.
    """
    tags = _tags(data)
    if not {256, 257} <= tags.keys():
        raise struct.error("no size")
    if tags.get(339, 1) != 1 or tags.get(258, 1) not in (1, 2, 4, 8, 16):
        raise NotRead("is a TIFF whose pixels are no whole numbers of at most 16 bits")
    if tags.get(262, 2) not in (0, 1, 2, 3, 6):
        raise NotRead(f"is a TIFF of photometric kind {tags[262]}; grey, palette, RGB and YCbCr are read")
    if tags.get(277) == 2:
        raise NotRead("is a grey TIFF with transparency, which OpenCV leaves out; take it out, or make it a PNG")
    height, width = tags[257], tags[256]
    hw = (width, height) if 5 <= tags.get(ORIENTATION, 1) <= 8 else (height, width)
    return Header("TIFF", hw, premultiplied=tags.get(258, 1) <= 8 or tags.get(338) == 1)


def _pnm(data: bytes) -> Header:
    """Netpbm's PBM, PGM and PPM: numbers between spaces and comments. OpenCV scales 8 bits in plain text itself."""
    space = rb"(?:\s|#[^\n]*\n)+"
    numbers = 2 if data[1:2] in b"14" else 3
    found = re.match(rb"P\d" + (space + rb"(\d{1,9})") * numbers + rb"\s", data)
    if found is None:
        raise struct.error("no size")
    width, height, *white = map(int, found.groups())
    if white and not 1 <= white[0] <= 65535:
        raise NotRead(f"is a PNM file whose white is {white[0]}; expected 1 to 65535")
    scaled = not white or (data[1:2] in b"23" and white[0] < 256)
    return Header("PNM", (height, width), white=0 if scaled else white[0])


def _orientation(tiff: bytes) -> int:
    """1 where EXIF is broken or says nothing that is defined, as viewers do."""
    try:
        found = _tags(tiff).get(ORIENTATION, 1)
    except struct.error:
        return 1
    return found if 1 <= found <= 8 else 1


def _tags(tiff: bytes) -> dict[int, int]:
    """The first value of each integer tag of the first directory of a TIFF file."""
    order = "<" if tiff[:2] == b"II" else ">"
    magic, at = struct.unpack_from(f"{order}HI", tiff, 2)
    if magic != 42:
        raise struct.error("no TIFF")
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(f"{order}HHI", tiff, entry)
        if kind in (3, 4):  # SHORT, LONG; what does not fit in four bytes stands elsewhere
            letter, size = ("H", 2) if kind == 3 else ("I", 4)
            place = entry + 8 if length * size <= 4 else struct.unpack_from(f"{order}I", tiff, entry + 8)[0]
            (tags[tag],) = struct.unpack_from(order + letter, tiff, place)
    return tags


_PARSERS: tuple[tuple[bytes, str, Callable[[bytes], Header]], ...] = (
    (rb"\xff\xd8\xff", "JPEG", _jpeg),
    (rb"\x89PNG\r\n\x1a\n", "PNG", _png),
    (rb"GIF8[79]a", "GIF", _gif),
    (rb"BM.{8}", "BMP", _bmp),
    (rb"RIFF.{4}WEBP", "WebP", _webp),
    (rb"II\*\0|MM\0\*", "TIFF", _tiff),
    (rb"P[1-6]\s", "PNM", _pnm),
)
