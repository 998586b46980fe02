"""The face detector: its size, its pictures, its loss and its scores, on faces that are drawn here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helmsight.devices.errors import BadArtefact  # noqa: E402
from helmsight.runtime.bundle import open_bundle  # noqa: E402
from helmsight.runtime.results import Faces  # noqa: E402
from helmsight.runtime.tasks.face import FaceTask, _cells  # noqa: E402
from helmsight.train.face import loss, problem  # noqa: E402
from helmsight.train.face.data import IMAGE_HW  # noqa: E402
from helmsight.train.face.evaluate import Looked, average_precision, evaluate_data, match, measure  # noqa: E402
from helmsight.train.face.model import STRIDES, build  # noqa: E402
from helmsight.train.face.problem import CELLS, DECODING, INPUTS  # noqa: E402
from helmsight.train.face.teachers import Labels  # noqa: E402
from helmsight.train.mixed import autocast  # noqa: E402

from ..bundles import face_manifest  # noqa: E402

MAX_PARAMETERS, MAX_MACS = 100_000, 75e6  # 75 M multiply-accumulates are 150 MFLOPs


def test_the_network_is_small() -> None:
    net = build().eval()
    work = []

    def count(layer: torch.nn.Conv2d, _: object, out: torch.Tensor) -> None:
        work.append(out[0].numel() * layer.weight[0].numel())

    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    net(torch.zeros(1, *IMAGE_HW, 3, dtype=torch.uint8))
    folded = sum(norm.num_features for norm in net.modules() if isinstance(norm, torch.nn.BatchNorm2d))
    assert sum(p.numel() for p in net.parameters()) - folded <= MAX_PARAMETERS  # as exported: a norm leaves a bias
    assert sum(work) <= MAX_MACS


def test_outputs_are_as_the_runtime_expects_them() -> None:
    scores, boxes, landmarks = build().eval()(torch.randint(0, 256, (2, *IMAGE_HW, 3), dtype=torch.uint8))
    assert scores.shape == (2, CELLS)
    assert boxes.shape == (2, CELLS, 4)
    assert landmarks.shape == (2, CELLS, 5, 2)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert boxes.min() >= 0


def test_before_training_hardly_any_cell_claims_a_face() -> None:
    torch.manual_seed(0)
    logits, *_ = build().train().logits(torch.randint(0, 256, (2, *IMAGE_HW, 3), dtype=torch.uint8))
    assert 0.003 < torch.sigmoid(logits).mean().item() < 0.05


def test_cells_of_loss_and_runtime_agree() -> None:
    centres, strides = loss.cells(IMAGE_HW)
    expected, sizes = _cells(IMAGE_HW, list(STRIDES))
    assert np.array_equal(centres.numpy(), expected)
    assert np.array_equal(strides.numpy(), sizes)


MARKS = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
"""Landmarks in units of a face's box."""


def truth(*boxes: tuple[float, ...], doubtful: bool = False) -> dict[str, torch.Tensor]:
    """Targets of one picture with these faces, of six that there is room for, and their landmarks."""
    targets = {"boxes": torch.zeros(1, 6, 4), "landmarks": torch.zeros(1, 6, 5, 2)}
    for i, box in enumerate(boxes):
        corner, size = torch.tensor(box[:2]), torch.tensor(box[2:]) - torch.tensor(box[:2])
        targets["boxes"][0, i] = torch.tensor(box)
        targets["landmarks"][0, i] = corner + torch.tensor(MARKS) * size
    return {**targets, "doubtful": torch.full((1, 6), doubtful)}


