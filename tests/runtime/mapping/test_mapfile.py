import logging
import math
from dataclasses import replace

import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, UsageError
from helmsight.runtime.lens import Lens
from helmsight.runtime.mapping.from_results import ResultMapper
from helmsight.runtime.mapping.geometry import Pose
from helmsight.runtime.mapping.grid import OccupancyGrid
from helmsight.runtime.mapping.mapfile import FREE, OCCUPIED, UNKNOWN, load_map, save_map
from helmsight.runtime.mapping.picture import PATH_BGR, ROBOT_BGR, SCALE_BGR, draw_map, draw_scale
from helmsight.runtime.results import Reading, Result
from helmsight.runtime.sinks.map import MapSink
from helmsight.runtime.sources import CameraGeometry

cv2 = pytest.importorskip("cv2")


def load_as_map_server(yaml):
    """State of the cell at (x, y), by map_server's own rules for a trinary map."""
    entries = dict(line.split(": ", 1) for line in yaml.read_text().splitlines())
    assert (entries["mode"], entries["negate"]) == ("trinary", "0")
    picture = cv2.imread(str(yaml.parent / entries["image"]), cv2.IMREAD_UNCHANGED)
    assert picture.ndim == 2
    origin_x, origin_y, yaw = (float(part) for part in entries["origin"].strip("[]").split(","))
    assert yaw == 0
    step = float(entries["resolution"])

    def state(x, y):
        row = picture.shape[0] - 1 - math.floor((y - origin_y) / step)
        occupied = (255 - picture[row, math.floor((x - origin_x) / step)]) / 255
        if occupied > float(entries["occupied_thresh"]):
            return "occupied"
        return "free" if occupied < float(entries["free_thresh"]) else "unknown"

    return state


def reading(drive, index):
    return Reading("navigate", drive, index, index, index, {})


def test_map_server_reads_the_walls_where_they_stand(lap, tmp_path):
    png, yaml = lap.mapper.save(tmp_path / "map.png")
    assert (png.name, yaml.name) == ("map.png", "map.yaml")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.png", "map.yaml"]
    state = load_as_map_server(yaml)
    assert [state(*point) for point in ((1.0, 0.0), (-1.5, 3.0), (4.5, -1.0))] == ["free"] * 3
    assert state(5.1, 0.5) == "occupied"  # the wall at x = 5
    assert state(1.6, 1.3) == "unknown"  # the middle of a pillar


def test_an_empty_map_is_a_file_too(tmp_path):
    state = load_as_map_server(save_map(OccupancyGrid(), tmp_path / "map.png")[1])
    assert state(0.0, 0.0) == "unknown"


def test_a_folder_that_is_not_there(lap, tmp_path):
    with pytest.raises(UsageError, match="expected a file that can be written"):
        lap.mapper.save(tmp_path / "no" / "map.png")


def test_picture_shows_path_and_robot(lap):
    picture = lap.mapper.image(300)
    assert picture.shape == (300, 300, 3)
    assert picture.dtype == np.uint8
    for colour in (PATH_BGR, ROBOT_BGR, (254, 254, 254), (0, 0, 0)):  # lines are smoothed, hence the tolerance
        assert (np.abs(picture.astype(int) - colour).max(axis=2) < 40).any()
    assert draw_map(OccupancyGrid(), [Pose()], 64).shape == (64, 64, 3)


def test_picture_holds_a_path_that_began_outside_of_what_was_seen(lap):
    outside = Pose(lap.mapper.grid.origin[0] - 3.0, 0.0)
    picture = draw_map(lap.mapper.grid, [outside, Pose()], 300)
    blue = np.abs(picture.astype(int) - PATH_BGR).max(axis=2) < 60
    columns = np.flatnonzero(blue.any(axis=0))
    assert 0 < columns.min() < 12, "the picture begins just before the path does"
    alone = draw_map(lap.mapper.grid, [Pose()], 300)
    assert (picture == 0).all(axis=2).sum() < (alone == 0).all(axis=2).sum(), "so all else is smaller"


