"""Fits to published latencies, of which benchmarks/prediction.py says how far off each is on what it has not seen."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from helmsight.devices.device import device
from helmsight.devices.prediction import LatencyModel, Limits, Load, features, limits_of

DATA = Path(__file__).with_name("data") / "published_latency.csv"
RIDGE, PRIOR_MS = 0.3, 0.3
Array = NDArray[np.float64]
Fit = Callable[[Sequence["Row"]], Callable[[Sequence["Row"]], Array]]


@dataclass(frozen=True)
class Row:
    """A published figure, in milliseconds.

    `harness`, what timed it: `engine` a C++ program (trtexec and such), `mlperf` MLPerf's tuned one, `framework` a call
    from Python of PyTorch tensors, `loop` that and what comes before and after the network. `tf32`: its fp32 was
    computed in TF32 by tensor cores, as TensorRT does from Ampere on unless it is told not to. `dense`: the network
    answers for every place of a picture (detection, segmentation).
    """

    device: str
    model: str
    precision: str
    tf32: bool
    ms: float
    harness: str
    dense: bool
    load: Load

    @cached_property
    def limits(self) -> Limits:
        """Of the device in what the figure was computed in; the peak of TF32 is half of that of FP16."""
        limits = limits_of(device(self.device), "fp16" if self.tf32 else self.precision)
        assert limits is not None, self
        return replace(limits, peak_gflops=limits.peak_gflops / 2) if self.tf32 else limits

    @cached_property
    def features(self) -> tuple[float, ...]:
        return features(self.load, self.precision, self.limits)


def read() -> list[Row]:
    """The published figures."""
    with DATA.open(newline="") as file:
        return [
            Row(
                r["device"],
                r["model"],
                r["precision"],
                r["tf32"] == "1",
                float(r["ms"]),
                r["harness"],
                r["task"] != "classification",
                Load(
                    1e9 * float(r["gflops"]),
                    1e6 * float(r["params_m"]),
                    int(r["layers"]),
                    r["depthwise"] == "1",
                ),
            )
            for r in csv.DictReader(file)
        ]


def by_device(row: Row) -> str:
    """A group to hold back."""
    return row.device


def by_network(row: Row) -> str:
    """A group to hold back."""
    return row.model


class Form(NamedTuple):
    """What a fit takes into account, of what was tried; the other features all have."""

    multiprocessors: bool
    """How large a GPU is, by its multiprocessors; else by its peak."""
    layers: bool
    dense: bool
    """Networks that answer for every place of a picture are slower by a factor."""
    timing: bool
    """What timed a figure: a framework adds a constant, MLPerf's tuning divides. A loop in Python always adds one."""


FORMS = tuple(Form(*known) for known in product((False, True), repeat=4))
SHIPS = Form(multiprocessors=True, layers=True, dense=False, timing=True)
"""What devices/prediction.py has."""
SIZE, LAYERS = 2, 4
"""Places in `features`."""


@dataclass(frozen=True)
class Fitted:
    """The model, which is of harness `engine`, and how the others differ from it."""

    form: Form
    model: LatencyModel
    added_ms: dict[str, float]
    mlperf_factor: float

    def __call__(self, rows: Sequence[Row]) -> Array:
        """Logarithms of milliseconds."""
        work = np.exp((_features(rows, self.form) - self.model.mean) / self.model.scale @ self.model.weights)
        tuned = np.array([self.mlperf_factor if r.harness == "mlperf" else 1.0 for r in rows])
        added = np.array([self.added_ms.get(r.harness, 0.0) for r in rows])
        return np.log(self.model.constant_ms + added + work * tuned)


def fit(rows: Sequence[Row], form: Form) -> Fitted:
    """Least squares of logarithms, with a soft loss for figures that lie far off, a ridge, and a prior of 0.3 ms."""
    from scipy.optimize import least_squares

    slow = ["loop", "framework"] if form.timing else ["loop"]
    added = np.array([[float(r.harness == h) for h in slow] for r in rows])
    tuned = np.array([[float(form.timing and r.harness == "mlperf")] for r in rows])
    x = _features(rows, form)
    mean, scale = x.mean(0), x.std(0) + 1e-9
    mean[0], scale[0] = 0.0, 1.0
    z, y, fixed = np.hstack([(x - mean) / scale, tuned]), _log_ms(rows), 1 + len(slow)

    def rest(theta: Array) -> Array:
        constants = np.exp(theta[:fixed])
        predicted = np.log(constants[0] + added @ constants[1:] + np.exp(z @ theta[fixed:]))
        prior = PRIOR_MS * (theta[:fixed] - math.log(PRIOR_MS))
        return np.concatenate([predicted - y, math.sqrt(RIDGE) * theta[fixed + 1 :], prior])

    begin = np.concatenate([[math.log(PRIOR_MS)] * fixed, np.linalg.lstsq(z, y, rcond=None)[0]])
    theta = least_squares(rest, begin, loss="soft_l1", f_scale=0.3).x
    operations, peaks = [r.load.operations for r in rows], [r.limits.peak_gflops for r in rows]
    model = LatencyModel(
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple(theta[fixed:-1].tolist()),
        constant_ms=float(np.exp(theta[0])),
        factor=math.nan,
        operations=(min(operations), max(operations)),
        peak_gflops=(min(peaks), max(peaks)),
    )
    added_ms = dict(zip(slow, np.exp(theta[1:fixed]).tolist(), strict=True))
    return Fitted(form, model, added_ms, float(np.exp(theta[-1])))


