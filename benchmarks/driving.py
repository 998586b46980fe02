"""Laps driven by the exported file and the pilot, in usual and in harder conditions, beside drivers without a picture.

Each row is `helmsight evaluate navigate` in a process of its own; `--processes` of them run at a time. One that fails
leaves its row empty, and the exit code is 1.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .harness import Goal, Result, parser

CONDITIONS: Mapping[str, Sequence[str]] = {
    "commands 50 ms late": ("--late-ms", "50"),
    "commands 100 ms late": ("--late-ms", "100"),
    "every third frame lost": ("--drop-every", "3"),
    "camera 3 degrees lower": ("--pitch-offset", "3"),
    "half the light": ("--light", "0.5"),
}
FIGURES = {
    "laps_without_collision": "laps without a collision",
    "laps_without_help": "laps without help",
    "collisions": "collisions",
    "stuck": "times stuck",
    "km_per_collision": "km a collision",
    "autonomy": "autonomy",
    "speed_mps": "m/s",
    "deviation_median_m": "deviation median m",
    "deviation_p95_m": "deviation p95 m",
}
LOST = 2
"""How many laps each of the harder conditions may cost."""


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--bundle", default="navigate")
    made.add_argument(
        "--more", nargs="*", type=Path, default=[], help="bundles of the same network in other precisions"
    )
    made.add_argument("--courses", type=int, default=20)
    made.add_argument("--hard-courses", type=int, default=20, help="courses in each of the harder conditions")
    made.add_argument("--boxes", type=int, default=50)
    made.add_argument("--processes", type=int, default=2)
    args = made.parse_args()
    jobs = {"usual": _job(args.bundle, args.courses)}
    jobs |= {name: _job(args.bundle, args.hard_courses, *more) for name, more in CONDITIONS.items()}
    jobs |= {f"the file {bundle.stem}": _job(str(bundle), args.hard_courses) for bundle in args.more}
    jobs["boxes"] = _job(args.bundle, 0, "--boxes", str(args.boxes))
    with ThreadPoolExecutor(args.processes) as pool:
        done = dict(zip(jobs, pool.map(_metrics, jobs, jobs.values()), strict=True))
    failed = [name for name, metrics in done.items() if metrics is None]
    boxes = (done.pop("boxes") or {}).get("stops_before_a_box")
    usual = done["usual"]
    rows = [_row("usual", usual), _row("the expert, which sees the map", usual, "expert_")]
    rows.append(_row("never steers", usual, "straight_on_"))
    rows += [_row(name, metrics) for name, metrics in done.items() if name != "usual"]
    options = {"bundle": args.bundle, "courses": args.courses, "hard_courses": args.hard_courses, "boxes": args.boxes}
    notes = [
        "Laps are of test courses, whose textures and furniture no other course has; rows of fewer laps are of "
        "the first of them.",
        "A robot that hits something, or gets nowhere for 8 s, is set back onto the line: each is a help.",
        "With no collision at all, the kilometres a collision are those that were driven.",
    ]
    notes += [f"Not measured, its process failed: {name}." for name in failed]
    title = "Driving laps of the simulator"
    goals = [
        *_goals(done, args.courses),
        Goal("boxes that dropped 1 m ahead, nothing touched, %", _share(boxes), 98, True),
    ]
    Result("driving", title, options, rows, goals, None, notes=notes).write(args.out)
    if failed:
        raise SystemExit(1)


def _job(bundle: str, courses: int, *more: str) -> list[str]:
    command = [sys.executable, "-m", "helmsight", "evaluate", bundle, "--courses", str(courses), "--json"]
    return [*command, *more]


def _metrics(name: str, command: Sequence[str]) -> dict[str, Any] | None:
    """None where the process failed, which has said why: the others' rows are not lost with it."""
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        print(f"{name}: {' '.join(command[1:])} ended with {done.returncode}", file=sys.stderr)
        return None
    metrics: dict[str, Any] = json.loads(done.stdout)["metrics"]
    return metrics


def _row(name: str, metrics: Mapping[str, Any] | None, prefix: str = "") -> dict[str, Any]:
    if metrics is None:
        return {"driver": name, "laps": None} | dict.fromkeys(FIGURES.values())
    laps = metrics[f"{prefix}laps_without_collision"]["n"]
    return {"driver": name, "laps": laps} | {
        column: metrics[prefix + figure]["value"] for figure, column in FIGURES.items()
    }


def _goals(done: Mapping[str, Mapping[str, Any] | None], courses: int) -> list[Goal]:
    usual = done["usual"] or {}
    value = {name: metric["value"] for name, metric in usual.items()}
    laps = usual["laps_without_collision"]["n"] if usual else courses
    goals = [
        Goal("laps without a collision", value.get("laps_without_collision"), laps - 1, at_least=True),
        Goal("km a collision", value.get("km_per_collision"), 1, at_least=True),
        Goal("autonomy", value.get("autonomy"), 0.99, at_least=True),
        Goal("deviation median m", value.get("deviation_median_m"), 0.10, at_least=False),
        Goal("deviation p95 m", value.get("deviation_p95_m"), 0.35, at_least=False),
    ]
    for name, metrics in done.items():
        if name != "usual":
            lap = metrics and metrics["laps_without_collision"]
            lost = lap and lap["n"] - lap["value"]
            goals.append(Goal(f"laps lost, {name}", lost, LOST, at_least=False))
    return goals


def _share(metric: Mapping[str, Any] | None) -> float | None:
    return None if metric is None else float(100 * metric["value"] / metric["n"])


if __name__ == "__main__":
    main()
