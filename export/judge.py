"""One judge for every file that may become a bundle: the gates, in their order, against the same source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from ..devices.errors import BadArtefact, GateFailed
from ..runtime.backends import SessionOptions, load
from ..runtime.bundle import Bundle
from ..runtime.parity import Parity, Run, Tolerance, check_parity, plain_onnx_run
from .gates import Metrics, check_score, measure
from .inputs import Inputs
from .sizes import other_sizes, resize_feeds
from .source import Source
from .targets import CPU

SIZE_COUNT = 4
"""Inputs to compare on at each further size, where each value is held to a tolerance."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may lose: `max_drop` is a share of a score (0.01: 1 % of fp32's)."""

    tolerance: Tolerance = field(default_factory=Tolerance)
    max_drop: float = 0.01


@dataclass(frozen=True, slots=True)
class Verdict:
    """`record` goes into the manifest's parity, `metrics` are the task's scores, `failed` is the first gate missed."""

    record: Mapping[str, Any]
    metrics: Metrics
    failed: GateFailed | None = None


class Judge:
    """Compares bundles with a network: as `helmsight camera` loads them on `device`, so that what was checked runs."""

    def __init__(
        self, network: Source, reference: tuple[Run, str], inputs: Inputs, limits: Limits, device: str = CPU
    ) -> None:
        self._network, self._inputs, self._limits = network, inputs, limits
        self._reference, self._origin = reference
        self._on = SessionOptions(device)
        self._before: Metrics | None = None

    def __call__(self, draft: Bundle, faithful: Path | None = None, thorough: bool = False) -> Verdict:
        """The verdict on `draft`; `faithful` is a graph that computes on a CPU what `draft` computes elsewhere. Where
        it is the file of `draft` itself, only what that says counts, not what optimised kernels here make of it.

        Raises BadArtefact when it does not run. When a gate was missed the others are tried only if `thorough`.
        """
        tolerance, feeds = self._limits.tolerance, self._inputs.feeds
        record: dict[str, Any] = {"reference": self._origin, "inputs": self._inputs.origin}
        record["inputs_are_real"] = self._inputs.real
        failed: GateFailed | None = None
        metrics: Metrics = {}
        exact = None if faithful is None else plain_onnx_run(faithful, self._network.outputs)
        with load(draft, self._on) as session:
            run = exact or session.run
            try:
                if exact is not None and faithful != draft.model:
                    check_parity(self._reference, session.run, feeds, tolerance)
                record |= check_parity(self._reference, run, feeds, tolerance).to_json()
                if sizes := {name: one.to_json() for name, one in self._other_sizes(draft, exact).items()}:
                    record["other_sizes"] = sizes
            except GateFailed as error:
                failed = error
            if self._network.score is not None and (thorough or not failed):
                metrics = measure(self._network.score, run, draft.manifest)
                try:
                    if self._before is None:  # the same for every draft
                        self._before = measure(self._network.score, self._reference, draft.manifest)
                    record["score"] = check_score(self._before, metrics, self._limits.max_drop)
                except GateFailed as error:
                    failed = failed or error
        return Verdict(record, metrics, failed)

    def _other_sizes(self, draft: Bundle, run: Run | None) -> Mapping[str, Parity]:
        """{WIDTHxHEIGHT: parity} at a landscape and a portrait size; nothing when the network takes one size.

        `run` is in place of a session's, where there is a faithful graph. A whole output of a lower precision is held
        to a root mean square, which few inputs do not tell: one face that is missed among four is a quarter of them.
        """
        found, feeds_here = {}, self._inputs.feeds
        if not isfinite(self._limits.tolerance.rms):
            feeds_here = feeds_here[:SIZE_COUNT]
        for height, width in other_sizes(draft.manifest.inputs):
            resized = draft.resized((height, width))
            feeds = [resize_feeds(one, resized.manifest.inputs) for one in feeds_here]
            try:
                with load(resized, self._on) as session:
                    found[f"{width}x{height}"] = check_parity(
                        self._reference, run or session.run, feeds, self._limits.tolerance
                    )
            except GateFailed as error:
                raise GateFailed(f"at {width}x{height}: {error}") from error
            except BadArtefact as error:
                raise BadArtefact(
                    f"the network does not take {width}x{height}, though its input says so: {error}"
                ) from error
        return found