def _features(rows: Sequence[Row], form: Form) -> Array:
    """Those of the model that ships, in that form."""
    x = np.array([r.features for r in rows])
    if not form.multiprocessors:
        x[:, SIZE] = np.log([r.limits.peak_gflops for r in rows])
    if not form.layers:
        x = np.delete(x, LAYERS, axis=1)
    return np.column_stack([x, [r.dense for r in rows]]) if form.dense else x


def chosen(rows: Sequence[Row]) -> Fitted:
    """The form that is best at devices held back among `rows`, fitted to all of them.

    Best: the greatest shares within a quarter and within a half, added up over the ways of timing, lest the one with
    most figures decides. Called on what a fold has left, the choice is made anew in each, so that the errors of a fold
    are of a form that was not chosen by them.
    """
    timed = np.array([r.harness for r in rows])

    def within(form: Form) -> float:
        off = np.abs(np.exp(held_back(rows, by_device, partial(fit, form=form))) - 1)
        return sum(float((off[timed == h] <= share).mean()) for h in set(timed.tolist()) for share in (0.25, 0.5))

    return fit(rows, max(FORMS, key=within))


def over_peak(rows: Sequence[Row]) -> Callable[[Sequence[Row]], Array]:
    """Operations over the peak rate, times the median of what that is short of in the figures that are known."""

    def at_peak(rows: Sequence[Row]) -> Array:
        return np.array([r.features[1] for r in rows])

    short = float(np.median(_log_ms(rows) - at_peak(rows)))
    return lambda wanted: at_peak(wanted) + short


def ratios(rows: Sequence[Row]) -> Callable[[Sequence[Row]], Array]:
    """A table: how long the network takes, times how much slower the device is than others.

    A device that is not known gets the ratio of the known one with the nearest peak, a network that is not known the
    figure of the known one with the nearest number of operations.
    """
    y = _log_ms(rows)
    slower, by_model = dict.fromkeys((r.device for r in rows), 0.0), dict.fromkeys((r.model for r in rows), 0.0)
    for _ in range(20):  # medians of rows and of columns in turns (Tukey's median polish)
        for name in by_model:
            by_model[name] = float(
                np.median([v - slower[r.device] for r, v in zip(rows, y, strict=True) if r.model == name])
            )
        for name in slower:
            slower[name] = float(
                np.median([v - by_model[r.model] for r, v in zip(rows, y, strict=True) if r.device == name])
            )
    peaks = {r.device: math.log(device(r.device).gpu.fp32_gflops) for r in rows}  # type: ignore[union-attr]
    sizes = {r.model: math.log(r.load.operations) for r in rows}

    def one(r: Row) -> float:
        peak, size = math.log(device(r.device).gpu.fp32_gflops), math.log(r.load.operations)  # type: ignore[union-attr]
        like = r.device if r.device in slower else min(peaks, key=lambda d: abs(peaks[d] - peak))
        model = r.model if r.model in by_model else min(sizes, key=lambda m: abs(sizes[m] - size))
        return by_model[model] + slower[like]

    return lambda wanted: np.array([one(r) for r in wanted])


def _log_ms(rows: Sequence[Row]) -> Array:
    return np.log([r.ms for r in rows])


def held_back(rows: Sequence[Row], group: Callable[[Row], str], make: Fit) -> Array:
    """Errors of logarithms, each by a model that has seen no row of the same group."""
    errors = np.zeros(len(rows))
    keys = np.array([group(r) for r in rows])
    for key in sorted(set(keys.tolist())):
        inside = np.flatnonzero(keys == key)
        known = [r for r, k in zip(rows, keys, strict=True) if k != key]
        wanted = [rows[i] for i in inside]
        errors[inside] = make(known)(wanted) - _log_ms(wanted)
    return errors
