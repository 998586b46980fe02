"""What the network is fed with is what Python feeds it with, byte for byte, from any source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helmsight.runtime.results import Image
from helmsight.runtime.tasks import task_for

from .conftest import Deployed, ppm

cv2 = pytest.importorskip("cv2")
pytestmark = [pytest.mark.qemu, pytest.mark.slow]

SIZES = (
    *((480, 640), (720, 1280), (1080, 1920)),  # halved, then averaged
    *((240, 320), (96, 128), (192, 256), (288, 384)),  # as it is, or whole numbers of pixels
    *((241, 321), (333, 517), (479, 641), (145, 193)),  # odd
    *((50, 60), (7, 5), (1, 1)),  # grows
    *((200, 80), (80, 200), (288, 128), (30, 1000), (1000, 30)),  # shrinks one way only
)


def noise(height: int, width: int, seed: int = 0) -> Image:
    """Every byte counts."""
    return np.random.default_rng(seed + height * 10000 + width).integers(0, 256, (height, width, 3)).astype(np.uint8)


def fed(board: Deployed, shown: Path, *arguments: str | Path, sent: bytes = b"") -> Image:
    """The last picture as the network got it."""
    board.lines("--threads", "1", "--show-input", shown, *arguments, sent=sent)
    return cv2.imread(str(shown))


def expected(board: Deployed, image: Image) -> Image:
    (feed,) = task_for(board.bundle.manifest).prepare(image).values()
    return feed[0]


@pytest.mark.parametrize(
    ("name", "size"), [*(("navigate", size) for size in SIZES), *(("face", size) for size in SIZES[::3])]
)
def test_it_is_fitted_as_in_python(
    deployed: dict[str, Deployed], tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    """`navigate` stretches a picture, `face` keeps its aspect; the arithmetic is the same."""
    image = noise(*size)
    found = fed(deployed[name], tmp_path / "in.ppm", ppm(tmp_path / "a.ppm", image))
    np.testing.assert_array_equal(found, expected(deployed[name], image))


def test_png_and_pgm_are_read(deployed: dict[str, Deployed], tmp_path: Path) -> None:
    board, image = deployed["navigate"], noise(96, 128)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    np.testing.assert_array_equal(fed(board, tmp_path / "in.ppm", tmp_path / "a.png"), image)
    cv2.imwrite(str(tmp_path / "a.pgm"), image[:, :, 0])
    np.testing.assert_array_equal(fed(board, tmp_path / "in.ppm", tmp_path / "a.pgm"), image[:, :, :1].repeat(3, 2))
    clear = np.dstack([image, np.zeros((96, 128), np.uint8)])
    clear[:, 48:, 3] = 255
    cv2.imwrite(str(tmp_path / "clear.png"), clear)
    found = fed(board, tmp_path / "in.ppm", tmp_path / "clear.png")
    assert (found[:, :48] == 255).all()
    np.testing.assert_array_equal(found[:, 48:], image[:, 48:])


def test_jpeg_is_read_to_within_what_decoders_differ_by(
    deployed: dict[str, Deployed], frames: list[Image], tmp_path: Path
) -> None:
    image = cv2.resize(frames[0], (128, 96), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    (tmp_path / "a.jpg").write_bytes(data.tobytes())
    found = fed(deployed["navigate"], tmp_path / "in.ppm", tmp_path / "a.jpg")
    difference = np.abs(found.astype(int) - cv2.imdecode(data, cv2.IMREAD_COLOR))
    assert difference.max() <= 4
    assert difference.mean() < 0.5


def test_a_jpeg_without_huffman_tables_has_the_usual_ones(
    deployed: dict[str, Deployed], frames: list[Image], tmp_path: Path
) -> None:
    board = deployed["navigate"]
    data = cv2.imencode(".jpg", frames[0])[1].tobytes()
    bare = without_tables(data)
    assert len(bare) < len(data) - 400
    (tmp_path / "a.jpg").write_bytes(data)
    (tmp_path / "bare.jpg").write_bytes(bare)
    found = fed(board, tmp_path / "in.ppm", tmp_path / "bare.jpg")
    np.testing.assert_array_equal(found, fed(board, tmp_path / "in.ppm", tmp_path / "a.jpg"))


@pytest.mark.parametrize("form", ["bgr", "rgb", "grey", "yuyv"])
def test_raw_video_is_read(deployed: dict[str, Deployed], tmp_path: Path, form: str) -> None:
    height, width = 96, 128
    rng = np.random.default_rng(5)
    if form == "yuyv":
        sent = rng.integers(0, 256, (height, width, 2)).astype(np.uint8)
        image = cv2.cvtColor(sent, cv2.COLOR_YUV2BGR_YUYV)
    elif form == "grey":
        sent = rng.integers(0, 256, (height, width)).astype(np.uint8)
        image = cv2.cvtColor(sent, cv2.COLOR_GRAY2BGR)
    else:
        sent = noise(height, width)
        image = sent[:, :, ::-1] if form == "rgb" else sent
    two = noise(height, width).tobytes()[: sent.nbytes] + sent.tobytes()
    found = fed(deployed["navigate"], tmp_path / "in.ppm", "--raw", f"{width}x{height}:{form}", sent=two)
    np.testing.assert_array_equal(found, image)


def test_a_picture_that_cannot_be_read_is_named_and_left_out(deployed: dict[str, Deployed], tmp_path: Path) -> None:
    good = ppm(tmp_path / "good.ppm", noise(96, 128))
    cut = tmp_path / "cut.ppm"
    cut.write_bytes(good.read_bytes()[:1000])
    deep = tmp_path / "deep.ppm"
    deep.write_bytes(b"P6 2 2 65535\n" + bytes(24))
    huge = tmp_path / "huge.ppm"
    huge.write_bytes(b"P6 90000 90000 255\n")
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    done = deployed["navigate"].run(cut, deep, huge, text, good)
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 1
    said = done.stderr.decode()
    for part in ("cut.ppm is cut short", "deep.ppm has a largest value of 65535", "huge.ppm has 90000x90000 pixels"):
        assert part in said
    assert "text.jpg is no picture that is read here" in said
    assert said.count("; skipped") == 4


def test_no_broken_picture_ends_the_program(deployed: dict[str, Deployed], frames: list[Image], tmp_path: Path) -> None:
    """Cut off, or with bytes changed: each is decoded or named, and the next one read."""
    small = cv2.resize(frames[0], (40, 30))
    whole = [cv2.imencode(end, small)[1].tobytes() for end in (".jpg", ".png", ".ppm")]
    rng = np.random.default_rng(7)
    files = []
    for index in range(90):
        data = bytearray(whole[index % len(whole)])
        if index % 3 == 0:
            data = data[: int(rng.integers(len(data)))]
        for at in rng.integers(0, len(data) + 1, 1 + index % 4):
            data[at : at + 1] = bytes([int(rng.integers(256))])
        files.append(tmp_path / f"{index}")
        files[-1].write_bytes(data)
    done = deployed["navigate"].run("--threads", "1", *files)
    assert done.returncode == 0, done.stderr[-500:]
    read, skipped = done.stdout.count(b"\n"), done.stderr.count(b"; skipped")
    assert read + skipped == len(files)
    assert min(read, skipped) > 10


def without_tables(jpeg: bytes) -> bytes:
    """As many cameras send them: no DHT segment."""
    found, at = jpeg[:2], 2
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        found += b"" if jpeg[at + 1] == 0xC4 else jpeg[at:end]
        at = end
    return found + jpeg[at:]
