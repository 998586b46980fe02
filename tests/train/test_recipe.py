"""The recipe on a problem of a second: curves, resuming, errors, ensembles, several processes."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")
load_file = pytest.importorskip("safetensors.torch").load_file

from helmsight.devices.errors import BadArtefact, DeviceMismatch, GateFailed, UsageError  # noqa: E402
from helmsight.devices.processor import processor  # noqa: E402
from helmsight.runtime.bundle import sha256  # noqa: E402
from helmsight.train.recipe import Batch, Loss, Normalise, Options, Shard, fit, init_by_fan_in  # noqa: E402
from helmsight.train.report import draw_curves  # noqa: E402
from helmsight.train.schedule import Schedule  # noqa: E402
from helmsight.train.tasks import defaults  # noqa: E402
from helmsight.train.update_ratio import UpdateRatio, advice  # noqa: E402

from .tiny import TinyNet, TinyProblem, make  # noqa: E402

TINY = Path(__file__).with_name("tiny.py")


def options(out: Path, **changes: object) -> Options:
    return replace(Options(out, epochs=4, batch_size=16, lr=0.05, seed=3), **changes)


def curve(out: Path) -> list[dict]:
    """metrics.jsonl without the time an epoch took, which is no result."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def script(out: Path, epochs: int, pause_s: float, mode: str = "even", processes: int = 0) -> list[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes else []
    return [sys.executable, *launch, str(TINY), str(out), str(epochs), str(pause_s), mode]


def test_a_run_learns_and_leaves_its_files(tmp_path: Path) -> None:
    out = fit(TinyProblem(), options(tmp_path / "run", epochs=12))
    epochs = curve(out)
    assert len(epochs) == 12
    assert epochs[-1]["loss"] < 0.5 * epochs[0]["loss"]
    assert max(e["validation"]["score"] for e in epochs) > 0.9
    left = {p.name for p in out.iterdir()}
    assert left == {"checkpoint.json", "model.safetensors", "metrics.jsonl", "curves.png", "last.pt", "tensorboard"}
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert any(f.stat().st_size > 500 for f in (out / "tensorboard").iterdir())


