"""How long `helmsight export SOURCE -t cpu` takes, from the checkpoints of the networks that ship and from the bundles.

Each command is a process of its own, with torch's start, the conversion, parity and the task's score in it. What the
scores are taken on is fetched before, by one run that does not count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helmsight.runtime.bundle import open_bundle, sha256
from helmsight.runtime.profiler.others import OthersWatch

from .harness import Goal, Result, parser, spread

MOST_S = 30.0
NOTES = (
    "Seconds are wall time; CPU s is the time of the process on all cores, which other load lengthens less. Most of "
    "it is Python in one thread, so that on a machine that does nothing else the two are nearly the same.",
    "An export from a bundle copies the ONNX file where one from a checkpoint traces the network in torch.",
    "The goal is the sum of the medians of both commands.",
)


def export_seconds(source: str, out: Path) -> tuple[float, float]:
    """Wall time and CPU time of one command; raises when it failed."""
    command = [sys.executable, "-m", "helmsight", "export", source, "-t", "cpu", "-o", str(out)]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said}")
    return time.perf_counter() - begin, usage.ru_utime + usage.ru_stime


def ships(checkpoint: Path) -> bool:
    """Whether a bundle that ships has the weights of `checkpoint`."""
    name = json.loads((checkpoint / "checkpoint.json").read_text())["name"]
    of = open_bundle(name).manifest.provenance["source"]
    return bool(of.get("weights_sha256") == sha256(checkpoint / "model.safetensors"))


def measured(sources: Sequence[str], rounds: int) -> tuple[list[dict[str, Any]], float | None]:
    """A row a source, taken in turns, and the cores that others used."""
    taken: dict[str, list[tuple[float, float]]] = {source: [] for source in sources}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.bundle"
        for source in sources:
            export_seconds(source, out)  # fetches what it is scored on, and reads files into the page cache
        begin = time.perf_counter()
        with OthersWatch() as others:
            for _ in range(rounds):
                for source in sources:
                    taken[source].append(export_seconds(source, out))
        wall = time.perf_counter() - begin
    own = sum(cpu for pairs in taken.values() for _, cpu in pairs) / wall
    rows = [
        {
            "source": source,
            "of": "a checkpoint" if Path(source).is_dir() else "a bundle that ships",
            **{f"{k} s": v for k, v in spread([seconds for seconds, _ in pairs]).items()},
            "CPU s": spread([cpu for _, cpu in pairs])["median"],
        }
        for source, pairs in taken.items()
    ]
    return rows, None if others.cores is None else round(max(0.0, others.cores - own), 3)


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--checkpoints", nargs="*", default=["runs/face", "runs/navigate"], help="folders of training")
    made.add_argument("--bundles", nargs="*", default=["face", "navigate"])
    made.add_argument("--rounds", type=int, default=2)
    args = made.parse_args()
    others_than_ship = [one for one in args.checkpoints if not ships(Path(one))]
    rows, others = measured([*args.checkpoints, *args.bundles], args.rounds)
    notes = [*NOTES, *(f"{one} is not what ships: its weights are others." for one in others_than_ship)]
    goals = []
    for what, sources in (("checkpoints", args.checkpoints), ("bundles", args.bundles)):
        if sources:
            seconds = sum(row["median s"] for row in rows if row["source"] in sources)
            goals.append(Goal(f"export of all {what} to cpu, s", seconds, MOST_S, at_least=False))
    options = {"checkpoints": " ".join(args.checkpoints), "bundles": " ".join(args.bundles), "rounds": args.rounds}
    Result("export_speed", "Time of an export to a CPU", options, rows, goals, others, notes=notes).write(args.out)


if __name__ == "__main__":
    main()
