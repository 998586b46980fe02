"""How fast the navigation network learns on a CPU: its training step in float32 and mixed precision, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from helmsight.runtime.profiler.others import OthersWatch
from helmsight.train.loop import make_optimizer
from helmsight.train.mixed import autocast, cpu_gains
from helmsight.train.navigate.loss import drive_loss
from helmsight.train.navigate.model import IMAGE_HW, MASK_HW, build
from helmsight.train.tasks import defaults

from .harness import Goal, Result, parser

NOTES = (
    "A step is forward, loss, backward and the optimiser's, on a batch in memory.",
    "Making the looks is not in it: other processes do that (`--workers`).",
)


def main() -> None:
    """Run and write the result."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--rounds", type=int, default=8)
    args = arguments.parse_args()
    usual = defaults("navigate", Path("unused"))
    batch = usual.batch_size
    steps = {(amp, threads): _step(batch, amp) for amp in (False, True) for threads in (1, usual.threads)}
    taken: dict[tuple[bool, int], list[float]] = {how: [] for how in steps}
    with OthersWatch() as others:
        for turn in range(args.rounds + 1):
            for (amp, threads), step in steps.items():
                torch.set_num_threads(threads)
                begin = time.perf_counter()
                step()
                if turn:  # the first compiles its kernels
                    taken[amp, threads].append(time.perf_counter() - begin)
    median_s = {how: statistics.median(times) for how, times in taken.items()}
    rows: list[dict[str, Any]] = [
        {
            "precision": "mixed (bfloat16)" if amp else "float32",
            "threads": threads,
            "p50 ms": 1e3 * value,
            "looks/s": batch / value,
        }
        for (amp, threads), value in median_s.items()
    ]
    gain = median_s[False, usual.threads] / median_s[True, usual.threads]
    goals = [Goal("times as fast in mixed precision", gain, 1.5, at_least=True)] if cpu_gains() else []
    options = {"batch": batch, "rounds": args.rounds, "x86 instructions for bfloat16": cpu_gains()}
    Result("training_speed", "A training step of navigation", options, rows, goals, others.cores, notes=NOTES).write(
        args.out
    )


def _step(batch: int, amp: bool) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, *IMAGE_HW, 3), dtype=torch.uint8, generator=generator)
    targets = {
        "steer": torch.zeros(batch, 1),
        "collision": torch.zeros(batch, 1),
        "free": torch.zeros(batch, *MASK_HW),
        "way": torch.zeros(batch, *MASK_HW),
    }
    model = build().train()
    optimizer = make_optimizer(model, defaults("navigate", Path("unused")))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(torch.device("cpu"), amp):
            loss, _ = drive_loss(model.logits(images), targets)
        loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
