"""One network's training, from the first epoch or from where `last.pt` left it, to the end."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..devices.errors import GateFailed
from . import checkpoint
from .distributed import Place, equal_batches, from_first, mean_over_processes, parallel
from .mixed import TYPES, autocast
from .problem import Loss, Options, Problem, Targets
from .report import Epoch, Report
from .schedule import Schedule
from .update_ratio import TARGET, UpdateRatio, advice


def fit_one(problem: Problem, options: Options, place: Place) -> float:
    """Train one network in `options.out`, from `last.pt` on where there is one; return its best validation score."""
    if place.first:
        checkpoint.open_folder(options.out, options.restart)
    from_first(True if place.first else None, place)
    training = Training(problem, options, place)
    history = training.resume()
    report = Report(options.out, place.first, history)
    try:
        if options.amp:
            report.say(
                f"in mixed precision, {str(TYPES[place.device.type]).removeprefix('torch.')} (--no-amp: float32)"
            )
        if history:
            report.say(f"goes on after epoch {len(history)}")
            report.write()
        warned = ""
        while len(history) < options.epochs and not training.schedule.ended(options):
            history.append(training.epoch(len(history), report))
            if place.first:
                training.save(history)
            report.epoch()
            warning = advice(history[-1]["update_ratio"])
            if warning and not warned:
                report.say(f"warning: {warning}")
            warned = warning
        report.say(_summary(history, options, training.schedule))
    finally:
        report.close()
    return from_first(training.schedule.best, place)


class Training:
    """The state of a training: network, optimiser, schedule, number of steps.

    Torch's generator is seeded from (seed, epoch, rank) at the start of each epoch, so that an epoch is the same
    whether or not the process was started anew before it.
    """

    def __init__(self, problem: Problem, options: Options, place: Place) -> None:
        self._problem, self._options, self._place = problem, options, place
        torch.manual_seed(options.seed)
        self.model = problem.build().to(place.device)
        if options.weights:
            checkpoint.load_weights(self.model, options.weights)
        self._average = _running_average(self.model, options.ema)
        self._loss = parallel(_LossOf(problem, self.model), place)
        self._optimizer = make_optimizer(self.model, options)
        self._scaler = torch.amp.GradScaler("cuda", enabled=options.amp and place.device.type == "cuda")
        self._ratio = UpdateRatio(self.model)
        self._identity = checkpoint.identity(problem, options, place.shard.world)
        self._step = 0
        self.schedule = Schedule(options.lr)

    def epoch(self, index: int, report: Report) -> Epoch:
        """Train and validate epoch `index` (from 0); returns its record."""
        start = time.perf_counter()
        torch.manual_seed(_mix(self._options.seed, index, self._place.shard.rank))
        for group in self._optimizer.param_groups:
            group["lr"] = self.schedule.lr
        self.model.train()
        self._freeze_norms(index)
        sums: dict[str, float] = {}
        batches = equal_batches(self._problem.batches(index, self._place.shard), self._place)
        first = self._step
        for images, targets in report.bar(batches, index + 1):
            with self._ratio.watch(self._step - first):
                parts = self._train_step(images, targets, index)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value
        count = self._step - first
        if not count:
            raise GateFailed(f"{self._problem.name}: epoch {index + 1} has no batch; expected at least one")
        means = mean_over_processes({name: value / count for name, value in sums.items()}, self._place)
        scores = self._validate(index)
        record = {
            "epoch": index + 1,
            "step": self._step,
            "lr": self.schedule.lr,
            "loss": means.pop("loss"),
            "parts": means,
            "update_ratio": self._ratio.take(),
            "validation": scores,
            "best": scores["score"] > self.schedule.best,
            "seconds": round(time.perf_counter() - start, 2),
        }
        self.schedule = self.schedule.after(scores["score"], self._options, index + 1)
        return record

    def save(self, history: list[Epoch]) -> None:
        """Write the best weights, when the newest epoch has them, and then `last.pt`.

        Killed between the two, the epoch runs again and writes the same.
        """
        if history[-1]["best"]:
            checkpoint.write_best(self._problem, self._options, self._kept, history[-1])
        state = {
            "identity": self._identity,
            "history": history,
            "model": self.model.state_dict(),
            "average": self._average.state_dict() if self._average else {},
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "schedule": asdict(self.schedule),
        }
        checkpoint.save_state(self._options.out, state)

    def resume(self) -> list[Epoch]:
        """Take over what `last.pt` holds; returns the epochs that it has seen, none without the file."""
        state = checkpoint.load_state(self._options.out, self._identity)
        if state is None:
            return []
        self.model.load_state_dict(state["model"])
        if self._average:
            self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.schedule = Schedule(**state["schedule"])
        history: list[Epoch] = state["history"]
        self._step = history[-1]["step"]
        return history

    @property
    def _kept(self) -> nn.Module:
        """What is validated and written: the running average of the weights where there is one."""
        return self._average.module if self._average else self.model

    def _train_step(self, images: Tensor, targets: Targets, epoch: int) -> dict[str, float]:
        device = self._place.device
        images, targets = images.to(device), {name: t.to(device) for name, t in targets.items()}
        self._optimizer.zero_grad(set_to_none=True)
        with autocast(device, self._options.amp):
            loss, parts = self._loss(images, targets)
        value = loss.item()
        if not math.isfinite(value):
            raise GateFailed(
                f"{self._problem.name}: the loss is {value} in epoch {epoch + 1}, step {self._step}, learning rate "
                f"{self.schedule.lr:g}; expected a finite one: lower --lr (what was best before is in "
                f"{self._options.out})"
            )
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average:
            self._average.update_parameters(self.model)
        self._step += 1
        return {"loss": value, **parts}

    def _freeze_norms(self, index: int) -> None:
        """From epoch `freeze_norm` on; with it the model goes on from its running average, statistics and weights."""
        since = index + 1 - self._options.freeze_norm
        if not self._options.freeze_norm or since < 0:
            return
        if self._average and since == 0:
            self.model.load_state_dict(self._average.module.state_dict())
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()

    def _validate(self, epoch: int) -> dict[str, float]:
        kept = self._kept.eval()
        with torch.no_grad():
            mine = self._problem.validate(kept) if self._place.first else None
        scores = from_first(mine, self._place)
        if not math.isfinite(scores["score"]):
            raise GateFailed(
                f"{self._problem.name}: the validation score is {scores['score']} after epoch {epoch + 1}, step "
                f"{self._step}, learning rate {self.schedule.lr:g}; expected a finite one: lower --lr"
            )
        return scores


def make_optimizer(model: nn.Module, options: Options) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW; weight decay only on weights, not on biases and norms."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": options.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=options.lr)
    return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum, nesterov=options.momentum > 0)


def _running_average(model: nn.Module, decay: float) -> AveragedModel | None:
    """Exponential moving average of weights and batch-norm statistics (Polyak averaging), None without a decay."""
    if not decay:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]


class _LossOf(nn.Module):
    """The problem's loss as a module: what DistributedDataParallel wraps, whichever methods of the model it calls."""

    def __init__(self, problem: Problem, model: nn.Module) -> None:
        super().__init__()
        self._problem, self.model = problem, model

    def forward(self, images: Tensor, targets: Targets) -> Loss:
        return self._problem.loss(self.model, images, targets)


def _mix(seed: int, epoch: int, rank: int) -> int:
    """One seed of the three, far from that of its neighbours."""
    return ((seed * 1_000_003 + epoch) * 1_000_003 + rank) % (1 << 62)


def _summary(history: list[Epoch], options: Options, schedule: Schedule) -> str:
    why = "learning rate below --min-lr" if schedule.ended(options) else f"all {len(history)} epochs done"
    best = max(history, key=lambda e: e["validation"]["score"])
    ratio = median(e["update_ratio"] for e in history)
    return (
        f"{why}; best score {schedule.best:.4f} in epoch {best['epoch']}; median update/weight ratio {ratio:.1e} "
        f"(aim {TARGET:.0e}); in {options.out}"
    )