@pytest.mark.parametrize(("per_metre", "metres"), [(100, 0.2), (22, 1), (15, 2), (4.5, 5), (0.3, 100)])
def test_the_scale_is_as_long_as_it_says_and_long_enough_to_be_seen(per_metre, metres):
    picture = np.full((200, 200, 3), 128, np.uint8)
    draw_scale(picture, per_metre)
    lengths = (picture == SCALE_BGR).all(axis=2).sum(axis=1)
    assert lengths.max() == pytest.approx(metres * per_metre, abs=0.6)


def test_a_drawn_map_has_a_scale(lap):
    picture = lap.mapper.image(300)
    assert (picture[-40:, :60] == SCALE_BGR).all(axis=2).sum() >= 20


def test_sink_maps_only_frames_with_their_own_reading(room, tmp_path, caplog):
    results = ResultMapper(room.geometry)
    with MapSink(tmp_path / "map.png", results) as sink:
        for index in range(4):
            pose = Pose(0.04 * index)
            of_frame = index - index % 2  # the network runs at half the rate
            sink(Result(room.frame(index, pose), {"navigate": reading(room.drive(pose), of_frame)}))
        sink(Result(room.frame(5, Pose()), {}))
        assert len(sink.mapper.trajectory) == 2
        assert results.report.skipped == 3
        assert results.report.frames == 2
        assert results.report.pitch_off_deg is None, "not known so soon"
    assert load_as_map_server(tmp_path / "map.yaml")(1.0, 0.0) != "occupied"
    sink.close()
    with pytest.raises(RuntimeError, match="closed"):
        sink(Result(room.frame(6, Pose()), {}))
    assert not caplog.records


def test_sink_leaves_an_earlier_map_alone_when_it_has_nothing(room, tmp_path, caplog):
    (tmp_path / "map.png").write_bytes(b"earlier")
    with caplog.at_level(logging.WARNING), MapSink(tmp_path / "map.png", ResultMapper(room.geometry)) as sink:
        sink(Result(room.frame(0, Pose()), {}))
    assert (tmp_path / "map.png").read_bytes() == b"earlier"
    assert "no frame had a navigate reading" in caplog.text


def test_sink_says_how_often_it_was_lost(room, tmp_path, caplog):
    results = ResultMapper(room.geometry)
    with caplog.at_level(logging.WARNING), MapSink(tmp_path / "map.png", results) as sink:
        for index, pose in enumerate([Pose(), Pose(2.0, 2.0, 2.5)]):
            sink(Result(room.frame(index, pose), {"navigate": reading(room.drive(pose), index)}))
    assert "the motion of 1 of 2 frames is unknown" in caplog.text
    assert results.report.lost == 1


@pytest.mark.parametrize(("off_deg", "said"), [(2.0, "degrees lower"), (-2.0, "degrees higher"), (0.0, "")])
def test_a_camera_that_is_not_mounted_as_told_is_said_once(room, caplog, off_deg, said):
    told = replace(room.geometry, pitch_deg=room.geometry.pitch_deg - off_deg)
    results = ResultMapper(told)
    with caplog.at_level(logging.WARNING):
        for index in range(60):
            pose = Pose(0.05 * index)
            results(Result(room.frame(index, pose), {"navigate": reading(room.drive(pose), index)}))
    lines = [record.message for record in caplog.records]
    assert len(lines) == bool(said)
    assert all(said in line and f"in place of {told.pitch_deg:.1f}" in line for line in lines)
    assert results.report.pitch_off_deg == pytest.approx(off_deg, abs=0.5)
    assert results.report.way_m == pytest.approx(0.05 * 59, abs=0.1)


