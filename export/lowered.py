"""From an fp32 bundle to one of a lower precision that passes the same judge, repaired where that is asked for."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from ..devices.errors import GateFailed
from ..runtime.bundle import Bundle, Manifest, write_bundle
from ..runtime.inspection import in_words
from ..runtime.parity import plain_onnx_run
from .convert import stamp
from .inputs import Feeds
from .judge import Judge, Verdict
from .lowering import Lower, lower_to
from .precision import Precision, check_is, read_computed, read_precision
from .quiet import output_to
from .repair import fewest, most_kept, rank
from .source import Source
from .timing import WORTH_IT, fastest_optimisation, times_as_fast

if TYPE_CHECKING:
    from onnx import ModelProto

Say = Callable[[str], None]
Describe = Callable[["ModelProto", Precision], Manifest]
"""The manifest of a model of that precision, before the gates."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A bundle with `kept` layers in fp32; its manifest has all but what the gates say, which is the verdict."""

    draft: Bundle
    kept: tuple[str, ...]
    verdict: Verdict

    @property
    def missed(self) -> str:
        """The first gate that it misses, "" when it passes."""
        return str(self.verdict.failed or "").removesuffix("; nothing was written")

    def to_json(self) -> dict[str, Any]:
        """One row of the report of a repair: what so many layers in fp32 cost and bring."""
        return {
            "kept": len(self.kept),
            "passed": self.verdict.failed is None,
            "missed": self.missed,
            "scores": {name: metric["value"] for name, metric in self.verdict.metrics.items()},
            "times_as_fast": self.draft.manifest.parity["cpu"]["speed"]["times_as_fast"],
            "bytes": self.draft.model.stat().st_size,
        }