def answer(targets: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """What a network says that gives just what its cells are taught."""
    assigned = loss.assign(targets["boxes"], targets["doubtful"], IMAGE_HW)
    centres, strides = loss.cells(IMAGE_HW)
    box, marks = targets["boxes"][0, assigned.which[0]], targets["landmarks"][0, assigned.which[0]]
    reach = torch.cat([centres - box[:, :2], box[:, 2:] - centres], 1) / strides[:, None]
    points = (marks - centres[:, None]) / strides[:, None, None]
    return {"scores": assigned.answers.float().numpy(), "boxes": reach[None].numpy(), "landmarks": points[None].numpy()}


@pytest.mark.parametrize("box", [(10, 20, 24, 38), (100, 60, 150, 125), (60, 10, 210, 215)])
def test_what_the_cells_are_taught_decodes_to_the_face(box: tuple[float, ...]) -> None:
    targets = truth(tuple(map(float, box)))
    said = answer(targets)
    assert 1 <= said["scores"].sum() <= 30
    found = FaceTask(face_manifest()).decode(said, IMAGE_HW)
    assert found.xyxy.tolist() == [pytest.approx(list(box), abs=1e-3)]
    assert found.landmarks[0] == pytest.approx(targets["landmarks"][0, 0].numpy(), abs=1e-3)


def logits_of(said: dict[str, np.ndarray], sure: float = 12.0) -> tuple[torch.Tensor, ...]:
    scores, boxes, landmarks = (torch.from_numpy(said[name]) for name in ("scores", "boxes", "landmarks"))
    return (scores * 2 - 1) * sure, boxes.requires_grad_(), landmarks.requires_grad_()


def test_a_perfect_answer_costs_nothing_and_each_fault_costs_its_own_part() -> None:
    targets = truth((100.0, 60.0, 150.0, 125.0))
    said = answer(targets)
    perfect = loss.detection_loss(logits_of(said), targets, IMAGE_HW)
    assert [p.item() for p in perfect] == pytest.approx([0, 0, 0], abs=1e-3)
    shifted = loss.detection_loss(logits_of({**said, "boxes": said["boxes"] * 1.3}), targets, IMAGE_HW)
    assert shifted.box > 0.05
    assert shifted.landmarks < 1e-3
    turned = loss.detection_loss(logits_of({**said, "landmarks": said["landmarks"] + 1}), targets, IMAGE_HW)
    assert turned.landmarks > 0.05
    assert turned.box < 1e-3


@pytest.mark.parametrize(("box", "say"), [((100.0, 60.0, 200.0, 180.0), 1.0), ((60.0, 60.0, 84.0, 96.0), None)])
def test_landmarks_cost_their_distance_over_that_of_the_eyes(box: tuple[float, ...], say: float | None) -> None:
    targets = truth(box)
    said = answer(targets)
    off = loss.detection_loss(logits_of({**said, "landmarks": said["landmarks"] + 1}), targets, IMAGE_HW).landmarks
    strides = loss.cells(IMAGE_HW)[1][loss.assign(targets["boxes"], targets["doubtful"], IMAGE_HW).answers[0]]
    eyes = (MARKS[1][0] - MARKS[0][0]) * (box[2] - box[0])
    side = ((box[2] - box[0]) * (box[3] - box[1])) ** 0.5
    each = strides * 2**0.5 / eyes * (say or side / loss.NEAR)
    assert off.item() == pytest.approx(loss.POINT_WEIGHT * each.sum().item() / loss.EXPECTED, rel=1e-3)


def test_eyes_that_are_one_behind_the_other_do_not_make_errors_endless() -> None:
    targets = truth((100.0, 60.0, 200.0, 180.0))
    targets["landmarks"][0, 0, 1] = targets["landmarks"][0, 0, 0]
    said = answer(targets)
    off = loss.detection_loss(logits_of({**said, "landmarks": said["landmarks"] + 1}), targets, IMAGE_HW).landmarks
    assert 0 < off.item() < loss.POINT_WEIGHT * 30 * 32 * 2**0.5 / (loss.CLOSE_EYES * 100) / loss.EXPECTED


def test_near_faces_landmarks_have_a_branch_of_their_own() -> None:
    net = build().eval()
    picture = torch.randint(0, 256, (1, *IMAGE_HW, 3), dtype=torch.uint8)
    before = net(picture)
    torch.nn.init.constant_(net.near[2].bias, 0.5)
    after = net(picture)
    near = torch.from_numpy(_cells(IMAGE_HW, list(STRIDES))[1] == STRIDES[-1])
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert torch.allclose(after[2] - before[2], 0.5 * near[None, :, None, None].float(), atol=1e-5)


def test_a_doubtful_face_is_neither_asked_for_nor_wrong() -> None:
    box = (100.0, 60.0, 150.0, 125.0)
    said = answer(truth(box))
    nothing = {**said, "scores": np.zeros_like(said["scores"])}
    doubtful = truth(box, doubtful=True)
    for answered in (said, nothing):
        assert sum(loss.detection_loss(logits_of(answered), doubtful, IMAGE_HW)).item() < 1e-3
    free = truth()
    assert loss.detection_loss(logits_of(said), free, IMAGE_HW).score > 1


def test_landmarks_that_nobody_knows_teach_nothing_and_break_nothing() -> None:
    targets = truth((100.0, 60.0, 150.0, 125.0))
    said = answer(targets)
    targets["landmarks"][:] = torch.nan
    outputs = logits_of({**said, "landmarks": said["landmarks"] + 1})
    losses = loss.detection_loss(outputs, targets, IMAGE_HW)
    sum(losses).backward()
    assert losses.landmarks == 0
    assert outputs[2].grad.abs().sum() == 0
    assert torch.isfinite(outputs[1].grad).all()


def test_in_mixed_precision_the_loss_is_float32_and_teaches() -> None:
    targets = truth((100.0, 60.0, 150.0, 125.0))
    net = build().train()
    with autocast(torch.device("cpu"), enabled=True):
        outputs = problem._logits(net, torch.randint(0, 256, (1, *IMAGE_HW, 3), dtype=torch.uint8))
        total = sum(loss.detection_loss(outputs, targets, IMAGE_HW))
    assert {o.dtype for o in (*outputs, total)} == {torch.float32}
    total.backward()
    gradients = [p.grad for p in net.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)


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


def faces(*rows: tuple[float, float, float, float, float]) -> Faces:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Faces(table[:, :4], table[:, 4], np.zeros((len(rows), 5, 2), np.float32))


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
    marked = [np.array([FACE], np.float32)] * 2
    assert average_precision(match(found, marked)) == pytest.approx(expected)


def test_false_alarms_on_face_free_pictures_cost_precision() -> None:
    found = [faces((*FACE, 0.6)), faces((*FACE, 0.9))]
    marked = [np.array([FACE], np.float32), np.empty((0, 4), np.float32)]
    assert average_precision(match(found, marked)) == pytest.approx(0.5)


def test_a_folder_is_evaluated_letterboxed(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), np.full((480, 480, 3), 200, np.uint8))
    cv2.imwrite(str(tmp_path / "images/b.png"), np.zeros((240, 320, 3), np.uint8))
    box = [200.0, 100.0, 360.0, 300.0]
    record = {"images": [{"file": "images/a.png", "xyxy": [box]}], "negatives": [{"file": "images/b.png"}]}
    (tmp_path / "boxes.json").write_text(json.dumps(record))
    said = answer(truth(tuple(v / 2 for v in box)))  # the picture is shrunk to 240x240

    def run(feeds: dict) -> dict:
        bright = feeds["image"][0, 100, 100].min() > 150
        return {**said, "scores": said["scores"] * np.float32(bright)}

    metrics = evaluate_data(run, face_manifest(), str(tmp_path))
    assert {name: m["value"] for name, m in metrics.items()} == {"ap50": 1.0, "precision": 1.0, "recall": 1.0}
    assert metrics["ap50"]["n"] == 2
    assert metrics["ap50"]["data"] == tmp_path.name
    (tmp_path / "images/b.png").unlink()
    with pytest.raises(BadArtefact, match=r"b\.png cannot be opened: .*boxes\.json lists it"):
        evaluate_data(run, face_manifest(), str(tmp_path))


