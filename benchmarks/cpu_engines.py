"""Engines and precisions on this CPU: ONNX Runtime and OpenVINO, in fp32, bf16 and int8, and ONNX Runtime's settings.

All of a network take turns, query by query of the clip that ships, so that ratios are of the same moments. Lower
precisions are exported as `helmsight export NAME --precision ...` does it, behind its gates.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from helmsight.devices.errors import DeviceMismatch
from helmsight.export.autotune import TuneOptions, autotune
from helmsight.export.build import ExportOptions, export
from helmsight.export.targets import CPU, PLANS
from helmsight.export.timing import WORTH_IT, latencies_ms
from helmsight.runtime.backends import Session, SessionOptions, load
from helmsight.runtime.backends.onnxruntime import chosen_optimisation
from helmsight.runtime.bundle import Bundle, open_bundle
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.profiler.stats import percentile_ms, queries_needed

from .harness import Goal, Result, parser
from .precision import clip_feeds, kept

WAYS = (("cpu", "fp32"), ("cpu", "int8"), ("openvino", "fp32"), ("openvino", "int8"), ("openvino", "bf16"))
"""bf16 last: where the processor has none it is left out."""
NOTES = (
    "Times as fast: the median over the turns of ONNX Runtime in fp32 over this one, so above 1 is faster.",
    "p99 is the nearest-rank percentile, one of the latencies; with 99 % confidence it takes "
    f"{queries_needed(0.99):,} queries of a row to support it.",
    "`computes in` is read back from what the engine made of the file. Asked for nothing, OpenVINO took bf16.",
    "int8 is exported with `--repair`: layers whose loss breaks a gate stay in fp32.",
    "In int8 ONNX Runtime runs at the level of graph optimisation that export measured to be faster, here {levels}.",
    "Spinning is fast on a machine that does nothing else; beside a camera and another network it costs the tail, so "
    "it is off unless --autotune finds it fastest.",
    "Below 1.3, int8 is not worth what it loses: `helmsight export --list-targets` has it for a CPU only if asked.",
)


def made(name: str, precision: str, folder: Path) -> Bundle:
    """The bundle called `name` in a precision, made in `folder` unless one that was made of it is there."""
    out = folder / f"{name}-{precision}.bundle"
    return kept(out, open_bundle(name)) or export(
        name, ExportOptions(precision=precision, repair=precision == "int8", out=out)
    )


def measured(
    name: str, threads: int, bundles: Mapping[str, Bundle], seconds: float, frames: int
) -> list[dict[str, Any]]:
    """A row for each engine and precision of a network, with as many threads."""
    feeds = clip_feeds(bundles["fp32"], frames)
    with ExitStack() as stack:
        sessions: dict[str, Session] = {
            f"{device} {precision}": stack.enter_context(load(bundles[precision], SessionOptions(device, threads)))
            for device, precision in WAYS
            if precision in bundles
        }
        taken = latencies_ms(sessions, feeds, seconds)
        return [
            {
                "network": name,
                "threads": threads,
                "device": device,
                "asked for": precision,
                "computes in": sessions[f"{device} {precision}"].precision,
                **_figures(taken[f"{device} {precision}"], taken["cpu fp32"]),
            }
            for device, precision in WAYS
            if precision in bundles
        ]


def settings(name: str, seconds: float) -> list[dict[str, Any]]:
    """A row for each way that `helmsight build --autotune` measures of the network in fp32."""
    tuning = autotune(open_bundle(name), TuneOptions(seconds=seconds), say=lambda line: None)
    return [
        {
            "network": name,
            "way": str(row.way),
            "p50 ms": row.p50_ms,
            "p99 ms": row.p99_ms,
            "times as fast": row.times_as_fast,
            "refused": row.refused,
        }
        for row in tuning.rows
    ]


def _figures(own: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    ratios = [full / one for full, one in zip(base, own, strict=True)]
    tail = percentile_ms(own, 0.99)
    return {"p50 ms": statistics.median(own), "p99 ms": tail, "times as fast": statistics.median(ratios)}


def main() -> None:
    """Run and write the result."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--bundles", nargs="+", default=["face", "navigate"])
    arguments.add_argument("--seconds", type=float, default=20.0, help="of timing for each network and threads")
    arguments.add_argument("--frames", type=int, default=32, help="of the clip, over and over")
    arguments.add_argument("--made", type=Path, help="folder to keep the bundles in, and to take them from")
    args = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder, made_of = args.made or Path(scratch), {}
        for name in args.bundles:
            made_of[name] = {"fp32": open_bundle(name), "int8": made(name, "int8", folder)}
            with suppress(DeviceMismatch):  # this processor has no bf16
                made_of[name]["bf16"] = made(name, "bf16", folder)
        tuned: list[dict[str, Any]] = []
        with OthersWatch() as others:
            for name in args.bundles:
                for threads in (1, 2):
                    rows += measured(name, threads, made_of[name], args.seconds, args.frames)
                tuned += settings(name, args.seconds / 2)
    goals = [
        Goal(f"{r['network']}, {r['device']} {r['asked for']}, times as fast", r["times as fast"], WORTH_IT, True)
        for r in rows
        if r["asked for"] == "int8" and r["threads"] == 1
    ]
    slow = sum(not goal.met for goal in goals) if "int8" not in PLANS[CPU].on_request else 0
    goals.append(Goal("of these, below that and offered for a CPU without being asked for", slow, 0, at_least=False))
    levels = ", ".join(f"`{chosen_optimisation(made_of[name]['int8'])}` for {name}" for name in args.bundles)
    notes = [note.format(levels=levels) for note in NOTES]
    options = {"bundles": " ".join(args.bundles), "seconds": args.seconds, "frames": args.frames}
    more = {"Settings of ONNX Runtime, as --autotune measures them": tuned}
    title = "Engines and precisions on a CPU"
    Result("cpu_engines", title, options, rows, goals, others.cores, more, notes).write(args.out)


if __name__ == "__main__":
    main()
