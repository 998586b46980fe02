"""Calibration against pictures of boards that are rendered with a known lens at known places."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, CameraUnavailable, UsageError
from helmsight.runtime.boards import (
    Board,
    LeftOut,
    View,
    alike,
    board_in_pictures,
    find_board,
    views_of_camera,
    views_of_pictures,
)
from helmsight.runtime.calibration import calibrate, geometry_of, mount_doubts, mount_over_floor
from helmsight.runtime.lens import CalibratedCamera, Lens, Mount, Straightener, load_camera, save_camera
from helmsight.runtime.mapping.geometry import FloorView
from helmsight.runtime.results import Frame
from helmsight.runtime.sources.fake import FakeSource

from ..chessboards import BOARD, LENS, on_floor, picture, pose, poses, write_pictures

VGA = LENS.scaled((480, 640))
PINHOLE = Lens((240, 320), (300.0, 300.0), (159.5, 119.5))


def exact(number: int, turn: np.ndarray, shift: np.ndarray, lens: Lens = LENS) -> View:
    """The view with its corners where they are, to 0.05 px."""
    corners, _ = cv2.projectPoints(BOARD.points, turn, shift, lens.matrix, np.array(lens.distortion))
    noise = np.random.default_rng(number).normal(0, 0.05, (len(corners), 2))
    return View(f"{number}.png", lens.image_hw, corners.reshape(-1, 2) + noise)


def exact_views(flat: bool = False, lens: Lens = LENS) -> list[View]:
    return [exact(number, *place, lens) for number, place in enumerate(poses(flat))]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The views in twelve pictures, and what was left out: four more of no use."""
    folder = tmp_path_factory.mktemp("boards")
    pattern = write_pictures(folder, poses())
    sharp = cv2.imread(str(folder / "04.png"))
    cv2.imwrite(str(folder / "blurred.png"), cv2.GaussianBlur(sharp, (0, 0), 2.5))
    cv2.imwrite(str(folder / "empty.png"), np.full((240, 320, 3), 120, np.uint8))
    cv2.imwrite(str(folder / "larger.png"), np.full((480, 640, 3), 120, np.uint8))
    cv2.imwrite(str(folder / "same.png"), sharp)
    (folder / "text.png").write_text("no picture")
    return views_of_pictures([pattern], BOARD)


def test_a_lens_is_found_from_pictures_to_one_per_cent(found):
    views, left_out = found
    calibration = calibrate(views, BOARD, left_out)
    lens = calibration.camera.lens
    assert [seen.name for seen in calibration.seen] == [f"{n:02}.png" for n in range(12)]
    assert lens.image_hw == (240, 320)
    assert lens.focal_px == pytest.approx((300, 300), rel=0.01)
    assert lens.fov_y_deg == pytest.approx(LENS.fov_y_deg, rel=0.01)
    assert lens.centre_px == pytest.approx(LENS.centre_px, abs=3.2)
    assert lens.distortion[0] == pytest.approx(-0.25, abs=0.03)
    assert 0 < calibration.camera.rms_px < 0.2
    assert all(seen.tilt_deg == pytest.approx(30, abs=1.5) for seen in calibration.seen)
    assert 0.4 < calibration.coverage < 0.75


def test_pictures_of_no_use_are_named_with_the_reason(found):
    reasons = {one.name: one.reason for one in found[1]}
    assert set(reasons) == {"blurred.png", "empty.png", "larger.png", "same.png", "text.png"}
    assert reasons["blurred.png"].startswith("is blurred: edges take")
    assert reasons["empty.png"] == "shows no whole board of 9x6 inner corners"
    assert reasons["larger.png"] == "is 640x480, most pictures are 320x240"
    assert reasons["same.png"] == "is too much like 04.png: corners 0.0 px apart on average"
    assert "picture" in reasons["text.png"]


def test_another_size_of_board_is_offered(tmp_path):
    pattern = write_pictures(tmp_path / "boards", poses()[:1])
    views, left_out = views_of_pictures([pattern], Board(8, 6, 0.025))
    assert (views, left_out[0].reason) == ([], "shows no whole board of 8x6 inner corners")
    assert board_in_pictures([pattern]) == "9x6"
    cv2.imwrite(str(tmp_path / "boards/00.png"), np.zeros((240, 320, 3), np.uint8))
    assert board_in_pictures([pattern]) is None


def test_nothing_matches():
    with pytest.raises(CameraUnavailable, match=r"none/\*\.jpg: no picture matches"):
        views_of_pictures(["none/*.jpg"], BOARD)


def test_too_few_views_are_refused_with_the_reasons():
    with pytest.raises(BadArtefact, match=r"2 of 3 pictures are of use, 3 are the fewest.*: x\.png is blurred$"):
        calibrate(exact_views()[:2], BOARD, [LeftOut("x.png", "is blurred")])


