"""Faces that move along known paths: which id each gets, counted by the metrics of the package `trackers`."""

import json
import pathlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from helmsight.devices.errors import UsageError
from helmsight.runtime.bundle import Bundle
from helmsight.runtime.camera import Camera, CameraOptions
from helmsight.runtime.results import Faces, Frame, Reading, Result
from helmsight.runtime.sources.fake import FakeSource
from helmsight.runtime.tasks import task_for
from helmsight.runtime.tracking import FaceTracker, TrackedSinks, follow_weak_faces, score_threshold

from ..bundles import write_block_finder

FPS = 30
SIZE_PX = 60.0
Way = Callable[[float], tuple[float, float]]


def faces_at(centres: Sequence[tuple[float, float]], scores: Sequence[float] | None = None) -> Faces:
    centre = np.array(centres, np.float32).reshape(-1, 2)
    points = np.broadcast_to(centre[:, None], (len(centre), 5, 2)).copy()
    score = np.full(len(centre), 0.9, np.float32) if scores is None else np.array(scores, np.float32)
    return Faces(np.concatenate([centre - SIZE_PX / 2, centre + SIZE_PX / 2], axis=1), score, points)


def metrics(truth: list[tuple[np.ndarray, Faces]], found: list[Faces]) -> dict[str, float]:
    """CLEAR (MOTA, switches) and IDF1 at IoU 0.5; faces without an id count as not found."""
    from trackers.eval import box_iou, compute_clear_metrics, compute_identity_metrics

    followed = [f.id >= 0 for f in found]
    ids = [f.id[k] for f, k in zip(found, followed, strict=True)]
    overlaps = [box_iou(t.xyxy, f.xyxy[k]) for (_, t), f, k in zip(truth, found, followed, strict=True)]
    names = [name for name, _ in truth]
    return {**compute_clear_metrics(names, ids, overlaps), **compute_identity_metrics(names, ids, overlaps)}


def follow(
    paths: Sequence[Way], times_s: Sequence[float], seen: Callable[[int, float], bool] = lambda face, t: True
) -> dict[str, float]:
    """Track detections with noise of 2 % of a face along `paths`, without those that are not `seen`."""
    rng = np.random.default_rng(0)
    tracker = FaceTracker(0.5)
    truth, found = [], []
    for t in times_s:
        there = [i for i in range(len(paths)) if seen(i, t)]
        true = faces_at([paths[i](t) for i in there])
        noisy = (true.xyxy + rng.normal(0, 0.02 * SIZE_PX, true.xyxy.shape)).astype(np.float32)
        truth.append((np.array(there, int), true))
        found.append(tracker(replace(true, xyxy=noisy), t))
    return metrics(truth, found)


def swaying(lane: int) -> Way:
    return lambda t: (200 + 90 * np.sin(1.5 * t + lane), 50 + 100 * lane)


def regular(seconds: float) -> list[float]:
    return [i / FPS for i in range(round(seconds * FPS))]


def test_five_faces_that_sway_keep_their_ids() -> None:
    score = follow([swaying(lane) for lane in range(5)], regular(6))
    assert score["IDSW"] == 0
    assert score["IDF1"] > 0.99
    assert score["MOTA"] > 0.98


def test_ids_survive_detections_that_fail() -> None:
    rng = np.random.default_rng(1)
    score = follow([swaying(lane) for lane in range(5)], regular(6), lambda face, t: rng.random() > 0.3)
    assert score["IDSW"] == 0
    assert score["IDF1"] > 0.98


def test_ids_survive_frames_that_are_overwritten() -> None:
    """Two thirds of the frames, at random, never reach the model: time passes by the clock, not by the call."""
    rng = np.random.default_rng(2)
    times_s = [t for t in regular(9) if rng.random() < 1 / 3]
    score = follow([swaying(lane) for lane in range(5)], times_s)
    assert score["IDSW"] == 0
    assert score["IDF1"] > 0.98


def test_faces_that_pass_each_other_keep_their_ids() -> None:
    """While the near one hides the other, for a third of a second, there is only one."""
    paths: list[Way] = [lambda t: (40 + 90 * t, 100), lambda t: (400 - 90 * t, 100)]
    score = follow(paths, regular(4), lambda face, t: face == 0 or abs(paths[0](t)[0] - paths[1](t)[0]) > SIZE_PX / 2)
    assert score["IDSW"] == 0
    assert score["IDF1"] > 0.98


def test_a_short_gap_keeps_the_id_and_a_long_one_does_not() -> None:
    tracker = FaceTracker(0.5)

    def id_at(t: float) -> int:
        return int(tracker(faces_at([(100, 100)]), t).id[0])

    first = [id_at(t) for t in (0.0, 0.03, 0.06)]
    assert first == [-1, 0, 0], "not known in the first frame"
    assert id_at(0.7) == 0
    assert [id_at(t) for t in (5.0, 5.03)] == [-1, 1], "after seconds out of sight it is somebody else"


def test_a_face_that_is_gone_leaves_nothing() -> None:
    tracker = FaceTracker(0.5)
    for i in range(10):
        tracker(faces_at([(100, 100), (300, 100)]), i / FPS)
    left = tracker(faces_at([(300, 100)]), 10 / FPS)
    assert left.id.tolist() == [1]
    assert len(tracker(faces_at([]), 11 / FPS).score) == 0


def test_a_weak_face_is_followed_but_begins_nothing() -> None:
    tracker = FaceTracker(0.5)
    assert [len(tracker(faces_at([(100, 100)], [0.4]), i / FPS).score) for i in range(3)] == [0, 0, 0]
    scores = [0.9, 0.9, 0.3, 0.3, 0.9]
    followed = [tracker(faces_at([(100, 100)], [score]), (3 + i) / FPS) for i, score in enumerate(scores)]
    assert [faces.id.tolist() for faces in followed] == [[-1], [0], [0], [0], [0]]


