"""The gate of the task's own score: a file that scores worse is not written. `runtime/parity.py` has the other gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..devices.errors import BadArtefact, GateFailed, HelmsightError
from ..runtime.bundle import Manifest
from ..runtime.parity import Run
from .loading import what_failed
from .source import Score

Metrics = Mapping[str, Mapping[str, Any]]
"""{metric: {"value", "data", "n"}}, as a task's score gives them."""


def measure(score: Score, run: Run, manifest: Manifest) -> Metrics:
    """The task's own metrics of anything that runs. Raises BadArtefact when the code for it fails."""
    try:
        with np.errstate(invalid="ignore", divide="ignore"):  # of a file whose values are not finite, which is told
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
                f"{name} goes from {old:.6g} in the source to {new:.6g} exported, which is more than the "
                f"--max-drop {100 * max_drop:.4g}% that is allowed; nothing was written"
            )
    return compared


def score_gate(score: Score, manifest: Manifest, max_drop: float) -> Callable[[Run], Mapping[str, Mapping[str, float]]]:
    """`check_score` of whatever runs, beside the source's scores as the manifest of a file that passed has them."""
    found = manifest.parity["cpu"]["score"]
    before = {name: {**manifest.metrics[name], "value": pair["fp32"]} for name, pair in found.items()}
    return lambda run: check_score(before, measure(score, run, manifest), max_drop)