@pytest.mark.parametrize(
    ("name", "what"), [("map.jpg", "expected a .png"), ("map", "no suffix"), ("no/map.png", "no folder")]
)
def test_sink_refuses_a_path_at_once(room, tmp_path, name, what):
    with pytest.raises(UsageError, match=what):
        MapSink(tmp_path / name, ResultMapper(room.geometry))


@pytest.fixture
def saved(lap, tmp_path):
    return lap.mapper.save(tmp_path / "map.png")[1]


def test_a_saved_map_is_loaded_again_cell_for_cell(lap, saved):
    loaded = load_map(saved, lap.world.geometry, 0.05)
    grid = lap.mapper.grid
    assert loaded.resolution_m == 0.05
    for x, y in ((1.02, 0.02), (-1.48, 3.02), (5.12, 0.52), (1.62, 1.32), (2.62, 3.12)):  # inside of cells
        (row, column), *_ = grid.cell(np.array([[x, y]]))
        odds = grid.log_odds[row, column]
        expected = OCCUPIED if odds > 0.62 else FREE if odds < -1.42 else UNKNOWN
        at = math.floor((y - loaded.origin[1]) / 0.05), math.floor((x - loaded.origin[0]) / 0.05)
        assert loaded.cells[at] == expected


def test_a_map_of_another_run_is_refused(lap, saved):
    with pytest.raises(UsageError, match=r"a map of another run, made with camera 75\.000,0\.4000,10\.000"):
        load_map(saved, CameraGeometry(75.0, 0.3, 10.0))
    with pytest.raises(UsageError, match=r"cells of 0\.05 m; expected 0\.1 m"):
        load_map(saved, resolution_m=0.1)
    assert load_map(saved).camera == "75.000,0.4000,10.000"


def _replaced(yaml, line, new):
    lines = [new if text.startswith(line) else text for text in yaml.read_text().splitlines()]
    yaml.write_text("\n".join(text for text in lines if text) + "\n")


@pytest.mark.parametrize(
    ("line", "new", "what"),
    [
        ("resolution", "resolution: nan", "resolution is 'nan'"),
        ("resolution", "resolution: -1", "resolution is '-1'"),
        ("resolution", "", "has no resolution"),
        ("origin", "origin: [1, 2]", "expected \\[x, y, 0.0\\]"),
        ("origin", "origin: [inf, 0, 0]", "origin is"),
        ("helmsight_sha256", "", "has no helmsight_sha256"),
        ("helmsight_sha256", "helmsight_sha256: 00", "is not the picture"),
        ("image", "image: other.png", "expected the picture that map.yaml names"),
    ],
)
def test_a_broken_or_foreign_yaml_is_one_clear_line(saved, line, new, what):
    _replaced(saved, line, new)
    with pytest.raises(BadArtefact, match=what) as error:
        load_map(saved)
    assert "\n" not in str(error.value)


def test_a_file_that_is_missing_or_no_text_or_another_picture(saved, tmp_path):
    with pytest.raises(BadArtefact, match="No such file"):
        load_map(tmp_path / "none.yaml")
    saved.with_suffix(".png").write_bytes(b"cut")
    with pytest.raises(BadArtefact, match="is not the picture"):
        load_map(saved)
    saved.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadArtefact, match="is no text"):
        load_map(saved)


def test_floor_and_way_are_straightened_alike(room):
    """What the map is made of and what the pilot follows are then of one picture."""
    drive, frame = room.drive(Pose()), room.frame(0, Pose())
    drive = replace(drive, way=drive.free_space)
    height, width = frame.image.shape[:2]
    lens = Lens((height, width), (width, width), ((width - 1) / 2, (height - 1) / 2), (-0.25, 0.08, 0.0, 0.0, 0.0))
    results = ResultMapper(replace(room.geometry, lens=lens))
    assert results(Result(frame, {"navigate": reading(drive, 0)}))
    seen = results.mapper.drive
    assert seen is not None
    assert np.array_equal(seen.way, seen.free_space)
    assert not np.array_equal(seen.way, drive.way)
