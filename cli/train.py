"""`helmsight train`: train one of the two networks, or go on where an interrupted training stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..devices.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    task: Annotated[str, typer.Argument(metavar="TASK", help="face or navigate.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder; else runs/TASK.")] = None,
    data: Annotated[str | None, typer.Option(help="Faces: learn from wider:DIR or a folder with boxes.json.")] = None,
    init: Annotated[Path | None, typer.Option(help="Begin with the best weights of this run's folder.")] = None,
    epochs: Annotated[int | None, typer.Option(help="The most epochs.")] = None,
    size: Annotated[int | None, typer.Option(help="Pictures an epoch (face), courses (navigate).")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures in a batch, over all processes.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd (with momentum) or adamw.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate to begin with.")] = None,
    momentum: Annotated[float | None, typer.Option(help="Of sgd.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of weights; biases and norms have none.")] = None,
    ema: Annotated[float | None, typer.Option(help="Keep a running average of the weights, e.g. 0.998.")] = None,
    freeze_norm: Annotated[
        int | None, typer.Option(help="Batch norms keep their statistics from this epoch on; 0: never.")
    ] = None,
    schedule: Annotated[str | None, typer.Option(help="Of --lr: plateau, or cosine to the last epoch.")] = None,
    patience: Annotated[int | None, typer.Option(help="Epochs without a better score before --lr is divided.")] = None,
    min_gain: Annotated[float | None, typer.Option(help="How much better counts as better there.")] = None,
    lr_divide: Annotated[float | None, typer.Option(help="By how much: 2 or 5.")] = None,
    min_lr: Annotated[float | None, typer.Option(help="Training ends below it.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same network.")] = None,
    ensemble: Annotated[int | None, typer.Option(help="Networks to average and distil into one.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    amp: Annotated[bool | None, typer.Option(help="Mixed precision; --no-amp: none.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of torch, 1 or more.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that make pictures.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start over what is in the folder.")] = False,
) -> None:
    """Train a network; killed and started again with the same options it goes on, with the same curve.

    What is not said is nearly as the shipped network was trained. Afterwards: helmsight export runs/TASK -t cpu.
    """
    from dataclasses import replace

    from ..devices.errors import need

    for package in ("torch", "tensorboard", "safetensors", "matplotlib"):
        need(package, "train")
    from ..train.recipe import fit
    from ..train.tasks import defaults, problem_for

    given: dict[str, Any] = {
        "init": init, "epochs": epochs, "batch_size": batch_size, "optimizer": optimizer, "lr": lr,
        "momentum": momentum, "weight_decay": weight_decay, "ema": ema, "patience": patience, "min_gain": min_gain,
        "lr_divide": lr_divide, "min_lr": min_lr, "seed": seed, "ensemble": ensemble, "device": device, "amp": amp,
        "threads": threads, "freeze_norm": freeze_norm, "schedule": schedule,
    }  # fmt: skip
    without = [name for name in ("patience", "min_gain", "lr_divide") if given[name] is not None]
    if schedule == "cosine" and without:
        raise UsageError(
            f"--{without[0].replace('_', '-')} has no effect with --schedule cosine; leave one of them out"
        )
    usual = defaults(task, out or Path("runs") / task, device or "cpu")
    options = replace(usual, **{k: v for k, v in given.items() if v is not None})
    options = replace(options, restart=restart)
    options.check()
    print(fit(problem_for(task, options, size, data, workers), options))
