"""Engines and precisions on this CPU: ONNX Runtime and OpenVINO, in fp32, bf16 and int8, and ONNX Runtime's settings.

All of a network take turns, query by query of the clip that ships, so that ratios are of the same moments. Lower
precisions are exported as `helmsight export NAME --precision ...` does it, behind its gates.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from helmsight.devices.errors import DeviceMismatch
from helmsight.export.autotune import TuneOptions, autotune
from helmsight.export.build import ExportOptions, export
from helmsight.export.timing import WORTH_IT, latencies_ms
from helmsight.runtime.backends import Session, SessionOptions, load
from helmsight.runtime.bundle import Bundle, open_bundle
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.profiler.stats import percentile_ms, queries_needed

from .harness import Goal, Result, parser
from .precision import clip_feeds

WAYS = (("cpu", "fp32"), ("cpu", "int8"), ("openvino", "fp32"), ("openvino", "int8"), ("openvino", "bf16"))
"""bf16 last: where the processor has none it is left out."""
EXPORT_S = 30.0
NOTES = (
    "Times as fast: the median over the turns of ONNX Runtime in fp32 over this one, so above 1 is faster.",
    "p99 is the nearest-rank percentile, one of the latencies; with 99 % confidence it takes "
    f"{queries_needed(0.99):,} queries of a row to support it.",
    "`computes in` is read back from what the engine made of the file. Asked for nothing, OpenVINO took bf16.",
    "int8 is exported with `--repair`: layers whose loss breaks a gate stay in fp32.",
    "In int8 ONNX Runtime runs at the level of graph optimisation that export measured to be faster: `extended` for "
    "navigate (with `all` it was 0.78 times as fast as fp32), `all` for face.",
    "Spinning is fast on a machine that does nothing else; beside a camera and another network it costs the tail, so "
    "it is off unless --autotune finds it fastest.",
    "Below 1.3, int8 is not worth what it loses: `helmsight export --list-targets` has it for a CPU only if asked.",
    "Export is timed from the bundles that ship, in one process that has loaded torch: the score takes most of it.",
)


def made(name: str, precision: str, folder: Path) -> Bundle:
    """The bundle called `name` in a precision."""
    options = ExportOptions(precision=precision, repair=precision == "int8", out=folder / f"{name}-{precision}.bundle")
    return export(name, options)


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
    args = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    exports: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder, made_of = Path(scratch), {}
        for name in args.bundles:
            begin = time.perf_counter()
            full = made(name, "fp32", folder)
            exports.append({"network": name, "export to cpu, s": time.perf_counter() - begin})
            made_of[name] = {"fp32": full, "int8": made(name, "int8", folder)}
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
    goals.append(Goal("export of all to cpu, s", sum(e["export to cpu, s"] for e in exports), EXPORT_S, False))
    options = {"bundles": " ".join(args.bundles), "seconds": args.seconds, "frames": args.frames}
    more = {"Settings of ONNX Runtime, as --autotune measures them": tuned, "Export in fp32": exports}
    title = "Engines and precisions on a CPU"
    Result("cpu_engines", title, options, rows, goals, others.cores, more, NOTES).write(args.out)


if __name__ == "__main__":
    main()