def test_a_figure_that_is_not_known_at_first_is_drawn_from_where_it_is(tmp_path: Path) -> None:
    epoch = {"epoch": 1, "loss": 2.0, "parts": {"a": 1.0}, "lr": 0.1, "update_ratio": 1e-3, "validation": {"ap": 0.1}}
    later = {**epoch, "epoch": 2, "validation": {"ap": 0.2, "landmark_error": 0.5}}
    draw_curves(tmp_path / "curves.png", [epoch, later])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_running_average_is_what_is_kept(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    out = fit(TinyProblem(), options(tmp_path / "run", epochs=1, ema=0.9))
    kept = load_file(out / "model.safetensors")
    last = torch.load(out / "last.pt", weights_only=True)
    assert torch.equal(kept["head.weight"], last["average"]["module.head.weight"])
    assert not torch.equal(kept["head.weight"], last["model"]["head.weight"])


def test_the_checkpoint_holds_the_best_weights_and_what_made_them(tmp_path: Path) -> None:
    import hashlib

    from safetensors.torch import load_file

    out = fit(TinyProblem(), options(tmp_path / "run", epochs=6))
    checkpoint = json.loads((out / "checkpoint.json").read_text())
    best = max(curve(out), key=lambda e: e["validation"]["score"])
    assert checkpoint["provenance"]["epoch"] == best["epoch"]
    assert checkpoint["metrics"] == {
        "score": {"value": best["validation"]["score"], "data": "tiny validation", "n": 128}
    }
    weights = (out / "model.safetensors").read_bytes()
    assert checkpoint["provenance"]["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert checkpoint["provenance"]["options"]["lr"] == 0.05
    assert str(tmp_path) not in json.dumps(checkpoint)
    net = TinyNet(0.2).eval()
    net.load_state_dict(load_file(out / "model.safetensors"))
    with torch.no_grad():
        assert TinyProblem().validate(net)["score"] == best["validation"]["score"]


def test_a_seed_reproduces_and_another_differs(tmp_path: Path) -> None:
    first = curve(fit(TinyProblem(), options(tmp_path / "a")))
    assert curve(fit(TinyProblem(), options(tmp_path / "b"))) == first
    assert curve(fit(TinyProblem(), options(tmp_path / "c", seed=4))) != first


@pytest.mark.parametrize(("optimizer", "ema"), [("sgd", 0.0), ("adamw", 0.9)])
def test_resuming_gives_the_same_curve(tmp_path: Path, optimizer: str, ema: float) -> None:
    chosen = {"optimizer": optimizer, "ema": ema, "lr": 0.02, "patience": 1}
    whole = fit(TinyProblem(), options(tmp_path / "whole", epochs=7, **chosen))
    parts = tmp_path / "parts"
    for epochs in (2, 3, 7):
        fit(TinyProblem(), options(parts, epochs=epochs, **chosen))
    assert curve(parts) == curve(whole)
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_killed_in_the_middle_and_started_again_gives_the_same_curve(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(script(whole, 6, 0), check=True, capture_output=True)
    process = subprocess.Popen(script(killed, 6, 0.05), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(curve(killed) if (killed / "metrics.jsonl").exists() else []) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)  # into the middle of an epoch
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 2 <= len(curve(killed)) < 6
    subprocess.run(script(killed, 6, 0), check=True, capture_output=True)
    assert curve(killed) == curve(whole)
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_other_options_are_refused_by_name_until_restart(tmp_path: Path) -> None:
    out = fit(TinyProblem(), options(tmp_path / "run", epochs=2))
    with pytest.raises(UsageError, match=r"lr 0\.05 -> 0\.01.*--restart"):
        fit(TinyProblem(), options(out, lr=0.01))
    with pytest.raises(UsageError, match="batch_size"):
        fit(TinyProblem(batch_size=32), options(out))
    fit(TinyProblem(), options(out, epochs=3, lr=0.01, restart=True))
    assert [e["lr"] for e in curve(out)] == [0.01] * 3


def test_a_broken_last_pt_is_named(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"no zip")
    with pytest.raises(BadArtefact, match=r"last\.pt cannot be read"):
        fit(TinyProblem(), options(tmp_path))


def test_a_loss_that_is_not_finite_stops_with_epoch_step_and_rate(tmp_path: Path) -> None:
    with pytest.raises(GateFailed, match=r"loss is nan in epoch 1, step 5, learning rate 0\.05"):
        fit(TinyProblem(poison=5), options(tmp_path / "run"))
    assert not (tmp_path / "run" / "last.pt").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lr_divide": 3}, "--lr-divide is 3; expected 2 or 5"),
        ({"optimizer": "rmsprop"}, "--optimizer is rmsprop; expected sgd or adamw"),
        ({"lr": -1.0}, "--lr is -1.0"),
        ({"min_lr": 1.0}, "--min-lr is 1.0"),
        ({"epochs": 0}, "--epochs is 0"),
        ({"device": "tpu"}, "--device is tpu"),
    ],
)
def test_options_that_cannot_be_meant(tmp_path: Path, change: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fit(TinyProblem(), options(tmp_path, **change))


class Typed(TinyProblem):
    """Says in which type the network computed."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def loss(self, model: torch.nn.Module, images: torch.Tensor, targets: dict[str, torch.Tensor]) -> Loss:
        self.types.add(model.logits(images).dtype)
        return super().loss(model, images, targets)


def test_mixed_precision_on_a_cpu_computes_in_bfloat16_and_keeps_weights_of_float32(tmp_path: Path, capsys) -> None:
    mixed, whole = Typed(), Typed()
    out = fit(mixed, options(tmp_path / "mixed", epochs=12, amp=True))
    fit(whole, options(tmp_path / "whole", epochs=1))
    assert (mixed.types, whole.types) == ({torch.bfloat16}, {torch.float32})
    said = capsys.readouterr().err
    assert said.count("in mixed precision, bfloat16 (--no-amp: float32)") == 1
    assert {w.dtype for w in load_file(out / "model.safetensors").values()} == {torch.float32}
    assert max(e["validation"]["score"] for e in curve(out)) > 0.9
    for epochs in (3, 12):
        again = fit(Typed(), options(tmp_path / "again", epochs=epochs, amp=True))
    assert curve(again) == curve(out)


@pytest.mark.parametrize(("isa", "gains"), [(("AVX2", "AMX BF16"), True), (("AVX2", "BF16"), False)])
def test_navigation_learns_in_mixed_precision_on_cpus_that_gain(tmp_path: Path, monkeypatch, isa, gains) -> None:
    here = replace(processor(), isa=isa)
    monkeypatch.setattr("helmsight.train.mixed.processor", lambda: here)
    assert defaults("navigate", tmp_path).amp == gains
    assert not defaults("navigate", tmp_path, "cuda").amp
    assert (defaults("navigate", tmp_path).threads, defaults("navigate", tmp_path, "cuda").threads) == (2, 1)


def test_other_options_are_refused_before_the_data_is_made(tmp_path: Path, monkeypatch) -> None:
    out = fit(TinyProblem(), options(tmp_path / "run", epochs=1, amp=True))
    problem = TinyProblem()
    monkeypatch.setattr(problem, "record", lambda: pytest.fail("the data is asked for"))
    with pytest.raises(UsageError, match=r"\(amp True -> False; threads 1 -> 2\); say the same options"):
        fit(problem, options(out, threads=2))
    with pytest.raises(UsageError, match="amp True -> False; ensemble 1 -> 2"):
        fit(problem, options(out, ensemble=2))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceMismatch, match="--device cpu"):
        fit(TinyProblem(), options(tmp_path, device="cuda"))


def test_plateau_divides_after_patience_and_ends(tmp_path: Path) -> None:
    chosen = options(tmp_path, lr=1.0, patience=2, lr_divide=5, min_lr=0.03)
    state, seen = Schedule(chosen.lr), []
    for done, score in enumerate((0.1, 0.3, 0.2, 0.3, 0.4, 0.1, 0.1, 0.1, 0.1), 1):
        state = state.after(score, chosen, done)
        seen.append(round(state.lr, 6))
    assert seen == [1, 1, 1, 0.2, 0.2, 0.2, 0.04, 0.04, 0.008]
    assert state.best == 0.4
    assert state.ended(chosen)


def test_a_cosine_falls_to_the_least_rate_whatever_the_score(tmp_path: Path) -> None:
    chosen = options(tmp_path, lr=1.0, min_lr=0.2, epochs=4, schedule="cosine")
    state, seen = Schedule(chosen.lr), [chosen.lr]
    for done, score in enumerate((0.5, 0.1, 0.1, 0.1), 1):
        state = state.after(score, chosen, done)
        seen.append(state.lr)
    # Four epochs train at these; what follows the last is never used.
    assert seen[:4] == pytest.approx([0.2 + 0.4 * (1 + math.cos(math.pi * third / 3)) for third in range(4)])
    assert seen[3] == pytest.approx(0.2)
    assert state.best == 0.5
    assert not state.ended(chosen)


def test_a_cosine_goes_on_as_if_it_had_never_stopped_and_only_to_its_own_end(tmp_path: Path) -> None:
    class Broken(TinyProblem):
        def batches(self, epoch: int, shard: Shard) -> Iterator[Batch]:
            if epoch == 2:
                raise KeyboardInterrupt
            return super().batches(epoch, shard)

    whole = fit(TinyProblem(), options(tmp_path / "whole", epochs=4, schedule="cosine"))
    chosen = options(tmp_path / "run", epochs=4, schedule="cosine")
    with pytest.raises(KeyboardInterrupt):
        fit(Broken(), chosen)
    with pytest.raises(UsageError, match="epochs 4 -> 5"):
        fit(TinyProblem(), replace(chosen, epochs=5))
    assert curve(fit(TinyProblem(), chosen)) == curve(whole)


def test_a_run_begins_with_the_weights_of_another(tmp_path: Path) -> None:
    first = fit(TinyProblem(), options(tmp_path / "first", epochs=3))
    begun = fit(TinyProblem(), options(tmp_path / "next", epochs=1, init=first, lr=1e-6, min_lr=1e-9))
    cold = fit(TinyProblem(), options(tmp_path / "cold", epochs=1, lr=1e-6, min_lr=1e-9))
    assert curve(begun)[0]["loss"] < 0.9 * curve(cold)[0]["loss"]
    record = json.loads((begun / "checkpoint.json").read_text())
    assert record["provenance"]["options"]["init"] == sha256(first / "model.safetensors")
    with pytest.raises(UsageError, match="init"):
        fit(TinyProblem(), options(tmp_path / "next", epochs=2, lr=1e-6, min_lr=1e-9))


class Normed(TinyProblem):
    """With a batch norm, `body.3`."""

    def build(self) -> torch.nn.Module:
        net = super().build()
        net.body.insert(3, torch.nn.BatchNorm1d(16))
        return net


def test_frozen_norms_keep_their_statistics_and_learn_their_weights(tmp_path: Path) -> None:
    first = fit(Normed(), options(tmp_path / "first", epochs=1))
    runs = [options(tmp_path / str(frozen), epochs=1, init=first, freeze_norm=frozen) for frozen in (1, 0)]
    kept, moved = (load_file(fit(Normed(), chosen) / "model.safetensors") for chosen in runs)
    began = load_file(first / "model.safetensors")
    assert torch.equal(kept["body.3.running_mean"], began["body.3.running_mean"])
    assert not torch.equal(kept["body.3.weight"], began["body.3.weight"])
    assert not torch.equal(moved["body.3.running_mean"], began["body.3.running_mean"])
    with pytest.raises(UsageError, match=r"--freeze-norm is 1; expected .* 1 with --init"):
        options(tmp_path, freeze_norm=1).check()


def test_norms_freeze_at_their_epoch_with_the_running_average(tmp_path: Path) -> None:
    def state(epochs: int) -> dict[str, dict[str, torch.Tensor]]:
        fit(Normed(), options(tmp_path, epochs=epochs, ema=0.9, freeze_norm=3, lr=0.01, min_lr=1e-9))
        return torch.load(tmp_path / "last.pt", weights_only=True)

    mean = "body.3.running_mean"
    before, frozen, later = state(2), state(3), state(4)
    assert not torch.equal(before["model"][mean], before["average"][f"module.{mean}"])
    assert torch.equal(frozen["model"][mean], before["average"][f"module.{mean}"])
    assert torch.equal(later["model"][mean], frozen["model"][mean])
    assert not torch.equal(later["model"]["body.3.weight"], frozen["model"]["body.3.weight"])


def test_weights_that_are_not_there_or_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--init is .*nowhere; expected a run's folder"):
        options(tmp_path / "run", init=tmp_path / "nowhere").check()
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(BadArtefact, match=r"--init: .*model\.safetensors does not fit the network"):
        fit(TinyProblem(), options(tmp_path / "run", init=tmp_path))


def test_a_score_that_hardly_grows_counts_as_not_better(tmp_path: Path) -> None:
    chosen = options(tmp_path, lr=1.0, patience=2, lr_divide=2, min_gain=0.1)
    state, seen = Schedule(chosen.lr), []
    for done, score in enumerate((0.1, 0.25, 0.28, 0.31, 0.36, 0.42, 0.43), 1):
        state = state.after(score, chosen, done)
        seen.append(state.lr)
    assert seen == [1, 1, 1, 0.5, 0.5, 0.5, 0.5]
    assert state.best == 0.43, "what is kept is the best, however little better"


def test_training_ends_when_the_rate_is_tiny(tmp_path: Path) -> None:
    out = fit(TinyProblem(), options(tmp_path / "run", epochs=100, patience=1, lr_divide=5, min_lr=0.03))
    epochs = curve(out)
    assert len(epochs) < 100
    assert epochs[-1]["lr"] == 0.05


def test_update_ratio_is_the_ratio_of_norms() -> None:
    layer = torch.nn.Linear(4, 4)
    ratio = UpdateRatio(layer, every=2)
    for step, factor in enumerate((1.002, 5.0, 1.004)):  # the second step is not looked at
        with ratio.watch(step), torch.no_grad():
            layer.weight *= factor
    assert ratio.take() == pytest.approx(0.003, rel=1e-3)


@pytest.mark.parametrize(("ratio", "word"), [(1e-6, "small"), (1e-3, ""), (5e-4, ""), (0.5, "large")])
def test_advice_on_the_ratio(ratio: float, word: str) -> None:
    said = advice(ratio)
    assert word in said
    assert bool(said) == bool(word)


def test_normalise_centres_and_scales() -> None:
    images = torch.tensor([0, 127, 255], dtype=torch.uint8).repeat(1, 2, 2, 1)
    out = Normalise()(images)
    assert out.shape == (1, 3, 2, 2)
    assert out[0, :, 0, 0].tolist() == pytest.approx([-127.5 / 64, -0.5 / 64, 127.5 / 64])


def test_initialisation_by_fan_in_keeps_the_variance() -> None:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(*[m for _ in range(8) for m in (torch.nn.Linear(400, 400), torch.nn.ReLU())])
    init_by_fan_in(layers)
    out = layers(torch.randn(200, 400))
    assert 0.3 < out.square().mean().item() < 3
    assert layers[0].weight.std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.02)


def test_ensemble_is_averaged_and_distilled(tmp_path: Path) -> None:
    out = tmp_path / "run"
    chosen = options(out, epochs=10, ensemble=2)
    fit(TinyProblem(), chosen)
    report = json.loads((out / "ensemble.json").read_text())
    assert len(report["members"]) == 2
    assert report["ensemble"] >= min(report["members"]) - 0.05
    assert report["distilled"] > 0.85
    seeds = [json.loads((out / f"member-{i}/checkpoint.json").read_text())["provenance"]["seed"] for i in range(2)]
    assert seeds == [3, 4]
    assert curve(out / "member-0")[0]["loss"] != curve(out / "member-1")[0]["loss"]
    # the student learns from soft labels: its loss is the cross entropy with the ensemble's outputs
    assert curve(out)[0]["loss"] != curve(out / "member-0")[0]["loss"]
    again = (out / "metrics.jsonl").read_bytes()
    fit(TinyProblem(), chosen)
    assert (out / "metrics.jsonl").read_bytes() == again


@pytest.mark.slow
def test_two_gloo_processes_train_as_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run(script(one, 3, 0, "plain"), check=True, capture_output=True)
    subprocess.run(script(two, 3, 0, "plain", processes=2), check=True, capture_output=True)
    for a, b in zip(curve(one), curve(two), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
        assert b["step"] == a["step"]
    alone, shared = (torch.load(p / "last.pt", weights_only=True)["model"] for p in (one, two))
    for name, value in alone.items():
        assert torch.allclose(value, shared[name], rtol=1e-4, atol=1e-6), name


@pytest.mark.slow
def test_unequal_shards_are_refused(tmp_path: Path) -> None:
    done = subprocess.run(script(tmp_path / "run", 1, 0, "uneven", processes=2), capture_output=True, text=True)
    assert done.returncode != 0
    assert "shards of a batch have 8 to 9 rows" in done.stderr


def test_the_tiny_problem_is_balanced() -> None:
    _, targets = make(512, 1)
    assert 0.4 < targets["right"].mean().item() < 0.6
