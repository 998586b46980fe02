"""Engines and precisions on this CPU: ONNX Runtime and OpenVINO, in fp32, bf16 and int8, and ONNX Runtime's settings.

All of a network take turns, query by query of the clip that ships, so that ratios are of the same moments. Lower
precisions are exported as `helmsight export NAME --precision ...` does it, behind its gates.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from helmsight.export.build import ExportOptions, export
from helmsight.export.timing import WORTH_IT, latencies_ms
from helmsight.runtime.backends import Session, SessionOptions, load
from helmsight.runtime.bundle import Bundle
from helmsight.runtime.profiler.others import OthersWatch

from .harness import Goal, Result, parser
from .precision import clip_feeds

BUNDLES = ("face", "navigate")
WAYS = (("cpu", "fp32"), ("cpu", "int8"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))
EXPORT_S = 30.0
NOTES = (
    "Times as fast: the median over the turns of ONNX Runtime in fp32 over this one, so above 1 is faster.",
    "`computes in` is read back from what the engine made of the file. Asked for nothing, OpenVINO took bf16.",
    "int8 is exported with `--repair`: layers whose loss breaks a gate stay in fp32.",
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
        ]


def _figures(own: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    ratios = [full / one for full, one in zip(base, own, strict=True)]
    tail = statistics.quantiles(own, n=100)
    return {"p50 ms": statistics.median(own), "p99 ms": tail[98], "times as fast": statistics.median(ratios)}


def main() -> None:
    """Run and write the result."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--seconds", type=float, default=20.0, help="of timing for each network and threads")
    arguments.add_argument("--frames", type=int, default=32, help="of the clip, over and over")
    args = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    exports: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder, made_of = Path(scratch), {}
        for name in BUNDLES:
            begin = time.perf_counter()
            full = made(name, "fp32", folder)
            exports.append({"network": name, "export to cpu, s": time.perf_counter() - begin})
            made_of[name] = {"fp32": full} | {p: made(name, p, folder) for p in ("bf16", "int8")}
        with OthersWatch() as others:
            for name in BUNDLES:
                for threads in (1, 2):
                    rows += measured(name, threads, made_of[name], args.seconds, args.frames)
    goals = [
        Goal(f"{r['network']}, {r['device']} {r['asked for']}, times as fast", r["times as fast"], WORTH_IT, True)
        for r in rows
        if r["asked for"] == "int8" and r["threads"] == 1
    ]
    goals.append(Goal("export of both to cpu, s", sum(e["export to cpu, s"] for e in exports), EXPORT_S, False))
    options = {"seconds": args.seconds, "frames": args.frames}
    title = "Engines and precisions on a CPU"
    Result("cpu_engines", title, options, rows, goals, others.cores, {"Export in fp32": exports}, NOTES).write(args.out)


if __name__ == "__main__":
    main()
