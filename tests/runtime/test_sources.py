import logging
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmsight.devices.errors import CameraUnavailable, UsageError
from helmsight.runtime.sources import open_source, without_password
from helmsight.runtime.sources.stream import StreamSource


def test_a_video_gives_every_frame_in_order(clip: Path) -> None:
    with open_source(str(clip)) as source:
        frames = list(source)
        assert source.fps == 20
        assert not source.live
    assert [f.index for f in frames] == list(range(12))
    assert frames[0].image.shape == (48, 64, 3)
    assert [round(float(f.image.mean()) / 20) for f in frames] == list(range(12))
    assert all(a.captured_ns < b.captured_ns for a, b in pairwise(frames))


def test_a_video_that_is_cut_short_says_so(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(clip.read_bytes())
    at = [i for i in range(len(data) - 4) if data[i : i + 4] == b"00dc"][6]  # from the sixth chunk on: nothing
    clip.write_bytes(data[:at])
    with caplog.at_level(logging.WARNING), open_source(str(clip)) as source:
        frames = list(source)
    assert 0 < len(frames) < 12
    assert f"ended after {len(frames)} frames, its header promises 12" in caplog.text


def test_pictures_come_in_the_order_of_their_names_and_broken_ones_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((4, 4, 3), i, np.uint8))
    (tmp_path / "3.png").write_bytes(b"no picture")
    with open_source(str(tmp_path / "*.png")) as source:
        frames = list(source)
    assert [int(f.image[0, 0, 0]) for f in frames] == [0, 1, 2]
    assert "3.png is no picture" in caplog.text


@pytest.mark.parametrize(
    ("uri", "error", "message"),
    [
        ("absent.mp4", CameraUnavailable, "absent.mp4: no such file"),
        ("empty-glob/*.jpg", CameraUnavailable, "no picture matches"),
        ("99", CameraUnavailable, "99: cannot be opened; cameras here"),
        ("rtsp://u:secret@127.0.0.1:9/x", CameraUnavailable, r"rtsp://u:\*\*\*@127.0.0.1:9/x"),
        ("ftp://x", UsageError, "ftp:// is unknown"),
        ("gopher://u:secret@host/a@b", UsageError, r"gopher://u:\*\*\*@b: gopher:// is unknown"),
        ("rtsps://u:secret@127.0.0.1:9/x", CameraUnavailable, r"rtsps://u:\*\*\*@127.0.0.1:9/x"),
        ("sample://nowhere", UsageError, "no such sample"),
    ],
)
def test_a_source_that_gives_no_frames_is_one_clear_error(uri: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught, open_source(uri):
        pass
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_says_how_to_take_its_pictures(tmp_path: Path) -> None:
    with pytest.raises(CameraUnavailable, match=r"a folder; for its pictures write '.*/\*\.jpg'"):
        open_source(str(tmp_path)).open()


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_text("hello")
    with pytest.raises(CameraUnavailable, match=r"5 bytes that OpenCV cannot read as a video"):
        open_source(str(tmp_path / "x.mp4")).open()


def test_pictures_of_which_none_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(CameraUnavailable, match="none of 1 files"), open_source(str(tmp_path / "*.jpg")) as source:
        list(source)


def test_a_video_without_a_frame(clip: Path) -> None:
    data = clip.read_bytes()
    clip.write_bytes(data[: data.index(b"00dc")])
    message = r"no frame that decodes|cannot read as a video"
    with pytest.raises(CameraUnavailable, match=message), open_source(str(clip)) as source:
        list(source)


def test_passwords_are_hidden() -> None:
    assert without_password("rtsp://me:se/cret@host/x") == "rtsp://me:***@host/x"
    assert without_password("rtsp://me:p@ss@host/x") == "rtsp://me:***@host/x"
    assert without_password("rtsp://host/x") == "rtsp://host/x"


def test_a_camera_can_be_had_again_with_its_password_and_counts_on() -> None:
    camera = StreamSource("rtsp://u:secret@127.0.0.1:9/x")
    camera._index = 7
    other = camera.another()
    assert (other._given, other._index) == ("rtsp://u:secret@127.0.0.1:9/x", 8)
    assert other.uri == "rtsp://u:***@127.0.0.1:9/x"
