"""Tiles, on a session that sees bright squares: where a face lies in a tile is where it must be in the frame."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from helmsight.runtime.backends import Feeds, Outputs
from helmsight.runtime.backends.one_by_one import OneByOne
from helmsight.runtime.bundle import Bundle
from helmsight.runtime.results import Faces
from helmsight.runtime.tasks import task_for
from helmsight.runtime.tasks._tiles import views
from helmsight.runtime.tasks.face import _same, _suppress

from ..bundles import FACE_CELLS, face_manifest

MANIFEST = face_manifest()
TILED = replace(MANIFEST, decoding={**MANIFEST.decoding, "tile": True})


class SeesSquares:
    """A detector of bright squares of 12 px and more, as a network that takes one picture of 240 x 320."""

    inputs, outputs, device, precision = MANIFEST.inputs, MANIFEST.outputs, "fake", "fp32"

    def __init__(self) -> None:
        self.runs = 0
        self.closed = False

    def run(self, feeds: Feeds) -> Outputs:
        self.runs += 1
        (picture,) = feeds["image"]
        assert picture.shape == (240, 320, 3)
        outputs = {o.name: np.zeros([int(d) for d in o.shape], np.float32) for o in self.outputs}
        _, _, stats, _ = cv2.connectedComponentsWithStats((picture[..., 0] > 127).astype(np.uint8))
        for x, y, width, height, _ in stats[1:]:
            if min(width, height) < 12:
                continue
            corners = np.array([x, y, x + width, y + height])
            column, row = (corners[:2] + corners[2:]) // 16
            centre = np.array([column, row]) * 8 + 4
            cell = row * 40 + column
            # A part of a face may score more than the whole of another.
            outputs["scores"][0, cell] = 0.9 if width == height else 0.95
            outputs["boxes"][0, cell] = np.concatenate([centre - corners[:2], corners[2:] - centre]) / 8
            outputs["landmarks"][0, cell] = (corners[[0, 1, 2, 1, 0, 3, 2, 3, 0, 1]].reshape(5, 2) - centre) / 8
        return outputs

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> "SeesSquares":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def look(image: np.ndarray, tiled: bool = True) -> tuple[Faces, int]:
    task, network = task_for(TILED if tiled else MANIFEST), SeesSquares()
    outputs = OneByOne(network).run(task.prepare(image))
    return task.decode(outputs, image.shape[:2]), network.runs


def picture(hw: tuple[int, int], squares: list[tuple[int, int, int]]) -> np.ndarray:
    """Grey, with bright squares (x, y, side)."""
    image = np.full((*hw, 3), 40, np.uint8)
    for x, y, side in squares:
        image[y : y + side, x : x + side] = 255
    return image


SEAMS = sorted({int(x) for x, _ in views((700, 1000), (240, 320), True).origin[1:]} - {0})


@pytest.mark.parametrize(
    ("squares", "alone"),
    [
        ([(500, 300, 30)], 0),
        ([(0, 0, 20), (980, 680, 20), (0, 680, 20), (980, 0, 20)], 0),
        ([(SEAMS[0] - 15, 100, 30), (SEAMS[1] - 5, 400, 32), (SEAMS[0] + 305, 600, 30)], 0),
        ([(200, 200, 300)], 1),
        ([(200, 150, 400), (20, 20, 14), (650, 400, 24)], 1),
        ([(300, 300, 24), (330, 300, 24), (300, 330, 24)], 0),
    ],
    ids=["one", "corners", "across seams", "larger than a tile", "large and small", "side by side"],
)
def test_every_face_once_and_where_it_is(squares: list[tuple[int, int, int]], alone: int) -> None:
    image = picture((700, 1000), squares)
    found, runs = look(image)
    truth = sorted([x, y, x + side, y + side] for x, y, side in squares)
    assert np.abs(np.array(sorted(found.xyxy.tolist())) - truth).max() < 5, "px, by the scale of the whole frame"
    small = found.xyxy[:, 2] - found.xyxy[:, 0] < 60
    exact = [box for box in truth if box[2] - box[0] < 60]
    assert sorted(found.xyxy[small].round(3).tolist()) == exact, "in tiles nothing is scaled"
    np.testing.assert_allclose(found.landmarks[:, 4], found.xyxy[:, :2], atol=1e-3)
    np.testing.assert_allclose(found.landmarks[:, 3], found.xyxy[:, 2:], atol=1e-3)
    assert (np.diff(found.score) <= 0).all()
    assert runs == len(views((700, 1000), (240, 320), True).origin)
    assert len(look(image, tiled=False)[0].score) == alone, "what the whole frame alone shows"


def test_a_face_that_every_tile_cuts_is_still_found() -> None:
    # 90 px: too wide to be whole in the overlap of 80, and under 12 px in the whole of this frame.
    start = int(views((240, 3000), (240, 320), True).origin[2, 0])
    found, _ = look(picture((240, 3000), [(start - 6, 60, 90)]))
    assert len(found.score) == 1
    assert found.xyxy[0].tolist() == pytest.approx([start - 6, 60, start + 84, 150], abs=10)


def test_a_frame_that_fits_is_not_cut() -> None:
    for hw in ((240, 320), (100, 100), (240, 10)):
        assert task_for(TILED).prepare(np.zeros((*hw, 3), np.uint8))["image"].shape == (1, 240, 320, 3)
    # Wide and low: one row of tiles, black below.
    (whole, *tiles) = task_for(TILED).prepare(np.full((100, 800, 3), 200, np.uint8))["image"]
    assert len(tiles) == 3
    assert (whole[:40] == 200).all()
    assert not whole[40:].any()
    assert all((tile[:100] == 200).all() and not tile[100:].any() for tile in tiles)


@pytest.mark.parametrize("hw", [(700, 1000), (481, 643), (2160, 3840), (241, 320), (1000, 90)])
def test_tiles_cover_the_frame_and_overlap(hw: tuple[int, int]) -> None:
    origin = views(hw, (240, 320), True).origin[1:]
    assert (origin >= 0).all()
    for axis, (size, tile) in enumerate(((hw[1], 320), (hw[0], 240))):
        starts = np.unique(origin[:, axis])
        assert starts[0] == 0
        assert starts[-1] == max(0, size - tile)
        assert (np.diff(starts) <= 0.75 * tile + 0.5).all()
    assert len(origin) == len(np.unique(origin, axis=0))


def test_one_by_one_owns_the_session(face_bundle: Bundle) -> None:
    network = SeesSquares()
    with OneByOne(network) as session:
        assert (session.device, session.precision) == ("fake", "fp32")
        one = session.run({"image": np.zeros((1, 240, 320, 3), np.uint8)})
        three = session.run({"image": np.zeros((3, 240, 320, 3), np.uint8)})
    assert one["scores"].shape == (1, FACE_CELLS)
    assert three["boxes"].shape == (3, FACE_CELLS, 4)
    assert network.runs == 4
    assert network.closed


def test_a_weak_whole_box_takes_the_score_of_the_parts_that_it_replaces() -> None:
    """What is whole stays, since its place is right; how sure it is, the tile that saw it larger knows better."""
    boxes = np.array([[0, 0, 100, 100], [2, 0, 100, 100], [300, 300, 340, 340]], np.float32)
    score = np.array([0.23, 0.9, 0.4], np.float32)
    order = _suppress(boxes, score, 0.45, np.array([False, True, False]))
    assert sorted(order.tolist()) == [0, 2]
    same = _same(boxes[order], boxes, 0.45)
    assert np.where(same, score, 0).max(axis=1).tolist() == [pytest.approx(0.9 if i == 0 else 0.4) for i in order]
