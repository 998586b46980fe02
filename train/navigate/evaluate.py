"""How well a network knows what to do: open loop, on frames of the validation courses. Driving is in drive.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...runtime.bundle import Manifest
from ...runtime.tasks.navigate import NavigateTask
from .collect import Frames
from .data import validation_frames

Run = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""Anything that runs like a session: feeds by input name to outputs by output name."""
DATA = "simulator, validation courses"
LOWER_IS_BETTER = ("steer_rmse",)
"""Of the other metrics more is better."""


def score(run: Run, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The metrics of `metrics` for anything that runs like a session, over all validation frames."""
    frames = validation_frames()
    task = NavigateTask(manifest)
    drives = [task.decode(dict(run(task.prepare(image))), image.shape[:2]) for image in frames.images]
    values = metrics(
        frames,
        np.array([d.steer for d in drives], np.float32),
        np.array([d.collision_probability for d in drives], np.float32),
        np.stack([d.free_space for d in drives]),
        np.stack([d.way for d in drives if d.way is not None]) if drives[0].way is not None else None,
    )
    return {
        name: {
            "value": value,
            "data": DATA,
            "n": len(frames),
            "better": "lower" if name in LOWER_IS_BETTER else "higher",
        }
        for name, value in values.items()
    }


def metrics(
    frames: Frames,
    steer: NDArray[np.float32],
    collision: NDArray[np.float32],
    free: NDArray[np.float32],
    way: NDArray[np.float32] | None,
) -> dict[str, float]:
    """Steering RMSE and explained variance, as in DroNet; accuracy and F1 of collisions at 0.5 on a set with as many
    frames of either kind; intersection over union of free space and of the way at 0.5, over all pixels.

    Predictions as the network gives them: (N,), (N,), (N, 48, 64) twice; no figure of the way for a network without.
    """
    error = steer - frames.steer
    balanced = _balanced(frames.collision)
    truth, found = frames.collision[balanced], collision[balanced] > 0.5
    hits = int((truth & found).sum())
    values = {
        "steer_rmse": float(np.sqrt((error**2).mean())),
        "steer_explained_variance": float(1 - error.var() / frames.steer.var()),
        "collision_accuracy": float((truth == found).mean()),
        "collision_f1": 2 * hits / max(1, int(truth.sum() + found.sum())),
        "free_space_iou": _iou(free, frames.free),
    }
    return values if way is None else values | {"way_iou": _iou(way, frames.way)}


def validate(model: nn.Module, frames: Frames) -> dict[str, float]:
    """The same metrics for a network in eval mode, in batches; `score` is the mean of the three that want to be 1."""
    parts = []
    device = next(model.parameters()).device
    for at in range(0, len(frames), 128):
        with torch.no_grad():
            outputs = model(torch.from_numpy(frames.images[at : at + 128]).to(device))
        parts.append([o.float().cpu().numpy() for o in outputs])
    steer, collision, free, way = (np.concatenate(p) for p in zip(*parts, strict=True))
    values = metrics(frames, steer[:, 0], collision[:, 0], free, way)
    three = ("steer_explained_variance", "collision_f1", "free_space_iou")
    return {"score": sum(values[name] for name in three) / 3, **values}


def _iou(found: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    mask = found > 0.5
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def _balanced(collision: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Indices of all frames of the rarer kind and as many of the other, the same ones each time."""
    kinds = [np.flatnonzero(collision), np.flatnonzero(~collision)]
    each = min(len(kind) for kind in kinds)
    rng = np.random.default_rng(5)
    return np.sort(np.concatenate([rng.permutation(kind)[:each] for kind in kinds]))
