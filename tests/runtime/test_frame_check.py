import numpy as np
import pytest

from helmsight.devices.errors import CameraUnavailable
from helmsight.runtime.frame_check import FrameCheck
from helmsight.runtime.results import Frame


def frame(*shape: int) -> Frame:
    return Frame(np.zeros(shape, np.uint8), 3, 0)


def test_frames_of_the_pipelines_kind_pass_and_of_any_size_where_that_is_allowed() -> None:
    check = FrameCheck("0", one_size=False)
    for shape in ((4, 5, 3), (9, 5, 3)):
        check(frame(*shape))


def test_another_size_where_there_may_be_one_and_another_kind_are_refused() -> None:
    check = FrameCheck("cam", one_size=True)
    check(frame(4, 5, 3))
    with pytest.raises(CameraUnavailable, match="cam: frame 3 is 5x9, those before are 5x4"):
        check(frame(9, 5, 3))
    for shape in ((4, 5), (4, 5, 4), (0, 5, 3)):
        with pytest.raises(CameraUnavailable, match=f"frame 3 is {' x '.join(map(str, shape))} uint8; expected height"):
            check(frame(*shape))
