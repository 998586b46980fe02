from itertools import islice, pairwise

import cv2
import numpy as np
import pytest

from helmsight.devices.errors import UsageError
from helmsight.runtime.sources import open_source
from helmsight.runtime.sources.pattern import index_of


@pytest.mark.parametrize("size", [(640, 480), (64, 48), (100, 30)])
def test_pictures_move_and_tell_their_index(size: tuple[int, int]) -> None:
    with open_source(f"test://pattern?size={size[0]}x{size[1]}&fps=240") as source:
        assert source.live
        assert source.fps == 240
        frames = list(islice(source, 12))
    assert [frame.image.shape for frame in frames] == [(size[1], size[0], 3)] * 12
    assert [frame.index for frame in frames] == [index_of(frame.image) for frame in frames] == list(range(12))
    assert all((a.image[0] != b.image[0]).any() for a, b in pairwise(frames))
    assert all(b.captured_ns > a.captured_ns for a, b in pairwise(frames))


def test_the_index_survives_compression() -> None:
    with open_source("test://pattern") as source:
        source._index = 123_456_789
        frame = source.read()
    assert frame
    packed = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    assert index_of(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))) == 123_456_789


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("test://card", "no such test; expected test://pattern"),
        ("test://pattern?rate=3", "rate is unknown; expected fps, size"),
        ("test://pattern?fps=0", "fps is '0'; expected a number from 1 to 240"),
        ("test://pattern?fps=nan", "fps is 'nan'; expected a number from 1 to 240"),
        ("test://pattern?size=3x3", "size is '3x3'; expected WIDTHxHEIGHT from 16 to 4096"),
        ("test://pattern?fps=30&fps=20", "an option stands there twice"),
    ],
)
def test_what_cannot_be_meant(uri: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        open_source(uri)
