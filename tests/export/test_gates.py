"""The gate of the score, on functions that stand for networks, and what the gates are fed."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, GateFailed, UsageError
from helmsight.export.gates import Metrics, check_score, measure
from helmsight.export.inputs import COUNT, Inputs, gather_inputs, generate
from helmsight.runtime.bundle import Manifest, TensorSpec


def manifest(*inputs: TensorSpec) -> Manifest:
    return Manifest("tiny", "", inputs or (TensorSpec("x", (1, 4), "float32"),), (TensorSpec("y", (1, 4), "float32"),))


def times(factor: float, offset: float = 0.0) -> Any:
    return lambda feeds: {"y": (feeds["x"] * factor + offset).astype(np.float32)}


def scored(value: float, **more: str) -> Metrics:
    return {"ap": {"value": value, "data": "d", "n": 3, **more}}


@pytest.mark.parametrize(
    ("before", "after", "better", "passes"),
    [
        (0.9, 0.892, {"better": "higher"}, True),
        (0.9, 0.89, {"better": "higher"}, False),
        (0.9, 0.99, {"better": "higher"}, True),
        (0.5, 0.506, {"better": "lower"}, False),
        (0.5, 0.1, {"better": "lower"}, True),
        (0.9, 0.99, {}, False),
        (0.9, 0.905, {}, True),
        (0.9, float("nan"), {"better": "higher"}, False),
        (0.0, 0.0, {"better": "higher"}, True),
    ],
)
def test_the_score_may_fall_by_a_share_only(before: float, after: float, better: dict[str, str], passes: bool) -> None:
    pair = scored(before, **better), scored(after, **better)
    if passes:
        assert check_score(*pair, 0.01) == {"ap": {"fp32": before, "exported": after}}
    else:
        with pytest.raises(GateFailed, match=r"ap goes from .*, which is more than the --max-drop 1% that is allowed"):
            check_score(*pair, 0.01)


def test_a_score_that_fails_is_the_checkpoints_fault() -> None:
    with pytest.raises(BadArtefact, match=r"score failed with ZeroDivisionError: division by zero at test_gates.py:"):
        measure(lambda run, manifest: {"ap": {"value": 1 / 0}}, times(1), manifest())


def test_values_that_are_not_finite_are_scored_without_a_warning() -> None:
    def score(run: Any, manifest: Manifest) -> Metrics:
        values = run({"x": np.full((1, 4), np.inf, np.float32)})["y"]
        return scored(float((values - values).mean()))

    found = measure(score, times(1), manifest())
    with pytest.raises(GateFailed, match="to nan exported"):
        check_score(scored(0.9), found, 0.01)


PICTURE = TensorSpec("image", (1, 24, 32, 3), "uint8", "NHWC", "BGR", (0, 255))
FLOATS = TensorSpec("image", (2, 3, 24, 32), "float32", "NCHW", "RGB", (0, 1))


def test_generated_inputs_say_so_and_are_reproducible() -> None:
    first, second = (gather_inputs(manifest(PICTURE), None, None) for _ in range(2))
    assert not first.real
    assert len(first.feeds) == COUNT
    assert all(np.array_equal(a["image"], b["image"]) for a, b in zip(first.feeds, second.feeds, strict=True))
    spread = np.concatenate([f["image"].ravel() for f in first.feeds])
    assert spread.dtype == np.uint8
    assert spread.min() < 20
    assert spread.max() > 235


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_generated_inputs_of_any_dtype(dtype: str) -> None:
    (feed,) = generate((TensorSpec("x", (2, 5), dtype),), seed=0, count=1)
    assert (feed["x"].dtype, feed["x"].shape) == (np.dtype(dtype), (2, 5))


def test_pictures_are_prepared_as_the_runtime_does(tmp_path: Path) -> None:
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((48, 64, 3), (10, 20, 30 + i), np.uint8))
    inputs = gather_inputs(manifest(FLOATS), None, tmp_path)
    assert inputs.real
    assert [feed["image"].shape for feed in inputs.feeds] == [(2, 3, 24, 32)] * 3
    red, _, blue = inputs.feeds[1]["image"][1, :, 0, 0]
    assert (red, blue) == (pytest.approx(33 / 255), pytest.approx(10 / 255))


def test_pictures_come_from_everywhere_in_the_folder_and_are_the_same_each_time(tmp_path: Path) -> None:
    for i in range(120):
        place = tmp_path / ("left" if i < 60 else "right")
        place.mkdir(exist_ok=True)
        cv2.imwrite(str(place / f"{i:03}.png"), np.full((24, 32, 3), i, np.uint8))
    first, second = (gather_inputs(manifest(PICTURE), None, tmp_path) for _ in range(2))
    assert first.origin == f"calibration {tmp_path.name} ({COUNT} of its 120 pictures)"
    seen = [int(feed["image"][0, 0, 0, 0]) for feed in first.feeds]
    assert seen == [int(feed["image"][0, 0, 0, 0]) for feed in second.feeds]
    assert len(set(seen)) == COUNT
    assert 0.25 < sum(value < 60 for value in seen) / COUNT < 0.75
    assert seen != sorted(seen)


@pytest.mark.parametrize("shape", [(4, 1, 24, 32, 3), (4, 24, 32, 3)])
def test_an_npz_feeds_by_name(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "c.npz", image=np.arange(np.prod(shape), dtype=np.uint8).reshape(shape))
    inputs = gather_inputs(manifest(PICTURE), None, tmp_path / "c.npz")
    assert [feed["image"].shape for feed in inputs.feeds] == [(1, 24, 32, 3)] * 4


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"picture": np.zeros((4, 24, 32, 3), np.uint8)}, "has picture; expected an array for input image"),
        ({"image": np.zeros((4, 24, 32, 3), np.float32)}, "image is float32"),
        ({"image": np.zeros((4, 12, 32, 3), np.uint8)}, r"image is uint8 \(4, 12, 32, 3\); expected uint8"),
        ({"image": np.zeros((0, 24, 32, 3), np.uint8)}, "holds no input"),
    ],
)
def test_an_npz_that_does_not_fit(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "c.npz", **arrays)
    with pytest.raises(UsageError, match=message):
        gather_inputs(manifest(PICTURE), None, tmp_path / "c.npz")


@pytest.mark.parametrize("cut", ["end", "inside", "all", "text"])
def test_a_broken_npz_is_one_line(tmp_path: Path, cut: str) -> None:
    file = tmp_path / "c.npz"
    np.savez_compressed(file, image=np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3), np.uint8))
    whole = file.read_bytes()
    broken = {"end": whole[:-30], "inside": whole[:99] + b"\xff" * 500 + whole[599:], "all": b"PK\3\4", "text": b"1,2"}
    file.write_bytes(broken[cut])
    with pytest.raises(BadArtefact, match=r"c.npz cannot be read as .npz") as caught:
        gather_inputs(manifest(PICTURE), None, file)
    assert "\n" not in str(caught.value)


def test_calibration_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no pictures"):
        gather_inputs(manifest(PICTURE), None, tmp_path)
    with pytest.raises(UsageError, match="neither a folder of pictures nor"):
        gather_inputs(manifest(PICTURE), None, tmp_path / "absent")
    with pytest.raises(UsageError, match=r"absent.npz is not there"):
        gather_inputs(manifest(PICTURE), None, tmp_path / "absent.npz")
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(BadArtefact, match=r"a.png is no picture"):
        gather_inputs(manifest(PICTURE), None, tmp_path)


def test_few_inputs_do_for_both_and_many_are_parted() -> None:
    for n, compared, calibrated in ((40, 40, 40), (160, 32, 128)):
        inputs, rest = Inputs(tuple({"x": np.full(1, i)} for i in range(n)), "here", True).split()
        assert (len(inputs.feeds), len(rest)) == (compared, calibrated)
    assert not {int(f["x"][0]) for f in inputs.feeds} & {int(f["x"][0]) for f in rest}


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(BadArtefact, match=r"samples gave uint8 \(32, 24, 32, 1\); expected uint8 \(32, 24, 32, 3\)"):
        gather_inputs(manifest(PICTURE), lambda n, seed: np.zeros((n, 24, 32, 1), np.uint8), None)
