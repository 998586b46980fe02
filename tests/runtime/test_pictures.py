"""Reading pictures: every odd kind is made here by another library, and is right or refused in one line."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from helmsight.devices.errors import BadArtefact
from helmsight.runtime.pictures import LARGEST, LARGEST_FILE, picture_hw, read_picture
from helmsight.runtime.sources import open_source

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")


def drawn(width: int = 64, height: int = 48) -> Pillow.Image:
    """Four corners of different colours, one into the other, so that every turn is seen."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    pixels = np.stack([x, y, (1 - x) * (1 - y)], -1) * 255
    return Pillow.fromarray(pixels.astype(np.uint8))


def encoded(picture: Pillow.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **({"lossless": True} if kind == "WEBP" else {}), **options)
    return stream.getvalue()


def expected(data: bytes) -> np.ndarray:
    """What Pillow sees, turned upright, as (H, W, 3) BGR."""
    with Pillow.open(io.BytesIO(data)) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))[..., ::-1].astype(int)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "bild ü.bin"  # the name's ending says nothing, and may have any letters
    path.write_bytes(data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadArtefact) as caught:
        read_picture(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def assert_read(path: Path, pixels: np.ndarray, within: int = 0) -> None:
    image = read_picture(path)
    assert image.dtype == np.uint8
    assert image.shape == pixels.shape
    assert image.flags["C_CONTIGUOUS"]
    assert picture_hw(path) == image.shape[:2]
    assert np.abs(image.astype(int) - pixels).max() <= within


MODES = {"JPEG": ("RGB", "L"), "PPM": ("RGB", "L", "1"), "WEBP": ("RGB", "L")}


@pytest.mark.parametrize(("kind", "mode"), [(k, m) for k in FORMATS for m in MODES.get(k, ("RGB", "L", "1", "P"))])
def test_each_format_and_mode_is_as_another_library_reads_it(tmp_path: Path, kind: str, mode: str) -> None:
    picture = drawn().quantize(16) if mode == "P" else drawn().convert(mode)
    data = encoded(picture, kind)
    assert_read(written(tmp_path, data), expected(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_once(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = encoded(drawn(), kind, exif=exif)
    upright = expected(data)
    assert upright.shape[:2] == ((64, 48) if orientation >= 5 else (48, 64))
    assert_read(written(tmp_path, data), upright)


def test_exif_that_is_broken_turns_nothing(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    data = encoded(drawn(), "JPEG", exif=exif)
    at = data.index(b"Exif\0\0") + 6
    nonsense = data[: at + 4] + b"\xff\xff\xff\x7f" + data[at + 8 :]  # the directory stands far behind the file
    assert read_picture(written(tmp_path, nonsense)).shape == (48, 64, 3)


@pytest.mark.parametrize("kind", FORMATS)
def test_one_pixel(tmp_path: Path, kind: str) -> None:
    data = encoded(Pillow.new("RGB", (1, 1), (200, 100, 50)), kind)
    assert_read(written(tmp_path, data), expected(data))


def test_cmyk_has_the_colours_that_another_library_gives(tmp_path: Path) -> None:
    data = encoded(drawn().convert("CMYK"), "JPEG", quality=95)
    assert_read(written(tmp_path, data), expected(data), within=1)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled(tmp_path: Path, kind: str) -> None:
    values = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    data = encoded(Pillow.fromarray(values), kind)
    assert_read(written(tmp_path, data), np.round(values / 257).astype(int)[..., None].repeat(3, 2))


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b"P5\n# a comment\n2 2\n15\n\x00\x05\x0a\x0f", [0, 85, 170, 255]),
        (b"P5 2 2 1023\n" + struct.pack(">4H", 0, 512, 1023, 100), [0, 128, 255, 25]),
        (b"P2 2 2 15\n0 5 10 15\n", [0, 85, 170, 255]),
        (b"P2 2 2 1023\n0 512 1023 100\n", [0, 128, 255, 25]),
    ],
)
def test_white_is_what_the_file_says(tmp_path: Path, data: bytes, values: list[int]) -> None:
    assert_read(written(tmp_path, data), np.array(values).reshape(2, 2, 1).repeat(3, 2))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_lies_on_white(tmp_path: Path, kind: str) -> None:
    rgba = np.zeros((3, 300, 4), np.uint8)
    rgba[..., :3] = (200, 100, 50)
    rgba[0, :, 3], rgba[1, :, 3], rgba[2, :, 3] = 0, 51, 255
    image = read_picture(written(tmp_path, encoded(Pillow.fromarray(rgba), kind, **exact(kind))))
    assert image[:, 7].tolist() == [[255, 255, 255], [214, 224, 244], [50, 100, 200]]


def exact(kind: str) -> dict[str, bool]:
    return {"exact": True} if kind == "WEBP" else {}


def test_grey_and_palette_with_transparency(tmp_path: Path) -> None:
    grey = np.full((2, 2, 2), 100, np.uint8)
    grey[..., 1] = [[0, 255], [255, 0]]
    image = read_picture(written(tmp_path, encoded(Pillow.fromarray(grey, "LA"), "PNG")))
    assert image[..., 0].tolist() == [[255, 100], [100, 255]]
    palette = Pillow.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    image = read_picture(written(tmp_path, encoded(palette, "PNG", transparency=0)))
    assert image.tolist() == [[[255, 255, 255], [60, 50, 40]]]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_is_taken(tmp_path: Path, kind: str) -> None:
    data = encoded(drawn(), kind, save_all=True, append_images=[drawn().rotate(180)])
    assert_read(written(tmp_path, data), expected(data))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_is_cut_short_is_refused_wherever_it_is_cut(tmp_path: Path, kind: str) -> None:
    data = encoded(drawn(), kind)
    for left in {3, 10, 20, len(data) // 3, len(data) // 2, len(data) - 20, len(data) - 1}:
        refusal(written(tmp_path, data[:left]))


def test_a_progressive_jpeg_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    data = encoded(drawn(), "JPEG", progressive=True)
    assert "cut short; " in refusal(written(tmp_path, data[: len(data) // 2]))


def test_a_thumbnail_does_not_pass_for_the_picture(tmp_path: Path) -> None:
    inner = encoded(drawn(16, 12), "JPEG")
    data = encoded(drawn(), "JPEG")
    whole = data[:2] + b"\xff\xe1" + struct.pack(">H", len(inner) + 2) + inner + data[2:]
    assert_read(written(tmp_path, whole), expected(data))
    assert "cut short" in refusal(written(tmp_path, whole[:-60]))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty (0 bytes)"),
        (b"hello, this is text", "is no picture of a format that is read (JPEG, PNG, GIF, BMP, WebP, TIFF, PNM)"),
        (encoded(drawn(), "AVIF"), "is no picture of a format that is read"),
        (encoded(drawn(), "JPEG2000"), "is no picture of a format that is read"),
        (encoded(drawn().convert("F"), "TIFF"), "no whole numbers of at most 16 bits"),
        (encoded(drawn().convert("CMYK"), "TIFF"), "photometric kind 5"),
        (encoded(drawn().convert("LA"), "TIFF"), "is a grey TIFF with transparency"),
        (b"P5 2 2 0\n0000", "whose white is 0"),
        (b"P5 0 2 255\n", "whose header says 0x2 pixels"),
    ],
)
def test_what_is_refused_says_why(tmp_path: Path, data: bytes, said: str) -> None:
    assert said in refusal(written(tmp_path, data))


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "cannot be opened: No such file" in refusal(tmp_path / "absent.png")
    assert "is no file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is no file" in refusal(tmp_path / "pipe")
    with (tmp_path / "sparse.png").open("wb") as stream:
        stream.truncate(LARGEST_FILE + 1)
    assert "1,073,741,825 bytes; at most" in refusal(tmp_path / "sparse.png")


def bomb(kind: str, width: int, height: int) -> bytes:
    """A small file that says it is large."""
    if kind == "PNG":
        ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        rows = b"IDAT" + zlib.compress(bytes(1000))
        chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (ihdr, rows, b"IEND")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    data = bytearray(encoded(drawn(), kind))
    if kind == "JPEG":
        at = data.index(b"\xff\xc0")
        struct.pack_into(">HH", data, at + 5, height, width)
    elif kind == "GIF":
        struct.pack_into("<HH", data, 6, width, height)
    elif kind == "BMP":
        struct.pack_into("<ii", data, 18, width, height)
    else:
        return b"P6 %d %d 255\n" % (width, height)
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "PPM"])
def test_what_would_not_fit_into_memory_is_refused_before_it_is_decoded(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, bomb(kind, 65000, 50000))
    tracemalloc.start()
    try:
        assert "is 65000x50000, 3250 megapixels; at most 67 are read" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_a_hundred_megapixels_are_refused_and_what_is_a_bit_below_the_limit_is_read(tmp_path: Path) -> None:
    assert "12000x9000, 108 megapixels" in refusal(written(tmp_path, bomb("JPEG", 12000, 9000)))
    side = 4000
    assert side * side < LARGEST
    path = written(tmp_path, encoded(Pillow.new("1", (side, side), 1), "PNG"))
    assert picture_hw(path) == (side, side)
    image = read_picture(path)
    assert image.shape == (side, side, 3)
    assert image.min() == 255


def test_a_header_behind_much_else_is_found(tmp_path: Path) -> None:
    data = encoded(drawn(), "JPEG")
    comment = b"\xff\xfe\xff\xff" + bytes(0xFFFD)
    assert_read(written(tmp_path, data[:2] + 6 * comment + data[2:]), expected(data))


def test_the_source_turns_reads_and_skips_alike(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    (tmp_path / "a.jpg").write_bytes(encoded(drawn(), "JPEG", exif=exif))
    (tmp_path / "b.jpg").write_bytes(encoded(drawn(), "JPEG")[:-300])
    (tmp_path / "c.jpg").write_bytes(b"")
    (tmp_path / "d.jpg").write_bytes(bomb("JPEG", 65000, 50000))
    (tmp_path / "e.png").write_bytes(encoded(drawn(), "PNG"))
    with open_source(str(tmp_path / "*.*")) as source:
        frames = list(source)
    assert [frame.image.shape for frame in frames] == [(64, 48, 3), (48, 64, 3)]
    assert [frame.index for frame in frames] == [0, 4]
    assert len(caplog.messages) == 3
    assert all(message.endswith("; skipped") for message in caplog.messages)
