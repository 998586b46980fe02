"""Profiles made of given samples, for tests that compare, print, store or draw them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from helmsight.runtime.profiler.record import Profile
from helmsight.runtime.profiler.stream import Overhead, WarmUp


def a_profile(samples_ns: ArrayLike, **changes: Any) -> Profile:
    """A profile of one stage (1-D samples) or of three (N x 3), with `changes` to its fields."""
    samples = np.asarray(samples_ns, np.uint64)
    stages = ("prepare", "inference", "decode") if samples.ndim == 2 else ("inference",)
    made = Profile(
        bundle="face",
        task="face",
        files={"model.onnx": "0" * 64, "manifest.json": "1" * 64},
        inputs={"image": {"shape": [1, 240, 320, 3], "dtype": "uint8"}},
        feeds="random, seed 0",
        stages=stages,
        device="cpu",
        precision="fp32",
        threads=1,
        warm_up=WarmUp(100, 0.3, True, 0.05),
        overhead=Overhead(0.4, 0.1),
        other_cores=0.0,
        machine={"cpu": {"model": "a processor"}},
        sensors={},
        versions={"numpy": "2.0"},
        date_utc="2026-01-01T00:00:00+00:00",
        duration_s=1.0,
        samples=samples.reshape(len(samples), -1),
    )
    return replace(made, **changes)


def around(median_ns: int, n: int = 2000, seed: int = 0) -> np.ndarray:
    """`n` samples about a median, spread by 2 % each way."""
    noise = np.random.default_rng(seed).uniform(0.98, 1.02, n)
    return (median_ns * noise).astype(np.uint64)
