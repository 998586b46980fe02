"""The picture: it is written, it is not empty, and it tells profiles apart without colour."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from helmsight.devices.errors import UsageError
from helmsight.runtime.profiler.plot import plot_profiles

from ...profiles import a_profile, around

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("count", [1, 2, 6])
def test_a_picture_of_profiles(tmp_path: Path, count: int) -> None:
    path = tmp_path / "p.png"
    staged = np.stack([around(10**6, seed=i) for i in range(3)], axis=1)
    plot_profiles([a_profile(staged * np.uint64(i + 1), bundle=f"net {i}") for i in range(count)], path)
    picture = cv2.imread(str(path))
    assert picture is not None
    assert picture.shape[0] > 400
    assert picture.shape[1] > 1000
    assert (picture.max(axis=2) == picture.min(axis=2)).all(), "there is colour in it"
    assert picture.std() > 10


def test_constant_samples_and_a_mix_of_stages_draw(tmp_path: Path) -> None:
    staged = a_profile(np.stack([around(10**6)] * 3, axis=1))
    plot_profiles([a_profile(np.full(50, 10**6)), staged], tmp_path / "p.svg")
    assert "tail not supported" in (tmp_path / "p.svg").read_text()


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.xyz.*png"):
        plot_profiles([a_profile(around(10**6))], tmp_path / "p.xyz")