def test_good_views_have_no_warning():
    wide = [exact(n, *pose(c, r, (25.0 - 50 * (n % 2), 25.0 - 50 * (n // 2 % 2), 0.0), 0.34))
            for n, (c, r) in enumerate((c, r) for c in (0.35, 0.45, 0.55, 0.65) for r in (0.3, 0.5, 0.7))]  # fmt: skip
    assert calibrate(wide, BOARD).warnings == ()


def test_doubtful_views_are_warned_about():
    few = calibrate(exact_views()[4:7], BOARD).warnings
    assert few[0] == "3 views are few; take 10 or more"
    flat = calibrate([*exact_views(flat=True), *exact_views()[:2]], BOARD).warnings
    assert flat[0].startswith("2 of 14 views are tilted by 15 degrees or more; the focal length needs more")
    small = calibrate([exact(n, *pose(0.5, 0.5, t, 0.7)) for n, t in enumerate(_TILTS)], BOARD).warnings
    assert any(line.startswith("boards covered") for line in small)
    noisy = [
        replace(v, corners=v.corners + np.random.default_rng(1).normal(0, 2, v.corners.shape)) for v in exact_views()
    ]
    assert any("px is high; expected less than 1" in line for line in calibrate(noisy, BOARD).warnings)
    cropped = replace(LENS, centre_px=(220.0, 117.0))
    assert any("of a side from the middle" in line for line in calibrate(exact_views(lens=cropped), BOARD).warnings)


_TILTS = [(a, b, 0.0) for a in (-30.0, 5.0, 30.0) for b in (-30.0, 0.0, 30.0, 20.0)]


def test_boards_that_all_face_the_camera_are_refused():
    with pytest.raises(BadArtefact, match=r"faces the camera in all 12 views.*tilted by 20 to 45 degrees"):
        calibrate(exact_views(flat=True), BOARD)


def test_a_view_that_does_not_fit_is_left_out():
    views = exact_views()
    bent = views[3].corners.copy()
    bent[20:30] += 9
    calibration = calibrate([*views, View("bent.png", (240, 320), bent)], BOARD)
    assert [one.name for one in calibration.left_out] == ["bent.png"]
    assert "does not fit the others: RMS" in calibration.left_out[0].reason
    assert calibration.camera.lens.focal_px == pytest.approx((300, 300), rel=0.01)


def test_a_view_that_is_too_skewed_is_left_out():
    steep = exact(99, *pose(0.5, 0.5, (0.0, 78.0, 0.0)))
    calibration = calibrate([*exact_views(), steep], BOARD)
    (one,) = calibration.left_out
    assert one.name == "99.png"
    assert one.reason.startswith("is too skewed: the board is turned by 7")


def test_mirrored_pictures_are_a_mirrored_lens():
    """A chessboard looks the same in a mirror, so that all that shows is where the centre lies."""
    shown = picture(*poses()[4])
    view = find_board(np.ascontiguousarray(shown[:, ::-1]), BOARD, "mirrored")
    assert isinstance(view, View)
    mirrored = [replace(v, corners=_mirrored(v.corners)) for v in exact_views()]
    lens = calibrate(mirrored, BOARD).camera.lens
    assert lens.focal_px == pytest.approx((300, 300), rel=0.01)
    assert lens.centre_px[0] == pytest.approx(319 - 162, abs=1.5)


def _mirrored(corners: np.ndarray) -> np.ndarray:
    flipped = np.stack([319 - corners[:, 0], corners[:, 1]], axis=1)
    return flipped.reshape(6, 9, 2)[:, ::-1].reshape(-1, 2)


def test_a_blur_is_judged_by_the_size_of_the_picture():
    large = picture(*pose(0.5, 0.5, (20.0, 0.0, 0.0)), VGA)
    assert isinstance(find_board(cv2.GaussianBlur(large, (0, 0), 1.5), BOARD, "a"), View)
    motion = np.zeros((31, 31))
    motion[15] = 1 / 31
    moved = find_board(cv2.filter2D(large, -1, motion), BOARD, "b")
    assert isinstance(moved, LeftOut)


def test_a_view_turned_by_half_is_alike():
    view = exact_views()[0]
    turned = replace(view, name="turned", corners=view.corners[::-1])
    assert alike(turned, [view], 0.01).reason.startswith("is too much like 0.png")
    assert alike(exact_views()[1], [view], 0.05) is None


@pytest.mark.parametrize("columns_rows_square", [(2, 6, 0.025), (9, 6, 0.0), (9, 6, 25.0), (9, 6, float("nan"))])
def test_a_board_that_cannot_be(columns_rows_square):
    with pytest.raises(UsageError, match=r"--board 2x6|--square (0|25|nan): expected the side of a square in metres"):
        Board(*columns_rows_square)


@pytest.mark.parametrize(
    ("mount", "ahead_m"),
    [
        (Mount(0.25, 0.0, 0.0), 0.9),
        (Mount(0.25, 10.0, 2.0), 0.5),
        (Mount(0.3, 20.0, -4.0), 0.6),
        (Mount(0.4, 35.0, 4.0), 0.5),
    ],
)
def test_the_mount_is_found_from_a_picture_of_the_floor(mount, ahead_m):
    view = find_board(picture(*on_floor(mount, ahead_m, 0.05), VGA), BOARD, "floor.png", small=True)
    found = mount_over_floor(LENS, view, BOARD)  # calibrated at half the size
    assert found.height_m == pytest.approx(mount.height_m, rel=0.01)
    assert found.pitch_deg == pytest.approx(mount.pitch_deg, abs=0.5)
    assert found.roll_deg == pytest.approx(mount.roll_deg, abs=0.5)


def test_a_roll_is_warned_about():
    assert mount_doubts(Mount(0.3, 10.0, 2.0)) == []
    assert mount_doubts(Mount(0.3, 10.0, -4.2))[0].startswith("the camera is turned by -4.2 degrees")


def test_a_board_on_a_wall_is_no_floor():
    with pytest.raises(BadArtefact, match="expected the board flat on the floor"):
        mount_over_floor(LENS, exact(0, *pose(0.5, 0.5, (0.0, 0.0, 0.0))), BOARD)
    other = replace(exact(0, *pose(0.5, 0.5, (0.0, 0.0, 0.0))), image_hw=(180, 320))
    with pytest.raises(BadArtefact, match="320x180, the calibration 320x240"):
        mount_over_floor(LENS, other, BOARD)


def test_straight_pictures_are_those_of_a_pinhole():
    """A picture through the lens, straightened, is the picture that the straight pinhole takes."""
    straightener = Straightener(LENS)
    place = pose(0.5, 0.5, (20.0, 10.0, 0.0))
    through_lens = find_board(straightener(picture(*place)), BOARD, "a")
    straight = LENS.straight()
    expected = exact(0, *place, straight).corners
    apart = min(np.hypot(*(c - expected).T).mean() for c in (through_lens.corners, through_lens.corners[::-1]))
    assert apart < 0.25  # 2.6 px without straightening
    assert straight.focal_px[0] == straight.focal_px[1]
    assert straight.centre_px == (159.5, 119.5)


def test_straight_pictures_show_nothing_unseen():
    for distortion in ((-0.3, 0.1, 0.0, 0.0, 0.0), (0.2, 0.0, 0.002, 0.0, 0.0)):
        lens = replace(LENS, distortion=distortion)
        maps = cv2.initUndistortRectifyMap(
            lens.matrix, np.array(distortion), None, lens.straight().matrix, (320, 240), cv2.CV_32FC1
        )
        assert -0.1 <= maps[0].min() < maps[0].max() <= 319.1
        assert -0.1 <= maps[1].min() < maps[1].max() <= 239.1
        touched = [maps[0].min() < 1, maps[0].max() > 318, maps[1].min() < 1, maps[1].max() > 238]
        assert any(touched)


def test_a_grid_is_straightened_like_its_frame():
    frame = np.tile(np.linspace(0, 1, 320, dtype=np.float32), (240, 1))
    grid = np.tile((np.arange(48, dtype=np.float32) + 0.5) / 48, (36, 1))
    straightener = Straightener(LENS)
    small = cv2.resize(straightener(frame), (48, 36), interpolation=cv2.INTER_AREA)
    assert np.abs(straightener(grid) - small).max() < 0.02
    assert straightener(grid).dtype == np.float32


def test_a_lens_without_distortion_leaves_pictures_alone():
    shown = picture(*poses()[0])
    assert Straightener(PINHOLE)(shown) is shown
    assert Straightener(replace(PINHOLE, distortion=(0.004, 0.0, 0.0, 0.0, 0.0)))(shown) is shown
    assert Straightener(replace(PINHOLE, distortion=(0.02, 0.0, 0.0, 0.0, 0.0)))(shown) is not shown


def test_frames_of_the_same_shape_are_scaled_and_others_refused():
    straightener = Straightener(LENS)
    straightener.check((480, 640))
    assert straightener(np.zeros((480, 640, 3), np.uint8)).shape == (480, 640, 3)
    with pytest.raises(UsageError, match="a frame has 640x360, the camera was calibrated at 320x240"):
        straightener.check((360, 640))
    assert VGA.fov_y_deg == pytest.approx(LENS.fov_y_deg)


def test_the_floor_is_where_it_is_in_a_straightened_picture():
    """The whole way to the map: through the lens, straightened, and from its pixels to floor points."""
    mount = Mount(0.3, 20.0)
    frame = Straightener(LENS)(picture(*on_floor(mount, 0.6, 0.05), VGA))
    camera = CalibratedCamera(LENS, 0.1, 12, mount)
    view = find_board(frame, BOARD, "floor.png")
    points = FloorView(geometry_of(camera), (480, 640)).to_floor(view.corners)
    assert points.mean(axis=0) == pytest.approx([0.6, 0.05], abs=0.006)
    assert np.ptp(points[:, 1]) == pytest.approx(8 * 0.025, abs=0.003)
    assert np.ptp(points[:, 0]) == pytest.approx(5 * 0.025, abs=0.003)


def test_a_camera_without_a_mount_has_the_default_one():
    geometry = geometry_of(CalibratedCamera(PINHOLE, 0.1, 12))
    assert (geometry.height_m, geometry.pitch_deg, geometry.lens) == (0.25, 0.0, PINHOLE)
    assert geometry.fov_y_deg == pytest.approx(PINHOLE.fov_y_deg)


@pytest.mark.parametrize("mount", [None, Mount(0.31, 12.5)])
def test_a_camera_file_holds_the_camera(tmp_path, mount):
    camera = CalibratedCamera(LENS, 0.25, 14, mount)
    save_camera(tmp_path / "camera.json", camera)
    assert load_camera(tmp_path / "camera.json") == camera
    data = json.loads((tmp_path / "camera.json").read_text())
    assert set(data) == {
        *("schema_version", "image_size", "camera_matrix", "distortion", "rms_px", "fov_y_deg", "pictures"),
        *("height_m", "pitch_deg"),
    }
    assert data["image_size"] == [320, 240]
    assert data["fov_y_deg"] == pytest.approx(43.6, abs=0.1)
    assert [p.name for p in tmp_path.iterdir()] == ["camera.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "has schema_version 2, this helmsight reads 1"),
        ({"camera_matrix": [[1, 2], [3, 4]]}, "is no camera file"),
        ({"distortion": [0, 0, 0, 0, float("nan")]}, "is no camera file"),
        ({"image_size": [0, 240]}, "is no camera file"),
        ({"rms_px": None}, "is no camera file"),
        ({"height_m": "high"}, "is no camera file"),
    ],
)
def test_a_broken_camera_file_is_one_line(tmp_path, change, message):
    path = tmp_path / "camera.json"
    path.write_text(json.dumps(CalibratedCamera(LENS, 0.25, 14).to_json() | change))
    with pytest.raises(BadArtefact, match=message):
        load_camera(path)


def test_a_camera_file_that_is_absent_or_none(tmp_path):
    with pytest.raises(BadArtefact, match="does not exist; expected a file written by `helmsight calibrate --out`"):
        load_camera(tmp_path / "absent.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(BadArtefact, match="is no camera file"):
        load_camera(tmp_path / "list.json")
    with pytest.raises(UsageError, match="cannot be written"):
        save_camera(tmp_path / "none" / "camera.json", CalibratedCamera(LENS, 0.25, 14))


class Interrupted(FakeSource):
    """Ctrl-C in the third frame."""

    def read(self) -> Frame | None:
        frame = super().read()
        assert frame is not None
        if frame.index == 2:
            raise KeyboardInterrupt
        return replace(frame, image=picture(*poses()[frame.index * 4]))


def test_ctrl_c_keeps_the_views_that_there_are(monkeypatch, caplog):
    monkeypatch.setattr("helmsight.runtime.boards.open_source", lambda uri: Interrupted(10, live=True))
    views = views_of_camera("0", BOARD, shots=20)
    assert [view.name for view in views] == ["frame 0", "frame 1"]
    assert "ended by Ctrl-C with 2 of 20 views" in caplog.text


def test_a_camera_that_gives_nothing(monkeypatch):
    monkeypatch.setattr("helmsight.runtime.boards.open_source", lambda uri: FakeSource(0, live=True))
    with pytest.raises(CameraUnavailable, match="gives no frames"):
        views_of_camera("0", BOARD, shots=20)


def test_a_camera_gives_views_that_differ(tmp_path: Path, caplog):
    video = tmp_path / "boards.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for place in (poses()[0], poses()[0], poses()[4], poses()[8]):
        writer.write(picture(*place))
    writer.write(np.full((240, 320, 3), 120, np.uint8))
    writer.release()
    with caplog.at_level(logging.INFO):
        views = views_of_camera(str(video), BOARD, shots=2)
    assert [view.name for view in views] == ["frame 0", "frame 2"]
    assert "2 of 2 views: frame 2 taken" in caplog.text
    caplog.clear()
    views = views_of_camera(str(video), BOARD, shots=20)
    assert [view.name for view in views] == ["frame 0", "frame 2", "frame 3"]
    assert "ended with 3 of 20 views; the last: frame 4 shows no whole board of 9x6 inner corners" in caplog.text
