"""The face detector: its size, its pictures, its loss and its scores, on faces that are drawn here."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helmsight.devices.errors import BadArtefact  # noqa: E402
from helmsight.runtime.results import Faces  # noqa: E402
from helmsight.runtime.tasks.face import FaceTask, _cells  # noqa: E402
from helmsight.train.face import loss  # noqa: E402
from helmsight.train.face.data import IMAGE_HW, Batches  # noqa: E402
from helmsight.train.face.evaluate import average_precision, evaluate_folder, match  # noqa: E402
from helmsight.train.face.model import STRIDES, build  # noqa: E402
from helmsight.train.face.pool import Pool  # noqa: E402
from helmsight.train.face.problem import CELLS, DECODING, INPUTS  # noqa: E402
from helmsight.train.face.scene import Material, compose  # noqa: E402
from helmsight.train.problem import Shard  # noqa: E402

from ..bundles import face_manifest  # noqa: E402

MAX_PARAMETERS, MAX_MACS = 100_000, 75e6  # 75 M multiply-accumulates are 150 MFLOPs


@pytest.fixture(scope="module")
def material() -> Material:
    """Ovals with eyes and a mouth in place of faces, noise in place of photographs: nothing is fetched."""
    rng = np.random.default_rng(0)
    faces = np.empty((8, 64, 64, 3), np.uint8)
    for face in faces:
        face[:] = rng.integers(0, 256, 3)
        cv2.ellipse(face, (32, 32), (20, 27), 0, 0, 360, tuple(map(int, rng.integers(120, 256, 3))), -1)
        for x in (24, 40):
            cv2.circle(face, (x, 26), 4, (20, 20, 20), -1)
        cv2.line(face, (24, 46), (40, 46), (40, 20, 90), 3)
    boxes = np.tile(np.array([12, 5, 52, 59], np.float32), (8, 1))
    walls = [rng.integers(0, 256, (90, 120, 3)).astype(np.uint8) for _ in range(3)]
    return Material(Pool(faces, boxes, "drawn"), walls)


def test_the_network_is_small() -> None:
    net = build().eval()
    work = []

    def count(layer: torch.nn.Conv2d, _: object, out: torch.Tensor) -> None:
        work.append(out[0].numel() * layer.weight[0].numel())

    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    net(torch.zeros(1, *IMAGE_HW, 3, dtype=torch.uint8))
    assert sum(p.numel() for p in net.parameters()) <= MAX_PARAMETERS
    assert sum(work) <= MAX_MACS


def test_outputs_are_as_the_runtime_expects_them() -> None:
    scores, boxes = build().eval()(torch.randint(0, 256, (2, *IMAGE_HW, 3), dtype=torch.uint8))
    assert scores.shape == (2, CELLS)
    assert boxes.shape == (2, CELLS, 4)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert boxes.min() > 0


def test_before_training_hardly_any_cell_claims_a_face() -> None:
    torch.manual_seed(0)
    logits, _ = build().train().logits(torch.randint(0, 256, (2, *IMAGE_HW, 3), dtype=torch.uint8))
    assert 0.003 < torch.sigmoid(logits).mean().item() < 0.05


def test_cells_of_loss_and_runtime_agree() -> None:
    centres, strides = loss.cells(IMAGE_HW)
    expected, sizes = _cells(IMAGE_HW, list(STRIDES))
    assert np.array_equal(centres.numpy(), expected)
    assert np.array_equal(strides.numpy(), sizes)


@pytest.mark.parametrize("box", [(10, 20, 24, 38), (100, 60, 150, 125), (60, 10, 210, 215)])
def test_what_the_cells_are_taught_decodes_to_the_box(box: tuple[int, ...]) -> None:
    boxes = torch.zeros(1, 6, 4)
    boxes[0, 2] = torch.tensor(box)
    answers, reach = loss.assign(boxes, IMAGE_HW)
    assert 1 <= answers.sum() <= 30
    outputs = {"scores": answers.float().numpy(), "boxes": reach.numpy().astype(np.float32)}
    found = FaceTask(face_manifest()).decode(outputs, IMAGE_HW)
    assert found.xyxy.tolist() == [pytest.approx(list(box), abs=1e-3)]


def test_overlaps_by_hand() -> None:
    a = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    b = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 3.0, 1.0]])  # the same; twice as wide
    iou, giou = loss.overlaps(a, b)
    assert iou.tolist() == pytest.approx([1, 0.5])
    assert giou.tolist() == pytest.approx([1, 0.5])
    apart = torch.tensor([[-2.0, 1.0, 3.0, 1.0]])  # from 2 to 3, while a ends at 1: hull 4x2, union 6
    iou, giou = loss.overlaps(a[:1], apart)
    assert iou.item() == 0
    assert giou.item() == pytest.approx(-(8 - 6) / 8)


def test_pictures_are_the_same_for_a_seed(material: Material) -> None:
    first, boxes = compose(np.random.default_rng([1, 2, 3]), material, IMAGE_HW)
    again, same = compose(np.random.default_rng([1, 2, 3]), material, IMAGE_HW)
    other, _ = compose(np.random.default_rng([1, 2, 4]), material, IMAGE_HW)
    assert np.array_equal(first, again)
    assert np.array_equal(boxes, same)
    assert not np.array_equal(first, other)


def test_pictures_and_boxes_are_sound(material: Material) -> None:
    counts = []
    for seed in range(40):
        image, boxes = compose(np.random.default_rng(seed), material, (160, 192))
        assert image.shape == (160, 192, 3)
        assert image.dtype == np.uint8
        assert (boxes >= 0).all()
        assert (boxes <= [192, 160, 192, 160]).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= 7.9).all()
        counts.append(len(boxes))
    assert 0 in counts
    assert max(counts) >= 3


def test_shards_make_up_the_batch_whatever_makes_it(material: Material) -> None:
    whole, targets = Batches(material, (0, 5), 4, 3, Shard())[1]
    parts = [Batches(material, (0, 5), 4, 3, Shard(rank, 2))[1] for rank in range(2)]
    assert torch.equal(torch.cat([images for images, _ in parts]), whole)
    assert torch.equal(torch.cat([t["boxes"] for _, t in parts]), targets["boxes"])
    here = list(Batches(material, (0, 5), 4, 3, Shard()).stream(workers=0))
    there = list(Batches(material, (0, 5), 4, 3, Shard()).stream(workers=1))
    assert [torch.equal(a[0], b[0]) for a, b in zip(here, there, strict=True)] == [True] * 3


def test_it_learns_one_batch_by_heart(material: Material) -> None:
    torch.manual_seed(0)
    pictures = [compose(np.random.default_rng([9, i]), material, (96, 128)) for i in range(6)]
    images = torch.from_numpy(np.stack([image for image, _ in pictures]))
    boxes = torch.zeros(6, 6, 4)
    for i, (_, found) in enumerate(pictures):
        boxes[i, : len(found)] = torch.from_numpy(found)
    net = build(dropout=0.0).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        score, box = loss.detection_loss(*net.logits(images), boxes, (96, 128))
        (score + box).backward()
        optimizer.step()
        losses.append((score + box).item())
    assert losses[-1] < 0.5 * losses[0]


def faces(*rows: tuple[float, float, float, float, float]) -> Faces:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Faces(table[:, :4], table[:, 4])


FACE = (0.0, 0.0, 10.0, 10.0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([faces((*FACE, 0.9)), faces((*FACE, 0.8))], 1.0),
        ([faces((*FACE, 0.9)), faces()], 0.5),
        ([faces(), faces()], 0.0),
        # right at .9, wrong at .8, right at .7: precision 1 up to recall 1/2, then 2/3
        ([faces((*FACE, 0.9), (50, 50, 60, 60, 0.8)), faces((*FACE, 0.7))], 0.5 + 0.5 * 2 / 3),
        # the second box on a face is wrong
        ([faces((*FACE, 0.9), (0, 0, 10, 9, 0.85)), faces((*FACE, 0.7))], 0.5 + 0.5 * 2 / 3),
        # half of it overlaps by 0.5, a bit less does not
        ([faces((0, 0, 10, 5, 0.9)), faces((0, 0, 10, 4.9, 0.8))], 0.5),
    ],
)
def test_average_precision_by_hand(found: list[Faces], expected: float) -> None:
    truth = [np.array([FACE], np.float32)] * 2
    assert average_precision(match(found, truth)) == pytest.approx(expected)


def test_false_alarms_on_face_free_pictures_cost_precision() -> None:
    found = [faces((*FACE, 0.6)), faces((*FACE, 0.9))]
    truth = [np.array([FACE], np.float32), np.empty((0, 4), np.float32)]
    assert average_precision(match(found, truth)) == pytest.approx(0.5)


def test_a_folder_is_evaluated_letterboxed(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), np.full((480, 480, 3), 200, np.uint8))
    cv2.imwrite(str(tmp_path / "images/b.png"), np.zeros((240, 320, 3), np.uint8))
    truth = [200.0, 100.0, 360.0, 300.0]
    record = {"images": [{"file": "images/a.png", "xyxy": [truth]}], "negatives": [{"file": "images/b.png"}]}
    (tmp_path / "boxes.json").write_text(json.dumps(record))
    boxes = torch.zeros(1, 6, 4)
    boxes[0, 0] = torch.tensor(truth) / 2  # the picture is shrunk to 240x240
    answers, reach = loss.assign(boxes, IMAGE_HW)

    def run(feeds: dict) -> dict:
        bright = feeds["image"][0, 100, 100].min() > 150
        return {"scores": (answers * float(bright)).float().numpy(), "boxes": reach.numpy()}

    metrics = evaluate_folder(run, face_manifest(), tmp_path)
    assert {name: m["value"] for name, m in metrics.items()} == {"ap50": 1.0, "precision": 1.0, "recall": 1.0}
    assert metrics["ap50"]["n"] == 2
    assert metrics["ap50"]["data"] == tmp_path.name
    (tmp_path / "images/b.png").unlink()
    with pytest.raises(BadArtefact, match=r"b\.png is missing or no picture"):
        evaluate_folder(run, face_manifest(), tmp_path)


def test_a_folder_without_boxes_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadArtefact, match=r"boxes\.json cannot be read"):
        evaluate_folder(lambda feeds: {}, face_manifest(), tmp_path)


def test_the_record_agrees_with_the_runtime() -> None:
    manifest = face_manifest(**DECODING)
    assert manifest.inputs == INPUTS
    assert manifest.outputs[0].shape == (1, CELLS)
    FaceTask(manifest)
