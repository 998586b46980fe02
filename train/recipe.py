"""The one recipe that trains both tasks: `fit(problem, options)`.

A new task writes a `Problem` (see problem.py) and gets the optimiser, the schedule, resuming, several processes,
ensembles and the logs from here.
"""

from __future__ import annotations

from pathlib import Path

import torch

from .checkpoint import check_options
from .distributed import process_group
from .ensemble import fit_ensemble
from .layers import Normalise, init_by_fan_in
from .loop import fit_one
from .problem import Batch, Loss, Options, Problem, Shard, Targets

__all__ = [
    "Batch",
    "Loss",
    "Normalise",
    "Options",
    "Problem",
    "Shard",
    "Targets",
    "fit",
    "init_by_fan_in",
]


def fit(problem: Problem, options: Options) -> Path:
    """Train `problem` in the folder `options.out` and return it; it holds the best weights and their record.

    Started again after an interruption it goes on from the last whole epoch, with the same curve as if it had never
    stopped. Raises UsageError for options that cannot be meant or that differ from the ones the folder was made
    with, DeviceMismatch without the device, GateFailed when the loss or the score is not finite.
    """
    options.check()
    if not options.restart:
        check_options(options)
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.deterministic = True  # a seed reproduces on a GPU too
    with process_group(options.device) as place:
        if options.ensemble > 1:
            fit_ensemble(problem, options, place)
        else:
            fit_one(problem, options, place)
    return options.out
