"""Frames per second and memory of the pipeline beside what else reads a video file, on one clip with one model.

The contenders are in contenders.py, each in a process of its own. They take turns, and ratios are of one turn.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.fetch import cache_folder

from .contenders import CONTENDERS
from .harness import Goal, Result, parser, spread, write_clip

SCRIPT = Path(__file__).with_name("contenders.py")
BASE, PEER, OURS = "hand-written loop", "streamvision", "helmsight"
BASE_RECORDS, OURS_RECORDS = f"{BASE}, recording", f"{OURS}, recording"
MOST_MB = 150.0
NOTES = (
    "helmsight also decodes the network's outputs to faces; the others only run it.",
    "Seconds are from the first frame that is asked for to the last result, without start and loading.",
)


def run(python: Path | str, name: str, clip: Path, bundle: Path) -> dict[str, Any]:
    """The line of one contender's process; raises when it failed."""
    command = [str(python), str(SCRIPT), name, str(clip), str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line


def judged(rates: Sequence[Mapping[str, float]], peak_mb: float) -> list[Goal]:
    """The goals, by the frames per second of each in each turn."""
    others = [name for name in rates[0] if name not in (OURS, BASE_RECORDS, OURS_RECORDS)]

    def over(ours: str, theirs: list[str]) -> float:
        return spread([rate[ours] / max(rate[name] for name in theirs) for rate in rates])["median"]

    return [
        Goal("helmsight over the best of the others", over(OURS, others), 1.0, at_least=True),
        Goal("recording, helmsight over the hand-written loop", over(OURS_RECORDS, [BASE_RECORDS]), 1.0, at_least=True),
        Goal("helmsight recording over the loop that does not", over(OURS_RECORDS, [BASE]), 0.9, at_least=True),
        Goal("helmsight, peak RSS MB", peak_mb, MOST_MB, at_least=False),
    ]


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--bundle", default="face")
    made.add_argument("--frames", type=int, default=600)
    made.add_argument("--rounds", type=int, default=7)
    peers = cache_folder() / "benchmarks" / "pipeline" / "bin" / "python"
    made.add_argument("--peers", type=Path, default=peers, help="Python of an environment with streamvision")
    args = made.parse_args()
    pythons: dict[str, Path | str] = dict.fromkeys(CONTENDERS, sys.executable)
    pythons[PEER] = args.peers
    names = [name for name in CONTENDERS if name != PEER or args.peers.is_file()]
    with tempfile.TemporaryDirectory() as folder:
        clip, bundle = write_clip(Path(folder) / "clip.mp4", args.frames), open_bundle(args.bundle).path
        turns = [{name: run(pythons[name], name, clip, bundle) for name in names} for _ in range(args.rounds)]
    short = {name for turn in turns for name, line in turn.items() if line["frames"] != args.frames}
    rates = [{name: line["frames"] / line["seconds"] for name, line in turn.items()} for turn in turns]
    rows = [
        {
            "what": name,
            "frames/s": spread([rate[name] for rate in rates])["median"],
            **{f"ratio {k}": v for k, v in spread([rate[name] / rate[BASE] for rate in rates]).items()},
            "peak RSS MB": spread([turn[name]["peak_rss_mb"] for turn in turns])["median"],
            "every frame": name not in short,
        }
        for name in names
    ]
    goals = judged(rates, next(float(row["peak RSS MB"]) for row in rows if row["what"] == OURS))
    options = {k: getattr(args, k) for k in ("bundle", "frames", "rounds")}
    notes = NOTES if PEER in names else (*NOTES, f"{PEER} was not installed: benchmarks/README.md says how to.")
    title = "The pipeline beside other loops over a file"
    Result("pipeline", title, options, rows, goals, None, notes=notes).write(args.out)


if __name__ == "__main__":
    main()
