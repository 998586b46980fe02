"""How a run is told: a bar or plain lines on stderr, metrics.jsonl, a TensorBoard log and curves.png."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard.writer import SummaryWriter

from .checkpoint import replace_file, write_file
from .problem import Batch
from .update_ratio import HIGH, LOW, TARGET

Epoch = dict[str, Any]
"""A line of metrics.jsonl: epoch (from 1), step, lr, loss, parts, update_ratio, validation, best, seconds."""
DRAW_S = 20.0
"""Curves are drawn at most this often, and at the end: a drawing takes longer than an epoch of a small problem."""


class Report:
    """Tells of one run, whose epochs are appended to `history`; only the first process speaks and writes."""

    def __init__(self, out: Path, speaks: bool, history: list[Epoch]) -> None:
        self._out = out
        self._console = Console(stderr=True, quiet=not speaks, soft_wrap=True, highlight=False)
        self._board: SummaryWriter | None = None
        self._batches: int | None = None
        self._history = history
        self._drawn_s = time.monotonic()
        if speaks:
            step = history[-1]["step"] + 1 if history else 0
            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step)

    def say(self, text: str) -> None:
        """One line on stderr."""
        self._console.print(f"{self._out.name}: {text}", markup=False)

    def bar(self, batches: Iterable[Batch], epoch: int) -> Iterator[Batch]:
        """The batches, with a bar on a terminal."""
        columns = (TextColumn("epoch {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as bar:
            task = bar.add_task(str(epoch), total=self._batches)
            for batch in batches:
                yield batch
                bar.advance(task)
            self._batches = int(bar.tasks[0].completed)

    def epoch(self) -> None:
        """Tell of the newest epoch, and write all of them."""
        if self._board is None:
            return
        new = self._history[-1]
        scores = " ".join(f"{k} {v:.4f}" for k, v in new["validation"].items())
        self.say(
            f"epoch {new['epoch']} step {new['step']} loss {new['loss']:.4f} {scores} lr {new['lr']:.2g} "
            f"update/weight {new['update_ratio']:.1e} {new['seconds']:.0f} s{' *' if new['best'] else ''}"
        )
        self.write()
        if time.monotonic() - self._drawn_s > DRAW_S:
            self._draw()
        for name, value in _flat(new).items():
            self._board.add_scalar(name, value, new["step"])
        self._board.flush()

    def write(self) -> None:
        """Write metrics.jsonl anew: what a killed run left there of an epoch that it did not keep goes."""
        if self._board is not None:
            write_file(self._out / "metrics.jsonl", "".join(json.dumps(epoch) + "\n" for epoch in self._history))

    def close(self) -> None:
        """Draw what there is, also when training was interrupted."""
        if self._board is not None:
            self._board.close()
            if self._history:
                self._draw()

    def _draw(self) -> None:
        replace_file(self._out / "curves.png", lambda file: draw_curves(file, self._history))
        self._drawn_s = time.monotonic()


def draw_curves(file: Path, history: list[Epoch]) -> None:
    """Loss, validation scores, learning rate and update ratio over the epochs."""
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    (loss, score), (rate, ratio) = figure.subplots(2, 2, sharex=True)
    epochs = [e["epoch"] for e in history]
    mark = "o-" if len(epochs) < 30 else "-"
    loss.plot(epochs, [e["loss"] for e in history], mark, label="loss")
    for name in history[-1]["parts"]:
        loss.plot(epochs, [e["parts"][name] for e in history], label=name, alpha=0.6)
    for name in history[-1]["validation"]:
        # A figure may begin late: what faces' landmarks are off by is not known before a face is found.
        score.plot(epochs, [e["validation"].get(name, math.nan) for e in history], mark, label=name, markersize=3)
    rate.semilogy(epochs, [e["lr"] for e in history], mark)
    ratio.semilogy(epochs, [e["update_ratio"] for e in history], mark)
    ratio.axhline(TARGET, color="grey", linestyle="--")
    ratio.axhspan(LOW, HIGH, color="grey", alpha=0.12)
    titles = ("training loss", "validation", "learning rate", "update norm / weight norm")
    for axes, title in zip((loss, score, rate, ratio), titles, strict=True):
        axes.set_title(title)
        axes.grid(alpha=0.3)
    loss.legend()
    score.legend()
    rate.set_xlabel("epoch")
    ratio.set_xlabel("epoch")
    figure.savefig(file, format="png", dpi=100)


def _flat(epoch: Epoch) -> dict[str, float]:
    flat = {name: epoch[name] for name in ("loss", "lr", "update_ratio", "epoch")}
    flat |= {f"loss/{name}": value for name, value in epoch["parts"].items()}
    flat |= {f"validation/{name}": value for name, value in epoch["validation"].items()}
    return {name: value for name, value in flat.items() if math.isfinite(value)}
