"""How long `helmsight --help` takes, and which heavy packages it loads (none)."""

from __future__ import annotations

import subprocess
import sys
import time

from helmsight.runtime.profiler.others import OthersWatch

from .harness import Goal, Result, parser, spread

HEAVY = ("torch", "onnx", "onnxruntime", "tensorrt", "cv2", "matplotlib", "miniworld")
PROBE = """
import sys
sys.argv = ["helmsight", "--help"]
from helmsight.cli.main import main
try:
    main()
except SystemExit:
    pass
print(*(m for m in {heavy!r} if m in sys.modules), file=sys.stderr)
"""


def help_seconds() -> float:
    """Wall time of the command in a process of its own."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "helmsight", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def heavy_loaded() -> list[str]:
    """The heavy packages that are in memory after `--help`."""
    probe = [sys.executable, "-c", PROBE.format(heavy=HEAVY)]
    return subprocess.run(probe, check=True, capture_output=True, text=True).stderr.split()


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--rounds", type=int, default=15)
    args = made.parse_args()
    help_seconds()  # reads the files into the page cache
    with OthersWatch() as others:
        took = spread([help_seconds() for _ in range(args.rounds)])
    loaded = heavy_loaded()
    rows = [
        {"what": "helmsight --help", **{f"{k} s": v for k, v in took.items()}, "loads": ", ".join(loaded) or "none"}
    ]
    goals = [
        Goal("median, s", took["median"], 0.5, at_least=False),
        Goal("heavy packages loaded", len(loaded), 0, at_least=False),
    ]
    Result("startup", "Start of the command line", {"rounds": args.rounds}, rows, goals, others.cores).write(args.out)


if __name__ == "__main__":
    main()
