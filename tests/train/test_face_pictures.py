"""What the face detector learns from: heads and photographs that are drawn here; nothing is fetched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helmsight.devices.errors import BadArtefact, UsageError  # noqa: E402
from helmsight.runtime.fetch import Package  # noqa: E402
from helmsight.train.face import data, loss, photographs  # noqa: E402
from helmsight.train.face.annotations import Labelled  # noqa: E402
from helmsight.train.face.data import (  # noqa: E402
    IMAGE_HW,
    TURNED_OFTEN,
    Batches,
    Material,
    load_material,
    make_picture,
)
from helmsight.train.face.landmarks import is_turned  # noqa: E402
from helmsight.train.face.model import build  # noqa: E402
from helmsight.train.face.photographs import HELD_BACK, Photograph, Photographs, albums, from_set  # noqa: E402
from helmsight.train.face.pool import AROUND, Head, Pool, cut_heads  # noqa: E402
from helmsight.train.face.teachers import Labels  # noqa: E402
from helmsight.train.face.view import SMALLEST, join  # noqa: E402
from helmsight.train.loader import ahead  # noqa: E402
from helmsight.train.problem import Shard  # noqa: E402

from .heads import BOX, MARKS, draw_head, labels_of  # noqa: E402


@pytest.fixture(scope="module")
def material() -> Material:
    rng = np.random.default_rng(0)
    walls = [rng.integers(0, 256, (90, 120, 3)).astype(np.uint8) for _ in range(3)]
    heads = [Head(draw_head(i), np.array(BOX, np.float32), np.array(MARKS, np.float32)) for i in range(8)]
    faces = tuple(Photograph(draw_head(i, 128), labels_of(2)) for i in range(10))
    others = tuple(Photograph(wall, join([])) for wall in walls)
    return Material(heads, cut_heads(faces), Photographs(faces, others, "drawn"), walls, {})


def test_heads_are_cut_with_their_surroundings_and_labels() -> None:
    photo = np.zeros((300, 300, 3), np.uint8)
    photo[100:164, 100:164] = draw_head(0)
    labels = labels_of()
    moved = Labels(labels.boxes + 100, labels.landmarks + 100, labels.doubtful)
    (head,) = cut_heads([Photograph(photo, moved)])
    high = BOX[3] - BOX[1]
    assert head.image.shape == (round(AROUND * high),) * 2 + (3,)
    eye = head.landmarks[0].round().astype(int)
    assert head.image[eye[1], eye[0]].max() < 60
    assert head.box[3] - head.box[1] == pytest.approx(high, rel=0.01)
    assert cut_heads([Photograph(photo, replace(moved, doubtful=np.ones(1, bool)))]) == []


def test_pictures_are_the_same_for_a_seed(material: Material) -> None:
    first, labels = make_picture(np.random.default_rng([1, 2, 3]), material, IMAGE_HW)
    again, same = make_picture(np.random.default_rng([1, 2, 3]), material, IMAGE_HW)
    other, _ = make_picture(np.random.default_rng([1, 2, 4]), material, IMAGE_HW)
    assert np.array_equal(first, again)
    assert np.array_equal(labels.boxes, same.boxes)
    assert not np.array_equal(first, other)


def test_pictures_and_labels_are_sound(material: Material) -> None:
    counts = []
    for seed in range(60):
        image, labels = make_picture(np.random.default_rng(seed), material, (160, 192))
        assert image.shape == (160, 192, 3)
        assert image.dtype == np.uint8
        assert (labels.boxes >= 0).all()
        assert (labels.boxes <= [192, 160, 192, 160]).all()
        sure = labels.boxes[~labels.doubtful]
        assert (sure[:, 3] - sure[:, 1] >= SMALLEST - 0.01).all()
        assert labels.landmarks.shape == (len(labels.boxes), 5, 2)
        counts.append(len(sure))
    assert 0 in counts
    assert max(counts) >= 6


def test_shards_make_up_the_batch_whatever_makes_it(material: Material) -> None:
    whole, targets = Batches(material, (0, 5), 4, 3, Shard())[1]
    parts = [Batches(material, (0, 5), 4, 3, Shard(rank, 2))[1] for rank in range(2)]
    assert torch.equal(torch.cat([images for images, _ in parts]), whole)
    for name, rows in targets.items():
        for i, row in enumerate(rows):
            mine = parts[i // 2][1][name][i % 2]
            filled = min(len(mine), len(row))
            assert torch.equal(mine[:filled], row[:filled])
            assert not mine[filled:].any()
            assert not row[filled:].any()
    here = list(ahead(Batches(material, (0, 5), 4, 3, Shard()), workers=0))
    there = list(ahead(Batches(material, (0, 5), 4, 3, Shard()), workers=1))
    assert [torch.equal(a[0], b[0]) for a, b in zip(here, there, strict=True)] == [True] * 3


def test_nobody_in_a_crowd_is_taught_as_background(material: Material) -> None:
    crowd = np.zeros((200, 200, 3), np.uint8)
    corners = [(x, y) for x in range(0, 200, 20) for y in range(0, 200, 20)]
    for x, y in corners:
        crowd[y : y + 20, x : x + 20] = draw_head(0, 20)
    boxes = np.array([(x + 4, y + 2, x + 16, y + 18) for x, y in corners], np.float32)
    labels = Labels(boxes, np.full((100, 5, 2), np.nan, np.float32), np.zeros(100, bool))
    crowds = replace(material, photographs=Photographs((Photograph(crowd, labels),), material.photographs.others, ""))
    most = max(len(Batches(crowds, (0, i), 4, 1, Shard())[0][1]["boxes"][0]) for i in range(6))
    assert most >= 90


def test_a_set_without_a_near_face_is_enough(material: Material) -> None:
    for seed in range(30):
        make_picture(np.random.default_rng(seed), replace(material, cut=[]), (160, 192))


def test_it_learns_one_batch_by_heart(material: Material) -> None:
    torch.manual_seed(0)
    images, targets = Batches(material, (0, 1), 8, 1, Shard())[0]
    net = build().train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        cost = sum(loss.detection_loss(net.logits(images), targets, images.shape[1:3]))
        cost.backward()
        optimizer.step()
        losses.append(cost.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_face_from_the_side_is_told_however_it_lies_in_the_picture() -> None:
    marks = np.array(MARKS, np.float32)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]], np.float32)
    for off, turned in ((0, False), (3, False), (4, True), (-4, True)):  # of eyes 16 apart
        moved = marks + np.array([[0, 0], [0, 0], [off, 0], [0, 0], [0, 0]], np.float32)
        assert is_turned(moved) is turned
        assert is_turned(moved @ turn.T * 3) is turned
    assert not is_turned(np.full((5, 2), np.nan, np.float32))


def test_faces_from_the_side_are_shown_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = labels_of()
    side.landmarks[0, 2, 0] += 8
    shelf = Photographs(
        (Photograph(draw_head(0), labels_of()), Photograph(draw_head(1), side)),
        (Photograph(draw_head(2), join([])),),
        "drawn",
    )
    marks = np.stack([labels_of().landmarks[0], side.landmarks[0]])
    pool = Pool(np.stack([draw_head(0), draw_head(1)]), np.array([BOX, BOX], np.float32), marks, "drawn")
    monkeypatch.setattr(data, "load_photographs", lambda cache: shelf)
    monkeypatch.setattr(data, "face_pool", lambda cache, size: pool)
    monkeypatch.setattr(data, "load_backgrounds", lambda cache: [])
    made = load_material.__wrapped__(tmp_path)
    for heads in (made.generated, made.cut):
        assert [is_turned(head.landmarks) for head in heads].count(True) == TURNED_OFTEN
        assert len(heads) == 1 + TURNED_OFTEN
    assert [p.weight for p in made.photographs.faces] == [1, TURNED_OFTEN]


def test_training_and_validation_share_no_photograph(material: Material) -> None:
    marked = tuple(replace(p, held_back=i in (2, 5)) for i, p in enumerate(material.photographs.faces))
    shelf = replace(material.photographs, faces=marked)
    ours, theirs = (shelf.split(validation) for validation in (False, True))
    assert len(ours.faces) == 8
    assert theirs.faces == (marked[2], marked[5])


def test_a_large_album_does_not_prevail() -> None:
    small = Photograph(np.zeros((8, 8, 3), np.uint8), labels_of(), weight=1.0)
    large = Photograph(np.ones((8, 8, 3), np.uint8), labels_of(), weight=100**-0.5)
    shelf = Photographs((small, *[large] * 100), (small,), "")
    rng = np.random.default_rng(0)
    shown = [int(shelf.pick(rng, others=0)[0].max()) for _ in range(2000)]
    assert np.mean(shown) == pytest.approx(10 / 11, abs=0.03)


def test_a_picture_broken_behind_its_header_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    cv2.imwrite(str(good), draw_head(0))
    bad.write_bytes(good.read_bytes()[:300])
    labels = labels_of()
    items = [Labelled(f, labels.boxes, labels.doubtful, labels.landmarks) for f in (good, bad)]
    shelf = from_set(items, "")
    rng = np.random.default_rng(0)
    assert all(shelf.pick(rng, others=0)[0].shape == (64, 64, 3) for _ in range(20))
    assert "bad.png" in caplog.text
    with pytest.raises(BadArtefact, match="20 pictures in a row"):
        from_set(items[1:], "").pick(rng, others=0)
    with pytest.raises(BadArtefact, match="none of the 1 pictures has a face"):
        from_set([replace(items[0], boxes=np.empty((0, 4), np.float32))], "")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--data wider:.*nowhere: no such folder"):
        load_material.__wrapped__(tmp_path, f"wider:{tmp_path}/nowhere", 0)


def test_the_list_of_packages_is_sound() -> None:
    listed = albums()
    names = {(a.package.name, a.package.version) for a in listed}
    assert len(names) == len(listed)
    for album in listed:
        assert isinstance(album.package, Package)
        assert len(album.package.sha256) == 64
        assert album.package.licence
        assert album.faces or album.face_free
        assert not set(album.faces) & set(album.face_free)
        assert all(not Path(name).is_absolute() and ".." not in Path(name).parts for name in album.faces)


def test_photographs_are_labelled_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    for name, seed in (("a.png", 0), ("b.png", 1), ("wall.png", 2)):
        cv2.imwrite(str(folder / name), draw_head(seed, 600))
    album = photographs.Album(Package("p", "1", "p.whl", "0" * 64, "MIT"), ("a.png", "b.png"), ("wall.png",))
    looked: list[int] = []

    class Teachers:
        def __init__(self, cache: Path) -> None: ...

        def label(self, image: np.ndarray) -> Labels:
            looked.append(len(looked))
            return labels_of(8, doubtful=len(looked) == 2)

    monkeypatch.setattr(photographs, "albums", lambda: (album,))
    monkeypatch.setattr(photographs, "fetch", lambda package, cache: folder)
    monkeypatch.setattr(photographs, "Teachers", Teachers)
    first = photographs.load_photographs(tmp_path)
    again = photographs.load_photographs(tmp_path)
    assert len(looked) == 2, "pictures without a face are not labelled, and none is labelled twice"
    assert (len(first.faces), len(first.others)) == (1, 1), "a picture that nobody is sure of is left out"
    assert first.faces[0].read().shape == (512, 512, 3)
    assert first.sha256 == again.sha256
    held = photographs.load_photographs(tmp_path, held_back=True)
    assert (held.faces, held.others, held.sha256) == ((), (), first.sha256), "none of them is, and the digest is of all"
    monkeypatch.setattr(photographs, "albums", lambda: (replace(album, faces=("a.png",), held_back=True),))
    looked.clear()
    held = photographs.load_photographs(tmp_path, held_back=True)
    assert [p.held_back for p in (*held.faces, *held.others)] == [True, True]


def test_photographs_of_a_package_that_is_installed_are_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(str(tmp_path / "wall.png"), draw_head(2, 600))
    album = photographs.Album(Package("p", "1", "p.whl", "0" * 64, "MIT"), (), ("wall.png",))
    monkeypatch.setattr(photographs, "albums", lambda: (album,))
    monkeypatch.setattr(photographs, "installed", lambda package: tmp_path)
    monkeypatch.setattr(photographs, "fetch", lambda package, cache: pytest.fail("fetched"))
    monkeypatch.setattr(photographs, "Teachers", lambda cache: None)
    assert len(photographs.load_photographs(tmp_path).others) == 1


def test_packages_are_held_back_whole_or_by_person() -> None:
    package = Package("p", "1", "p.whl", "0" * 64, "MIT")
    pictures = tuple(f"{i}.png" for i in range(HELD_BACK + 1)), ()
    apart, mixed, neither = (
        photographs.Album(package, *pictures, *how) for how in ((True, False), (False, True), (False, False))
    )
    assert all(apart.holds_back(i) for i in range(HELD_BACK + 1))
    assert [i for i in range(HELD_BACK + 1) if mixed.holds_back(i)] == [0, HELD_BACK]
    assert not any(neither.holds_back(i) for i in range(HELD_BACK + 1))
    assert 0 < sum(a.held_back for a in albums()) < len(albums())
