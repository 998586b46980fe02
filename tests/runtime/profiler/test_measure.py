"""Measuring bundles on the fake back end, whose latency is known from below."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helmsight.devices.errors import CameraUnavailable, UsageError
from helmsight.devices.processor import processor
from helmsight.runtime.backends import SessionOptions
from helmsight.runtime.bundle import SHIPPED, Bundle, Manifest, TensorSpec, write_bundle
from helmsight.runtime.profiler import Limits, ProfileOptions, profile
from helmsight.runtime.profiler.measure import random_feeds
from helmsight.runtime.sources import open_source

from ...bundles import face_manifest

FAKE = SessionOptions(device="fake", threads=1)
SHORT = Limits(0, 20)


def test_a_known_latency_is_found(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "f.bundle", face_manifest(fake_latency_ms=3.0), {"model.onnx": b"fake"})
    found = profile(bundle, ProfileOptions(FAKE, SHORT))
    assert found.stages == ("inference",)
    assert found.samples.shape == (20, 1)
    # A sleep is never shorter than asked for; how much longer is the machine's affair, so the bound is wide.
    assert 3.0 <= found.summaries[0].percentiles[0].ms < 300
    assert found.warm_up.queries >= 9


def test_the_record_says_what_made_it(face_bundle: Bundle) -> None:
    found = profile(face_bundle, ProfileOptions(FAKE, SHORT))
    assert (found.bundle, found.task, found.device, found.precision, found.threads) == (
        "face",
        "face",
        "fake",
        "fp32",
        1,
    )
    assert set(found.files) == {"model.onnx", "manifest.json"}
    assert found.inputs == {"image": {"shape": [1, 240, 320, 3], "dtype": "uint8"}}
    assert "cpu" in found.machine
    assert "readings" in found.sensors
    assert {"python", "numpy"} <= set(found.versions)
    assert found.date_utc.endswith("+00:00")
    scored = replace(face_bundle, manifest=replace(face_bundle.manifest, metrics={"ap50": {"value": 0.8}}))
    assert profile(scored, ProfileOptions(FAKE, SHORT)).metrics == {"ap50": {"value": 0.8}}


def test_stages_from_frames_to_records(face_bundle: Bundle, clip: Path) -> None:
    found = profile(face_bundle, ProfileOptions(FAKE, SHORT, stages=True, source=str(clip)))
    assert found.stages == ("prepare", "inference", "decode")
    assert found.samples.shape == (20, 3)
    assert found.feeds == f"12 frames of {clip}"


def test_frames_feed_the_network_alone_too(navigate_bundle: Bundle, clip: Path) -> None:
    found = profile(navigate_bundle, ProfileOptions(FAKE, SHORT, source=str(clip)))
    assert found.stages == ("inference",)
    assert found.feeds == f"12 frames of {clip}"
    assert found.inputs["image"]["shape"] == [1, 72, 96, 3]


def test_threads_are_those_that_a_session_takes_by_itself(
    face_bundle: Bundle, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's quota counts, not the affinity mask alone."""
    limited = replace(processor(), affinity_cores=64, quota_cores=3.0)
    monkeypatch.setattr("helmsight.runtime.profiler.measure.processor", lambda: limited)
    found = profile(face_bundle, ProfileOptions(SessionOptions(device="fake"), SHORT, source=str(clip)))
    assert found.threads == 3


def test_no_password_of_a_source_gets_into_a_profile(
    face_bundle: Bundle, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("helmsight.runtime.profiler.measure.open_source", lambda uri: open_source(str(clip)))
    found = profile(face_bundle, ProfileOptions(FAKE, SHORT, source="rtsp://me:secret@camera/1"))
    assert found.feeds == "12 frames of rtsp://me:***@camera/1"


def test_a_network_without_a_task_gets_noise_and_the_record_says_so(tmp_path: Path) -> None:
    tensor = TensorSpec("x", ("batch", 3, 8, 8), "float32")
    bundle = write_bundle(tmp_path / "x.bundle", Manifest("x", "", (tensor,), (tensor,)), {"model.onnx": b"fake"})
    found = profile(bundle, ProfileOptions(FAKE, SHORT, seed=4))
    assert found.feeds == "random, seed 4"
    assert found.inputs == {"x": {"shape": [1, 3, 8, 8], "dtype": "float32"}}


@pytest.mark.parametrize(
    ("dtype", "limits", "low", "high"),
    [
        ("uint8", None, 0, 255),
        ("uint8", (0, 9), 0, 9),
        ("float32", None, 0, 1),
        ("float32", (-1.0, 1.0), -1, 1),
        ("int64", None, 0, 1),
    ],
)
def test_noise_fills_the_range_and_repeats(
    dtype: str, limits: tuple[float, float] | None, low: float, high: float
) -> None:
    spec = TensorSpec("x", (1, 64, 64), dtype, range=limits)
    noise = random_feeds([spec], seed=1)["x"]
    assert noise.dtype == np.dtype(dtype)
    assert low <= noise.min() <= low + 0.1
    assert high - 0.1 <= noise.max() <= high
    assert (noise == random_feeds([spec], seed=1)["x"]).all()


def test_stages_without_frames_and_sources_without_frames(
    face_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CameraUnavailable):
        profile(face_bundle, ProfileOptions(FAKE, SHORT, source=str(tmp_path / "none.mp4")))
    monkeypatch.setattr("helmsight.runtime.profiler.measure.SHIPPED", tmp_path)
    with pytest.raises(UsageError, match="--source"):
        profile(face_bundle, ProfileOptions(FAKE, SHORT, stages=True))
    assert profile(face_bundle, ProfileOptions(FAKE, SHORT)).feeds == "random, seed 0"


@pytest.mark.skipif(not (SHIPPED / "corridor.mp4").is_file(), reason="no sample clip in runtime/shipped")
def test_the_sample_clip_feeds_where_no_source_is_given(face_bundle: Bundle) -> None:
    assert profile(face_bundle, ProfileOptions(FAKE, SHORT)).feeds == "32 frames of sample://corridor"
