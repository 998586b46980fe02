"""The navigation network, its data and its metrics, without OpenGL."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from helmsight.train.loader import ahead
from helmsight.train.navigate import collect, data, evaluate, problem
from helmsight.train.navigate.collect import Frames, join, load_frames
from helmsight.train.navigate.data import Batches, Collection, augment
from helmsight.train.navigate.evaluate import metrics
from helmsight.train.navigate.loss import drive_loss
from helmsight.train.navigate.model import IMAGE_HW, MASK_HW, build
from helmsight.train.navigate.problem import NavigateOptions, NavigateProblem
from helmsight.train.problem import Options, Shard

from ..bundles import navigate_manifest


def _frames(n: int) -> Frames:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 255, (n, *IMAGE_HW, 3), np.uint8)
    steer = rng.uniform(-1, 1, n).astype(np.float32)
    free = rng.random((n, *MASK_HW)) < 0.5
    return Frames(images, steer, rng.random(n) < 0.3, free, free & (rng.random(free.shape) < 0.5))


def test_the_network_is_small_and_keeps_the_contract():
    model = build().eval()
    assert sum(p.numel() for p in model.parameters()) <= 350_000
    images = torch.randint(0, 255, (2, *IMAGE_HW, 3), dtype=torch.uint8)
    with torch.no_grad():
        steer, collision, free, way = model(images)
    assert steer.shape == collision.shape == (2, 1)
    assert free.shape == way.shape == (2, *MASK_HW)
    assert {t.dtype for t in (steer, collision, free, way)} == {torch.float32}
    assert steer.abs().max() <= 1
    assert 0 <= collision.min() <= collision.max() <= 1
    assert 0 <= free.min() <= free.max() <= 1
    assert 0 <= way.min() <= way.max() <= 1


def test_it_learns_a_handful_of_frames():
    torch.set_num_threads(1)  # many threads on a busy machine wait for one another
    torch.manual_seed(0)
    model, frames = build(dropout=0.0).train(), _frames(8)
    targets = {
        "steer": torch.from_numpy(frames.steer)[:, None],
        "collision": torch.from_numpy(frames.collision.astype(np.float32))[:, None],
        "free": torch.zeros((8, *MASK_HW)),
        "way": torch.zeros((8, *MASK_HW)),
    }
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        loss, parts = drive_loss(model.logits(torch.from_numpy(frames.images)), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert set(parts) == {"steer", "collision", "free", "way"}


def test_the_loss_is_a_mean_over_the_batch():
    logits = (torch.randn(4, 1), torch.randn(4, 1), torch.randn(4, *MASK_HW), torch.randn(4, *MASK_HW))
    masks = {"free": torch.ones(4, *MASK_HW), "way": torch.zeros(4, *MASK_HW)}
    targets = {"steer": torch.rand(4, 1), "collision": torch.ones(4, 1), **masks}
    once, _ = drive_loss(logits, targets)
    tripled, twice = (
        tuple(t.repeat(3, *[1] * (t.ndim - 1)) for t in logits),
        {k: v.tile(3, *[1] * (v.ndim - 1)) for k, v in targets.items()},
    )
    assert drive_loss(tripled, twice)[0].item() == pytest.approx(once.item(), rel=1e-5)


def test_an_epoch_is_the_same_again_and_another_one_differs():
    first, again, other = (
        list(ahead(Batches(_frames(20), (3, epoch), 4, Shard()), workers))
        for epoch, workers in ((0, 0), (0, 2), (1, 0))
    )
    assert len(first) == 5
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], other[0][0])


def test_shards_split_every_batch():
    whole, *halves = (
        list(ahead(Batches(_frames(8), (3, 0), 4, shard), 0)) for shard in (Shard(), Shard(0, 2), Shard(1, 2))
    )
    for i, (images, targets) in enumerate(whole):
        assert torch.equal(images, torch.cat([halves[0][i][0], halves[1][i][0]]))
        assert torch.equal(targets["steer"], torch.cat([halves[0][i][1]["steer"], halves[1][i][1]["steer"]]))


def test_a_flip_turns_steering_and_masks_around_together():
    """A picture bright on the left, with floor on the left, is steered to the left: whichever way it was flipped."""
    n = 64
    images = np.zeros((n, *IMAGE_HW, 3), np.uint8)
    images[:, :, : IMAGE_HW[1] // 2] = 200
    free = np.zeros((n, *MASK_HW), bool)
    free[:, :, : MASK_HW[1] // 2] = True
    way = np.zeros((n, *MASK_HW), bool)
    way[:, :, : MASK_HW[1] // 4] = True
    frames = Frames(images, np.full(n, 0.7, np.float32), np.zeros(n, bool), free, way)
    batch, targets = Batches(frames, (0, 0), n, Shard())[0]
    bright_left = batch[:, :, :40].float().mean((1, 2, 3)) > batch[:, :, 56:].float().mean((1, 2, 3))
    floor_left = targets["free"][:, :, :20].mean((1, 2)) > 0.5
    assert torch.equal(bright_left, targets["steer"][:, 0] > 0)
    assert torch.equal(bright_left, floor_left)
    assert torch.equal(bright_left, targets["way"][:, :, :10].mean((1, 2)) > 0.5)
    assert 0.2 < bright_left.float().mean() < 0.8


def test_augmentation_changes_light_and_not_size():
    image = np.random.default_rng(0).integers(0, 255, (*IMAGE_HW, 3), np.uint8)
    made = [augment(image, np.random.default_rng(i)) for i in range(20)]
    assert all(m.shape == image.shape and m.dtype == np.uint8 for m in made)
    means = [m.mean() for m in made]
    assert max(means) - min(means) > 40


def test_frames_survive_the_disk(tmp_path):
    frames = join([_frames(3), _frames(2)])
    frames.save(tmp_path / "a" / "frames.npz")
    back = load_frames(tmp_path / "a" / "frames.npz")
    for name in ("images", "steer", "collision", "free", "way"):
        assert np.array_equal(getattr(frames, name), getattr(back, name))
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["frames.npz"]


def test_metrics_of_the_truth_and_of_knowing_nothing():
    frames = _frames(200)
    collision, free, way = (a.astype(np.float32) for a in (frames.collision, frames.free, frames.way))
    perfect = {
        "steer_rmse": 0.0,
        "steer_explained_variance": 1.0,
        "collision_accuracy": 1.0,
        "collision_f1": 1.0,
        "free_space_iou": 1.0,
    }
    assert metrics(frames, frames.steer, collision, free, None) == perfect
    assert metrics(frames, frames.steer, collision, free, way) == perfect | {"way_iou": 1.0}
    zeros, ones = np.zeros(200, np.float32), np.ones((200, *MASK_HW), np.float32)
    nothing = metrics(frames, zeros, zeros, ones, ones)
    assert nothing["steer_rmse"] == pytest.approx(float(np.sqrt((frames.steer**2).mean())))
    assert nothing["steer_explained_variance"] == pytest.approx(0.0)
    assert nothing["collision_accuracy"] == 0.5
    assert nothing["collision_f1"] == 0.0
    assert nothing["free_space_iou"] == pytest.approx(frames.free.mean())
    assert nothing["way_iou"] == pytest.approx(frames.way.mean())


def test_the_score_says_which_way_is_better(monkeypatch):
    """So that the gate of an export lets an improvement pass."""
    monkeypatch.setattr(evaluate, "validation_frames", lambda: _frames(6))
    outputs = {
        "steer": np.zeros((1, 1), np.float32),
        "collision": np.zeros((1, 1), np.float32),
        "free_space": np.ones((1, *MASK_HW), np.float32),
    }
    score = evaluate.score(lambda feeds: outputs, navigate_manifest())
    assert {name for name, metric in score.items() if metric["better"] == "lower"} == {"steer_rmse"}
    assert {metric["better"] for metric in score.values()} == {"lower", "higher"}


def test_the_networks_that_collect_are_the_same_for_every_batch_size(monkeypatch, tmp_path):
    """Their frames lie under names of seed, counts and precision, so nothing else may decide what is in them."""
    trained: list[tuple[NavigateOptions, Options]] = []
    threads = torch.get_num_threads()
    monkeypatch.setattr(problem, "folder", lambda: tmp_path)

    def fit(before: NavigateProblem, options: Options) -> None:
        torch.set_num_threads(7)  # as the recipe's does
        trained.append((before._options, options))

    monkeypatch.setattr(problem, "fit", fit)
    asked = NavigateOptions(seed=1, courses=5, round_courses=2)
    names = []
    for batch_size in (32, 7):
        made = NavigateProblem(replace(asked, batch_size=batch_size))._collections
        names.append([collection.file.name for collection in made])
    assert names[0] == names[1] == ["expert-5.npz", "seed1-5-2-round1.npz", "seed1-5-2-round2.npz"]
    assert trained[:2] == trained[2:]
    assert {options.batch_size for pair in trained for options in pair} == {32}
    assert {(options.amp, options.threads) for _, options in trained} == {(False, 2)}
    mixed = NavigateProblem(replace(asked, amp=True))
    assert [c.file.name for c in mixed._collections][1:] == ["seed1-5-2-amp-round1.npz", "seed1-5-2-amp-round2.npz"]
    assert {options.amp for pair in trained[4:] for options in pair} == {True}
    assert torch.get_num_threads() == threads


def test_frames_are_counted_and_a_course_without_room_for_all_of_them_is_named(monkeypatch, tmp_path, capsys):
    whole = collect.FRAMES_PER_COURSE + collect.THING_FRAMES
    given = {None: [whole, whole - 3], tmp_path / "driver": [collect.FRAMES_PER_COURSE] * 2}
    monkeypatch.setattr(
        data, "collect", lambda seeds, salt, driver, workers: (_frames(n) for n in given[driver][: len(seeds)])
    )
    monkeypatch.setattr(problem, "validation_frames", lambda workers: _frames(1))
    collections = [
        Collection(tmp_path / f"{index}.npz", "train", 2 * index, 2, driver) for index, driver in enumerate(given)
    ]
    made = NavigateProblem(NavigateOptions())
    monkeypatch.setitem(vars(made), "_collections", collections)
    assert made.record()["data"]["frames"] == {"0": 2 * whole - 3, "1": 2 * collect.FRAMES_PER_COURSE}
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "no room" in line] == ["0: course 1001 has no room for more than 53 of them"]
    assert sum(f"courses of {n} frames" in line for n in (whole, collect.FRAMES_PER_COURSE) for line in lines) == 2
