"""How fast the navigation network learns on one core: its training step in float32 and in mixed precision, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from helmsight.runtime.profiler.others import OthersWatch
from helmsight.train.loop import make_optimizer
from helmsight.train.mixed import autocast, gains
from helmsight.train.navigate.loss import drive_loss
from helmsight.train.navigate.model import IMAGE_HW, MASK_HW, build
from helmsight.train.tasks import defaults

from .harness import Goal, Result, parser

NOTES = (
    "A step is forward, loss, backward and the optimiser's, on a batch in memory; process time on one thread.",
    "Making the looks is not in it: other processes do that (`--workers`).",
)


def main() -> None:
    """Run and write the result."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--rounds", type=int, default=8)
    args = arguments.parse_args()
    torch.set_num_threads(1)
    batch = defaults("navigate", Path("unused")).batch_size
    steps = {"float32": _step(batch, amp=False), "mixed (bfloat16)": _step(batch, amp=True)}
    taken: dict[str, list[float]] = {name: [] for name in steps}
    with OthersWatch() as others:
        for turn in range(args.rounds + 1):
            for name, step in steps.items():
                begin = time.process_time()
                step()
                if turn:  # the first compiles its kernels
                    taken[name].append(time.process_time() - begin)
    median_s = {name: statistics.median(times) for name, times in taken.items()}
    rows: list[dict[str, Any]] = [
        {"step": name, "p50 ms": 1e3 * value, "looks/s": batch / value} for name, value in median_s.items()
    ]
    gain = median_s["float32"] / median_s["mixed (bfloat16)"]
    goals = [Goal("times as fast in mixed precision, where the CPU has bfloat16", gain, 1.0, at_least=gains("cpu"))]
    options = {"batch": batch, "rounds": args.rounds, "threads": 1, "this CPU has bfloat16": gains("cpu")}
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
