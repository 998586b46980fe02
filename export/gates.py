"""The gates: an exported file that computes something else, or scores worse, is not written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import BadArtefact, GateFailed, HelmsightError
from ..runtime.bundle import Manifest
from .inputs import Feeds
from .loading import first_line, what_failed
from .source import Run, Score


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A value passes when |exported - reference| <= atol + rtol * |reference|, as in `numpy.allclose`."""

    atol: float = 1e-4
    rtol: float = 1e-3


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the exported file is from its reference over `n` runs.

    `max_abs` is the largest difference of a value, `max_rel` the largest difference over the largest value of that
    output in that run; `outputs` has both for each output.
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


def check_parity(reference: Run, exported: Run, feeds: Sequence[Feeds], tolerance: Tolerance) -> Parity:
    """Run both on every feed. Raises GateFailed at the first output that differs too much or is not finite."""
    worst: dict[str, dict[str, float]] = {}
    for index, feed in enumerate(feeds):
        expected = _run("the network itself", reference, feed, index)
        actual = _run("the exported file", exported, feed, index)
        for name, right in expected.items():
            difference, scale = _compare(name, index, right, actual[name], tolerance)
            entry = worst.setdefault(name, {"max_abs": 0.0, "max_rel": 0.0})
            entry["max_abs"] = max(entry["max_abs"], difference)
            entry["max_rel"] = max(entry["max_rel"], difference / scale if scale else float(difference > 0))
    return Parity(
        n=len(feeds),
        max_abs=max(entry["max_abs"] for entry in worst.values()),
        max_rel=max(entry["max_rel"] for entry in worst.values()),
        outputs=worst,
    )


def check_score(
    score: Score, reference: Run, exported: Run, manifest: Manifest, max_drop: float
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The task's own metrics of the exported file, and beside them {metric: {"fp32", "exported"}}.

    `max_drop` is a share of the reference's value (0.01: 1 %). A metric that says `"better": "higher"` or `"lower"`
    may improve as it likes; one that does not say may move by no more than that either way. Raises GateFailed.
    """
    before, after = _metrics(score, reference, manifest), _metrics(score, exported, manifest)
    compared = {}
    for name, metric in before.items():
        if name not in after:
            raise GateFailed(f"metric {name} is missing from the exported file's score; nothing was written")
        old, new = float(metric["value"]), float(after[name]["value"])
        compared[name] = {"fp32": old, "exported": new}
        worse = {"higher": old - new, "lower": new - old}.get(str(metric.get("better")), abs(new - old))
        if not np.isfinite(new) or worse > max_drop * abs(old) + 1e-12:
            raise GateFailed(
                f"{name} goes from {old:.6g} in torch to {new:.6g} exported, more than --max-drop "
                f"{max_drop:.4g} of it; nothing was written"
            )
    return after, compared


def _run(who: str, run: Run, feed: Feeds, index: int) -> Mapping[str, NDArray[Any]]:
    try:
        return run(feed)
    except HelmsightError:
        raise
    except Exception as error:  # the user's own code, or an engine's class for each status code
        raise BadArtefact(f"{who} fails on input {index} ({first_line(error)}); nothing was written") from error


def _compare(
    name: str, index: int, expected: NDArray[Any], actual: NDArray[Any], tolerance: Tolerance
) -> tuple[float, float]:
    """The largest difference and the largest expected magnitude, both finite."""
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        raise GateFailed(
            f"output {name!r} is {actual.dtype} {actual.shape} exported, {expected.dtype} {expected.shape} in the "
            "reference; nothing was written"
        )
    right, found = expected.astype(np.float64), actual.astype(np.float64)
    for who, values in (("the network itself", right), ("the exported file", found)):
        bad = np.count_nonzero(~np.isfinite(values))
        if bad:
            raise GateFailed(
                f"output {name!r} of {who} has {bad} of {values.size} values that are not finite on input {index}; "
                "mend the network or its weights; nothing was written"
            )
    if not right.size:
        return 0.0, 0.0
    off = np.abs(found - right)
    over = off - (tolerance.atol + tolerance.rtol * np.abs(right))
    at = int(over.argmax())
    if over.flat[at] > 0:
        raise GateFailed(
            f"output {name!r} differs on input {index}: {found.flat[at]:.6g} exported, {right.flat[at]:.6g} expected "
            f"(off by {off.flat[at]:.3g}, allowed {tolerance.atol:g} + {tolerance.rtol:g} of it); nothing was written"
        )
    return float(off.max()), float(np.abs(right).max())


def _metrics(score: Score, run: Run, manifest: Manifest) -> Mapping[str, Mapping[str, Any]]:
    try:
        found = score(run, manifest)
        for metric in found.values():
            float(metric["value"])
    except HelmsightError:
        raise
    except Exception as error:  # code that the checkpoint names
        raise BadArtefact(f"the checkpoint's score failed with {what_failed(error)}; mend it there") from error
    return found
