"""What the layers of a profile are worth: whether a second run names the same ones, and what the profiler costs.

Rounds alternate between the bundles; in each the layers are timed once more and the network alone is timed without the
profiler. Shares are of the time of all layers, in percent. The export counted the operations in the graph on its own.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from helmsight.runtime.backends import SessionOptions
from helmsight.runtime.bundle import Bundle, open_bundle
from helmsight.runtime.profiler import Limits, ProfileOptions, profile
from helmsight.runtime.profiler.layer_profile import LayerProfile
from helmsight.runtime.profiler.layers import profile_layers
from helmsight.runtime.profiler.others import OthersWatch

from .harness import Goal, Result, parser

SHOWN = 10


@dataclass(frozen=True)
class Round:
    """The layers of a bundle, and its median without the profiler."""

    layers: LayerProfile
    alone_ms: float


def one_round(bundle: Bundle, options: ProfileOptions) -> Round:
    """Without the profiler first, then with it."""
    alone = profile(bundle, options).summaries[-1].percentiles[0].ms
    return Round(profile_layers(bundle, options)[0], alone)


def row(bundle: Bundle, rounds: Sequence[Round]) -> dict[str, Any]:
    """A bundle's figures over all rounds."""
    shares = [{x.name: 100 * x.ms / r.layers.layers_ms for x in r.layers.layers} for r in rounds]
    slowest = [{x.name for x in r.layers.slowest(SHOWN)} for r in rounds]
    typical = {name: statistics.median(s[name] for s in shares) for name in shares[0]}
    off = [max(abs(s[name] - typical[name]) for name in slowest[0]) for s in shares]
    found = sum(x.operations or 0 for x in rounds[0].layers.layers)
    alone = statistics.median(r.alone_ms for r in rounds)
    return {
        "bundle": bundle.manifest.name,
        "layers": len(rounds[0].layers.layers),
        "without, ms": alone,
        "with, ms": statistics.median(r.layers.run_ms for r in rounds),
        "cost, us a layer": statistics.median(
            1e3 * (r.layers.run_ms - r.alone_ms) / len(r.layers.layers) for r in rounds
        ),
        "in layers, ms": statistics.median(r.layers.layers_ms for r in rounds),
        f"in every round's {SHOWN} slowest": len(set.intersection(*slowest)),
        "share off its median, median points": statistics.median(off),
        "at most": max(off),
        "operations found / counted": found / (2 * bundle.manifest.provenance["graph"]["macs"]),
        "with operations, without a module": sum(
            1 for x in rounds[0].layers.layers if x.operations and x.module is None
        ),
    }


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--bundles", nargs="+", default=["face", "navigate"])
    made.add_argument("--rounds", type=int, default=10)
    made.add_argument("--seconds", type=float, default=2.0, help="without the profiler, a round")
    args = made.parse_args()
    options = ProfileOptions(SessionOptions("cpu", 1), Limits(args.seconds, 20))
    bundles = [open_bundle(name) for name in args.bundles]
    taken: dict[str, list[Round]] = {bundle.manifest.name: [] for bundle in bundles}
    with OthersWatch() as others:
        for _ in range(args.rounds):
            for bundle in bundles:
                taken[bundle.manifest.name].append(one_round(bundle, options))
    rows = [row(bundle, taken[bundle.manifest.name]) for bundle in bundles]
    same, off = (f"in every round's {SHOWN} slowest", "share off its median, median points")
    goals = [Goal(f"{r['bundle']}: {same}", r[same], 8, at_least=True) for r in rows]
    goals += [Goal(f"{r['bundle']}: {off}", r[off], 1, at_least=False) for r in rows]
    goals += [
        Goal(f"{r['bundle']}: operations missed, share", abs(1 - r["operations found / counted"]), 0, at_least=False)
        for r in rows
    ]
    given = {"bundles": " ".join(args.bundles), "rounds": args.rounds, "seconds": args.seconds, "threads": 1}
    Result("layers", "Layers by ONNX Runtime's profiler", given, rows, goals, others.cores).write(args.out)


if __name__ == "__main__":
    main()
