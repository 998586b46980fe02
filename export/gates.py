"""The gates: an exported file that computes something else, or scores worse, is not written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import BadArtefact, GateFailed, HelmsightError
from ..runtime.backends import Feeds
from ..runtime.bundle import Manifest
from .loading import first_line, what_failed
from .source import Run, Score

Metrics = Mapping[str, Mapping[str, Any]]
"""{metric: {"value", "data", "n"}}, as a task's score gives them."""


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


def check_parity(reference: Run, exported: Run, feeds: Sequence[Feeds], tolerance: Tolerance) -> Parity:
    """Run both on every feed. Raises GateFailed when an output differs too much or is not finite."""
    gaps: dict[str, _Gap] = {}
    for index, feed in enumerate(feeds):
        expected = _run("the network itself", reference, feed, index)
        actual = _run("the exported file", exported, feed, index)
        for name, right in expected.items():
            gap = gaps.setdefault(name, _Gap())
            _compare(gap, f"{name!r}", index, (right, actual[name]), tolerance)
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


def measure(score: Score, run: Run, manifest: Manifest) -> Metrics:
    """The task's own metrics of anything that runs. Raises BadArtefact when the code for it fails."""
    try:
        found = score(run, manifest)
        for metric in found.values():
            float(metric["value"])
    except HelmsightError:
        raise
    except Exception as error:  # code that the checkpoint names
        raise BadArtefact(f"the checkpoint's score failed with {what_failed(error)}; mend it there") from error
    return found


def check_score(before: Metrics, after: Metrics, max_drop: float) -> Mapping[str, Mapping[str, float]]:
    """{metric: {"fp32", "exported"}} of the metrics of the network and of the exported file.

    `max_drop` is a share of the network's value (0.01: 1 %). A metric that says `"better": "higher"` or `"lower"`
    may improve as it likes; one that does not say may move by no more than that either way. Raises GateFailed.
    """
    compared = {}
    for name, metric in before.items():
        if name not in after:
            raise GateFailed(f"metric {name} is missing from the exported file's score; nothing was written")
        old, new = float(metric["value"]), float(after[name]["value"])
        compared[name] = {"fp32": old, "exported": new}
        worse = {"higher": old - new, "lower": new - old}.get(str(metric.get("better")), abs(new - old))
        if not np.isfinite(new) or worse > max_drop * abs(old) + 1e-12:
            raise GateFailed(
                f"{name} goes from {old:.6g} in the source to {new:.6g} exported, more than --max-drop "
                f"{max_drop:.4g} of it; nothing was written"
            )
    return compared


def _run(who: str, run: Run, feed: Feeds, index: int) -> Mapping[str, NDArray[Any]]:
    try:
        return run(feed)
    except HelmsightError:
        raise
    except Exception as error:  # the user's own code, or an engine's class for each status code
        raise BadArtefact(f"{who} fails on input {index} ({first_line(error)}); nothing was written") from error


def _compare(gap: _Gap, name: str, index: int, pair: tuple[NDArray[Any], NDArray[Any]], tolerance: Tolerance) -> None:
    """Add what is expected and what came out of one run to `gap`; both must be finite and of one shape."""
    expected, actual = pair
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        raise GateFailed(
            f"output {name} is {actual.dtype} {actual.shape} exported, {expected.dtype} {expected.shape} in the "
            "reference; nothing was written"
        )
    right, found = expected.astype(np.float64), actual.astype(np.float64)
    for who, values in (("the network itself", right), ("the exported file", found)):
        bad = np.count_nonzero(~np.isfinite(values))
        if bad:
            raise GateFailed(
                f"output {name} of {who} has {bad} of {values.size} values that are not finite on input {index}; "
                "mend the network or its weights; nothing was written"
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
            f"on input {index}: {found.flat[at]:.6g} exported, {right.flat[at]:.6g} expected "
            f"(off by {off.flat[at]:.3g}, allowed {tolerance.atol:g} + {tolerance.rtol:g} of it{more})"
        )
