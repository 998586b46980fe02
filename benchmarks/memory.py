"""Peak resident memory of `helmsight camera` in its own process, on a 640x480 file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from helmsight.runtime.profiler.others import OthersWatch

from .harness import Goal, Result, parser, write_clip

MOST_MB = 150.0
NOTE = (
    "Taken apart once, with OpenCV 5 and Typer 0.29: the command line (Typer and the Pydantic it brings) is 14 MB; "
    "while recording, text drawn with OpenCV's own fonts is 13 MB and the encoder 8 MB. A program of your own does "
    "without the first: see pipeline.md."
)


def peak_mb(command: Sequence[str]) -> float:
    """Peak resident set of a process in MB (10^6 bytes), as the kernel counted it; raises when it failed."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--bundles", nargs="+", default=["face", "navigate"])
    made.add_argument("--device", default="cpu")
    made.add_argument("--frames", type=int, default=600)
    args = made.parse_args()
    with tempfile.TemporaryDirectory() as folder, OthersWatch() as others:
        clip = str(write_clip(Path(folder) / "clip.mp4", args.frames))
        camera = [sys.executable, "-m", "helmsight", "camera", *args.bundles]
        common = ["--source", clip, "--headless", "--device", args.device]
        variants = {
            "camera": [],
            "camera, recording": ["--record", str(Path(folder) / "out.mp4")],
        }
        rows = [{"what": name, "peak RSS MB": peak_mb([*camera, *common, *more])} for name, more in variants.items()]
    goals = [Goal(f"{row['what']}, MB", float(row["peak RSS MB"]), MOST_MB, at_least=False) for row in rows]
    options = {"bundles": " ".join(args.bundles), "device": args.device, "frames": args.frames}
    Result("memory", "Memory of the camera command", options, rows, goals, others.cores, notes=[NOTE]).write(args.out)


if __name__ == "__main__":
    main()
