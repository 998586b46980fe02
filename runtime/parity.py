"""How far two ways to compute a network are apart, and what is the nearest to a file's own meaning.

The gate of what is exported, of the ways that a processor has and of the engines that are built: there is no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import BadArtefact, GateFailed, HelmsightError, need, reason_of
from .backends import Feeds
from .manifest import TensorSpec

Run = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""Anything that takes feeds by name and gives outputs by name, as a session does."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far an output may be off, in each of its values and as a whole.

    A value passes when |exported - reference| <= atol + rtol * |reference| + scale * the output's largest value over
    all inputs (without `scale` as in `numpy.allclose`). An output passes when the root mean square of its differences
    over all inputs is at most `rms` of that of its values.
    """

    atol: float = 1e-4
    rtol: float = 1e-3
    scale: float = 0.0
    rms: float = inf

    def to_json(self) -> dict[str, float | None]:
        return asdict(self) | {"rms": self.rms if isfinite(self.rms) else None}


TOLERANCES = {
    "fp32": Tolerance(),
    "fp16": Tolerance(1e-3, 1e-3, scale=0.02, rms=0.01),
    "bf16": Tolerance(1e-3, 1e-3, scale=0.16, rms=0.08),
    "int8": Tolerance(1e-3, 1e-3, scale=0.6, rms=0.15),
}
"""What each precision is held to. fp16 has 11 bits, so that a value is off by 0.05 % after one layer; bf16 has
8, so that it may lose eight times as much. In int8 a few
values are far off, as at edges, in networks that do their task as well: the whole and the score tell more there."""


def tolerance(precision: str, atol: float | None = None) -> Tolerance:
    """What suits `precision`, with another `atol` where one is given; an unknown one is refused elsewhere."""
    usual = TOLERANCES.get(precision, TOLERANCES["fp32"])
    return usual if atol is None else replace(usual, atol=atol)


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the exported file is from its reference over `n` runs.

    `max_abs` is the largest difference of a value, `max_rel` the largest difference over the largest value of that
    output in that run; `outputs` has both for each output, and `rms`, the root mean square of its differences over that
    of its values.
    """

    n: int
    max_abs: float
    max_rel: float
    outputs: Mapping[str, Mapping[str, float]]

    def to_json(self) -> dict[str, Any]:
        return {
            "max_abs": self.max_abs,
            "max_rel": self.max_rel,
            "n": self.n,
            "outputs": {name: dict(worst) for name, worst in self.outputs.items()},
        }


@dataclass(slots=True)
class _Gap:
    """What was seen of one output so far. `over` is how far its worst value is beyond atol and rtol."""

    max_abs: float = 0.0
    max_rel: float = 0.0
    largest: float = 0.0
    error: float = 0.0
    energy: float = 0.0
    over: float = 0.0
    worst: str = ""

    def check(self, name: str, tolerance: Tolerance, n: int) -> None:
        if self.over > tolerance.scale * self.largest:
            raise GateFailed(f"output {name!r} differs {self.worst}; nothing was written")
        if self.rms > tolerance.rms and self.max_abs > tolerance.atol:
            raise GateFailed(
                f"output {name!r} is off by {self.rms:.3g} of its size (root mean square over {n} inputs), allowed "
                f"{tolerance.rms:g}; nothing was written"
            )

    @property
    def rms(self) -> float:
        return sqrt(self.error / self.energy) if self.energy else float(self.error > 0)

    def to_json(self) -> dict[str, float]:
        return {"max_abs": self.max_abs, "max_rel": self.max_rel, "rms": self.rms}


def plain_onnx_run(file: Path | bytes, outputs: Sequence[TensorSpec], name: str = "") -> Run:
    """Run an ONNX file with every optimisation of ONNX Runtime off: the nearest to the file's own meaning.

    `name` is how a message calls it where only its bytes are given. Raises BadArtefact where it cannot be loaded.
    """
    ort = need("onnxruntime", "cpu")
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level = 3
    settings.intra_op_num_threads = 1  # the same sums each time
    model = str(file) if isinstance(file, Path) else file
    try:
        session = ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a class of its own for each status code
        called = file.name if isinstance(file, Path) else name
        raise BadArtefact(f"{called} does not load in ONNX Runtime ({reason_of(error)})") from error
    names = [spec.name for spec in outputs]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


def check_parity(
    reference: Run, other: Run, feeds: Sequence[Feeds], tolerance: Tolerance, who: str = "the exported file"
) -> Parity:
    """Run both on every feed. Raises GateFailed when an output of `who` differs too much or is not finite."""
    gaps: dict[str, _Gap] = {}
    for index, feed in enumerate(feeds):
        expected = _run("the network itself", reference, feed, index)
        actual = _run(who, other, feed, index)
        for name, right in expected.items():
            gap = gaps.setdefault(name, _Gap())
            _compare(gap, (name, who, index), (right, actual[name]), tolerance)
            if not tolerance.scale:  # then nothing that comes later excuses it
                gap.check(name, replace(tolerance, rms=inf), index + 1)
    for name, gap in gaps.items():
        gap.check(name, tolerance, len(feeds))
    return Parity(
        n=len(feeds),
        max_abs=max(gap.max_abs for gap in gaps.values()),
        max_rel=max(gap.max_rel for gap in gaps.values()),
        outputs={name: gap.to_json() for name, gap in gaps.items()},
    )


def _run(who: str, run: Run, feed: Feeds, index: int) -> Mapping[str, NDArray[Any]]:
    try:
        return run(feed)
    except HelmsightError:
        raise
    except Exception as error:  # the user's own code, or an engine's class for each status code
        raise BadArtefact(
            f"{who} fails on input {index} ({type(error).__name__}: {reason_of(error)}); nothing was written"
        ) from error


def _compare(
    gap: _Gap, of: tuple[str, str, int], pair: tuple[NDArray[Any], NDArray[Any]], tolerance: Tolerance
) -> None:
    """Add what is expected and what came out of one run to `gap`; both must be finite and of one shape.

    `of`: the output's name, who made it, and the number of the run.
    """
    (name, maker, index), (expected, actual) = of, pair
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        raise GateFailed(
            f"output {name!r} of {maker} is {actual.dtype} {actual.shape}, expected {expected.dtype} {expected.shape}; "
            "nothing was written"
        )
    right, found = expected.astype(np.float64), actual.astype(np.float64)
    for who, values, advice in (("the network itself", right, "mend it or its weights; "), (maker, found, "")):
        bad = np.count_nonzero(~np.isfinite(values))
        if bad:
            raise GateFailed(
                f"output {name!r} of {who} has {bad} of {values.size} values that are not finite on input {index}; "
                f"{advice}nothing was written"
            )
    if not right.size:
        return
    off = np.abs(found - right)
    over = off - (tolerance.atol + tolerance.rtol * np.abs(right))
    at = int(over.argmax())
    difference, largest = float(off.max()), float(np.abs(right).max())
    gap.max_abs, gap.largest = max(gap.max_abs, difference), max(gap.largest, largest)
    gap.max_rel = max(gap.max_rel, difference / largest if largest else float(difference > 0))
    gap.error, gap.energy = gap.error + float((off**2).sum()), gap.energy + float((right**2).sum())
    if over.flat[at] > gap.over:
        gap.over = float(over.flat[at])
        more = f" + {tolerance.scale:g} of its largest" if tolerance.scale else ""
        gap.worst = (
            f"on input {index}: {found.flat[at]:.6g}, expected {right.flat[at]:.6g} "
            f"(off by {off.flat[at]:.3g}, allowed {tolerance.atol:g} + {tolerance.rtol:g} of it{more})"
        )