def test_the_order_of_the_faces_stays() -> None:
    tracker = FaceTracker(0.5)
    at = [(100, 100), (300, 100), (500, 100)]
    tracker(faces_at(at, [0.9, 0.8, 0.7]), 0.0)
    before = tracker(faces_at(at, [0.9, 0.8, 0.7]), 0.03)
    turned = tracker(faces_at(at[::-1], [0.9, 0.8, 0.7]), 0.06)
    assert turned.id.tolist() == before.id.tolist()[::-1]
    np.testing.assert_allclose(turned.xyxy, faces_at(at[::-1]).xyxy)


def error_px(path: Way, noise_px: float, smooth: bool) -> np.ndarray:
    """(N, 2) centre of the tracked box minus the true one, after the first half second; 3 s."""
    rng = np.random.default_rng(3)
    tracker = FaceTracker(0.5, smooth)
    errors = []
    for t in regular(3):
        true = faces_at([path(t)])
        moved = rng.normal(0, noise_px, (1, 2)).astype(np.float32)
        out = tracker(replace(true, xyxy=true.xyxy + np.tile(moved, 2)), t)
        errors.append((out.xyxy[0, :2] + out.xyxy[0, 2:]) / 2 - path(t))
    return np.array(errors[FPS // 2 :])


def test_a_still_face_does_not_flicker() -> None:
    raw, smooth = (error_px(lambda t: (100, 100), 1.0, on) for on in (False, True))
    flicker = [np.sqrt((np.diff(e, 2, axis=0) ** 2).sum(axis=1).mean()) for e in (raw, smooth)]
    assert flicker[1] < 0.5 * flicker[0]


@pytest.mark.parametrize("faces_per_s", [0.5, 2, 6])
def test_a_steady_motion_lags_two_percent_of_the_face_at_most(faces_per_s: float) -> None:
    lag = error_px(lambda t: (faces_per_s * SIZE_PX * t, 100), 0.0, True)
    assert 0 < np.abs(lag[:, 0]).max() < 0.022 * SIZE_PX


def test_time_that_stands_still_is_refused() -> None:
    tracker = FaceTracker(0.5)
    tracker(faces_at([]), 1.0)
    with pytest.raises(ValueError, match=r"time_s is 1\.0"):
        tracker(faces_at([]), 1.0)


@pytest.mark.parametrize(("live", "expected"), [(True, [-1, 1]), (False, [0, 0])])
def test_sinks_get_ids_by_the_clock_of_the_source(live: bool, expected: list[int]) -> None:
    """Frames that are neighbours in a file but were captured ten seconds apart."""
    source = FakeSource(1, live=live)
    got: list[Result] = []
    sinks = TrackedSinks(FaceTracker(0.5), source, [got.append])
    for index, captured_s in enumerate([0.01, 0.04, 10.0, 10.03]):
        captured_ns = round(captured_s * 1e9)
        reading = Reading("face", faces_at([(100, 100)]), index, captured_ns, captured_ns, {})
        result = Result(Frame(np.zeros((4, 4, 3), np.uint8), index, captured_ns), {"face": reading})
        sinks(result)
        sinks(result)  # another model led: the same reading comes again
    ids = [int(r.readings["face"].record.id[0]) for r in got]
    assert ids == [-1, -1, 0, 0, *np.repeat(expected, 2).tolist()]


def test_only_a_face_bundle_is_tracked(face_bundle: Bundle, navigate_bundle: Bundle) -> None:
    weaker = follow_weak_faces([navigate_bundle, face_bundle])
    assert weaker[0] is navigate_bundle
    assert score_threshold(weaker) == score_threshold([face_bundle]) / 2
    with pytest.raises(UsageError, match="--track: only faces are followed"):
        follow_weak_faces([navigate_bundle])


def test_the_camera_gives_a_face_that_moves_one_id(tmp_path: pathlib.Path) -> None:
    """A white block that steps by its own size, away in one picture; weak beside it only a grey one."""
    bundle = write_block_finder(tmp_path / "b.bundle")
    for i in range(8):
        picture = np.zeros((240, 320, 3), np.uint8)
        picture[160:168, 40:48] = 100
        if i != 5:
            picture[80:88, 8 * i : 8 * i + 8] = 255
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
    log = tmp_path / "o.jsonl"
    options = {"bundles": [str(bundle.path)], "source": f"{tmp_path}/*.png", "log": log}
    Camera(CameraOptions(**options, track=True)).run()
    lines = [json.loads(line)["face"] for line in log.read_text().splitlines()]
    assert [line["id"] for line in lines] == [[-1], [0], [0], [0], [0], [], [0], [0]]
    assert [len(line["xyxy"]) for line in lines] == [1, 1, 1, 1, 1, 0, 1, 1]
    Camera(CameraOptions(**options)).run()
    assert "id" not in json.loads(log.read_text().splitlines()[0])["face"]


def test_the_picture_names_the_face(face_bundle: Bundle) -> None:
    plain, named = (np.zeros((200, 200, 3), np.uint8) for _ in range(2))
    task = task_for(face_bundle.manifest)
    task.draw(plain, faces_at([(100, 100)]))
    task.draw(named, replace(faces_at([(100, 100)]), id=np.array([7])))
    width = [int((picture[56] != 0).any(axis=-1).sum()) for picture in (plain, named)]
    assert width[1] > width[0] > 30, "a longer label over the box"
    assert (plain[80:] == named[80:]).all()
