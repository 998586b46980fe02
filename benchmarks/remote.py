"""What measuring over SSH adds: the same bundle through `profile` here and `profile --on`, taken in turns.

Give an address that leads to this very machine (a loopback sshd): then the ratio of the two is what the way there does
to the figures, and the difference of their wall times is what it costs to connect, copy, fetch and clean up.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from helmsight.runtime.profiler import Profile, load_profiles

from .harness import Goal, Result, parser, spread


def measured(bundle: str, where: list[str], duration_s: float) -> tuple[Profile, float]:
    """One run of the command on one thread, and its wall time in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "p.json"
        command = [sys.executable, "-m", "helmsight", "profile", bundle, "--threads", "1", "-o", str(record), *where]
        begin = time.perf_counter()
        subprocess.run([*command, "--duration", str(duration_s)], check=True, capture_output=True)
        return load_profiles(record)[0], time.perf_counter() - begin


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--on", required=True, help="ssh://[user@]host[:port] of this machine")
    made.add_argument("--bundle", default="navigate")
    made.add_argument("--duration", type=float, default=3.0, help="seconds of a run")
    made.add_argument("--rounds", type=int, default=15)
    args = made.parse_args()
    ways: dict[str, list[str]] = {"here": [], "over SSH": ["--on", args.on]}
    turns: list[dict[str, dict[str, float]]] = []
    busy: list[float] = []
    for _ in range(args.rounds):
        turn = {}
        for name, where in ways.items():
            one, wall_s = measured(args.bundle, where, args.duration)
            p50, p90, _ = (q.ms for q in one.summaries[-1].percentiles)
            turn[name] = {"p50 ms": p50, "p90 ms": p90, "whole command s": wall_s}
            busy.append(one.other_cores or 0.0)
        turns.append(turn)
    figures = ("p50 ms", "p90 ms", "whole command s")
    rows: list[dict[str, Any]] = [
        {"what": f"{figure}, {name}", **spread([turn[name][figure] for turn in turns])}
        for figure in figures
        for name in ways
    ]
    ratio = {f: spread([turn["over SSH"][f] / turn["here"][f] for turn in turns]) for f in figures[:2]}
    rows += [{"what": f"over SSH / here, {figure}", **found} for figure, found in ratio.items()]
    more_s = spread([turn["over SSH"][figures[2]] - turn["here"][figures[2]] for turn in turns])
    rows.append({"what": "over SSH - here, s", **more_s})
    goals = [
        Goal("p50 over SSH / here, off 1 by", abs(ratio["p50 ms"]["median"] - 1), 0.02, at_least=False),
        Goal("more time for the whole, s", more_s["median"], 5, at_least=False),
    ]
    options = {"bundle": args.bundle, "duration": args.duration, "rounds": args.rounds}
    title = "Measuring over SSH beside measuring here"
    Result("remote", title, options, rows, goals, statistics.median(busy)).write(args.out)


if __name__ == "__main__":
    main()