def test_landmarks_of_near_faces_that_were_found_are_judged() -> None:
    boxes = np.array([[0, 0, 100, 100], [200, 0, 210, 10], [0, 120, 100, 220]], np.float32)
    marks = boxes[:, None, :2] + np.array(MARKS, np.float32) * (boxes[:, 2:] - boxes[:, :2])[:, None]
    said = Faces(boxes[:2], np.array([0.9, 0.9], np.float32), marks[:2] + np.float32([4, 0]))
    labels = Labels(boxes, marks, np.zeros(3, bool))
    values = measure(Looked([said], [labels], [1.0]), face_manifest(**DECODING))
    assert values["landmark_error"] == pytest.approx(4 / 40)  # the small one does not count, one was not found
    unsure = Faces(said.xyxy, said.score / 2, said.landmarks)
    assert "landmark_error" not in measure(Looked([unsure], [labels], [1.0]), face_manifest(**DECODING))
    small = measure(Looked([said], [labels], [0.25]), face_manifest(**DECODING))
    assert "landmark_error" not in small  # 25 pixels of the network
    assert (small["precision"], small["recall"]) == (1.0, pytest.approx(2 / 3))


def test_what_is_to_be_ignored_neither_counts_nor_punishes() -> None:
    found = [faces((*FACE, 0.9), (50, 50, 60, 60, 0.8))]
    marked, passed = [np.array([FACE], np.float32)], [np.array([[50, 50, 60, 60]], np.float32)]
    matches = match(found, marked, ignore=passed)
    assert matches.score.tolist() == pytest.approx([0.9])
    assert matches.right.tolist() == [True]
    assert match(found, marked).right.tolist() == [True, False]


def test_a_folder_without_boxes_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadArtefact, match=r"boxes\.json cannot be read"):
        evaluate_data(lambda feeds: {}, face_manifest(), str(tmp_path))


def test_the_record_agrees_with_the_runtime() -> None:
    manifest = face_manifest(**DECODING)
    assert [replace(spec, multiple=0) for spec in INPUTS] == list(manifest.inputs)
    assert manifest.outputs[0].shape == (1, CELLS)
    FaceTask(manifest)


def test_sides_of_boxes_are_precise_where_an_engine_computes_them() -> None:
    onnx = pytest.importorskip("onnx", reason="export needs the train extra")
    ort = pytest.importorskip("onnxruntime", reason="sessions on a CPU need the cpu extra")
    model = onnx.shape_inference.infer_shapes(onnx.load(open_bundle("face").model))
    (split,) = (node for node in model.graph.node if node.op_type == "Split")
    tail = onnx.utils.Extractor(model).extract_model([split.output[1]], ["boxes"])
    said = np.linspace(-90, 90, 4 * 20_001, dtype=np.float32).reshape(1, -1, 4)
    (sides,) = ort.InferenceSession(tail.SerializeToString()).run(None, {split.output[1]: said})
    np.testing.assert_allclose(sides, np.logaddexp(0, said.astype(np.float64)), rtol=0, atol=1e-6)