class Lowering:
    """Makes attempts at a precision from `full`, an fp32 draft whose folder also holds what lies in between.

    `for_nvidia` makes int8 in the format that NVIDIA's engines read.
    """

    def __init__(
        self, network: Source, full: Bundle, judge: Judge, describe: Describe, say: Say, for_nvidia: bool = False
    ) -> None:
        self._network, self._full, self._judge, self._for_nvidia = network, full, judge, for_nvidia
        self._describe, self._say = describe, say
        self._work = full.path.parent

    def export(self, precision: str, model: ModelProto, inputs: Sequence[Feeds], repair: bool) -> Attempt:
        """`model` in `precision`, the ranges of int8 measured on `inputs`. Raises GateFailed with the next step."""
        with output_to(self._work / "lower.log"):
            lower = lower_to(precision, model, inputs, self._work, self._for_nvidia)
        first = self._attempt(precision, lower, inputs, (), thorough=repair)
        if first.verdict.failed is not None and not repair:
            raise GateFailed(
                f"{precision}: {first.missed}; nothing was written; --repair finds the layers to keep in fp32, "
                "--max-drop and --atol allow more"
            )
        done = first
        if first.verdict.failed is not None:
            self._say(f"{precision} misses a gate: {first.missed}")
            done = self._repair(precision, lower, inputs, first)
        self._say_cost(precision, done.draft.manifest.parity["cpu"])
        return done

    def _repair(self, precision: str, lower: Lower, inputs: Sequence[Feeds], first: Attempt) -> Attempt:
        self._say(f"measuring what each of {len(lower.layers)} layers loses by itself")
        reference = plain_onnx_run(self._full.model, self._network.outputs)
        with output_to(self._work / "lower.log"):
            ranked = rank(lower, reference, self._network.outputs, inputs, self._work)
        names = list(ranked)
        attempts = {0: first}

        def passes(k: int) -> bool:
            attempts[k] = self._attempt(precision, lower, inputs, tuple(names[:k]), thorough=True)
            self._say(f"{k} of {len(names)} layers in fp32: {attempts[k].missed or 'passes'}")
            return not attempts[k].missed

        k = fewest(passes, most_kept(lower.weighted, names))
        if k is None:
            raise GateFailed(
                f"{precision}: {first.missed}; no choice of layers to keep in fp32 passes either, nothing was written; "
                "use --precision fp32, or allow more with --max-drop or --atol"
            )
        kept = [{"layer": lower.layers[n], "error": ranked[n] if isfinite(ranked[n]) else None} for n in names[:k]]
        self._say(f"{k} of {len(names)} layers stay in fp32: {', '.join(lower.layers[n] for n in names[:k])}")
        if 2 * k > len(names):
            step = "; calibrate on inputs like those that it will see" if precision == "int8" else ""
            self._say(f"WARNING: little of it is in {precision} then{step}")
        trials = [attempts[n].to_json() for n in sorted(attempts)]
        return noted(attempts[k], repair={"layers": len(names), "kept": kept, "trials": trials})

    def _attempt(
        self, precision: str, lower: Lower, inputs: Sequence[Feeds], kept: tuple[str, ...], thorough: bool
    ) -> Attempt:
        with output_to(self._work / "lower.log"):
            model = lower(kept)
        stamp(model, self._network)
        found = read_precision(model)
        check_is(found, precision, repaired=thorough)
        content = model.SerializeToString(deterministic=True)
        place = self._work / f"{precision}-{len(kept)}.bundle"
        draft = write_bundle(place, self._describe(model, found), {"model.onnx": content})
        if precision == "int8":
            level = "all" if self._for_nvidia else fastest_optimisation(draft, inputs)
            draft = replace(draft, manifest=_with(draft.manifest, optimisation=level))
        computed = read_computed(draft)
        # For NVIDIA only the file as it says counts, whatever a CPU's own kernels for int8 make of it.
        faithful = draft.model if self._for_nvidia else None
        rounded = precision == "fp16" and "fp16" not in computed.weighted_ops
        if rounded:
            faithful = self._work / "faithful.onnx"
            faithful.write_bytes(lower.faithful(model).SerializeToString())
        verdict = self._judge(draft, faithful, thorough)
        record = {"precision": computed.name, "machine": platform.machine(), "weighted_ops": computed.weighted_ops}
        speed = times_as_fast(self._full, draft, inputs)
        return noted(Attempt(draft, kept, verdict), computed=record, rounded=rounded, speed=speed)

    def _say_cost(self, precision: str, record: Mapping[str, Any]) -> None:
        computed, speed = record["computed"], record["speed"]
        ratio = "{times_as_fast:.2f} times as fast as fp32 here ({ms:.3g} ms, fp32 {fp32_ms:.3g} ms)".format_map(speed)
        if precision == "fp16":
            rounded = "; the gates rounded every value to fp16, as a GPU does" if record["rounded"] else ""
            real = in_words(computed["precision"], computed)
            self._say(
                f"WARNING: fp16 is for GPUs; ONNX Runtime on this CPU computes the file in {real}, {ratio}{rounded}"
            )
            return
        if unlike := computed_unlike(record["real"]["weighted_ops"], computed["weighted_ops"]):
            self._say(f"WARNING: {unlike}")
        level = f", with graph optimisation {record['optimisation']}" if record["optimisation"] != "all" else ""
        worth = "" if speed["times_as_fast"] >= WORTH_IT else f"; below {WORTH_IT:g} it is not worth what it loses here"
        if self._for_nvidia:
            worth = "; it is written for NVIDIA's engines: for a CPU export -t cpu by itself, whose int8 is another"
        self._say(f"int8 is {ratio}{level}{worth}")


def computed_unlike(real: Mapping[str, int], computed: Mapping[str, int]) -> str:
    """How many layers of an int8 file ONNX Runtime here computes in another precision; "" for none.

    ONNX Runtime also quantises weights that the file keeps in fp32 between int8 layers. One layer each way is none.
    """
    slow = computed.get("fp32", 0) - real.get("fp32", 0)
    fast = min(-slow, computed.get("int8", 0) - real.get("int8", 0))
    if slow > 0:
        return f"layers in int8 in the file that ONNX Runtime here computes in fp32: {slow}"
    return f"layers in fp32 in the file that ONNX Runtime here computes in int8: {fast}" if fast > 0 else ""


def noted(attempt: Attempt, **facts: Any) -> Attempt:
    """The attempt with `facts` in its manifest's record for the CPU."""
    manifest = _with(attempt.draft.manifest, **facts)
    return replace(attempt, draft=replace(attempt.draft, manifest=manifest))


def _with(manifest: Manifest, **facts: Any) -> Manifest:
    return replace(manifest, parity={"cpu": {**manifest.parity["cpu"], **facts}})
