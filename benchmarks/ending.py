"""How soon `helmsight camera` ends on Ctrl-C: both networks on the live test pattern at 30 frames/s, with what can hold
an end up: recordings, and viewers of the preview, some of whom do not read what they asked for.

From the signal to the end of the process, and whether the recordings are whole afterwards.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from helmsight.devices.errors import HelmsightError
from helmsight.runtime.mapping.mapfile import load_map
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.sources import open_source

from .harness import Goal, Result, parser, spread

SOURCE = "test://pattern?fps=30"
RUN_S = 2.0
GIVE_UP_S = 60.0
WATCHING, SILENT = 4, 2
ASKS = (
    b"GET /stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",  # and reads nothing: its connection fills up
    b"GET /picture.jpg?after=999999 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",  # waits for one that does not come
    b"GET / HTTP/1.1\r\nHo",  # never says the rest
)


@contextmanager
def viewers(port: int) -> Iterator[None]:
    """Some that read the stream as it comes, and of each kind in ASKS some that hang."""
    with ExitStack() as opened:
        for _ in range(WATCHING):
            stream = opened.enter_context(urlopen(f"http://127.0.0.1:{port}/stream.mjpg", timeout=GIVE_UP_S))
            threading.Thread(target=_read, args=(stream,), daemon=True).start()
        for ask in ASKS * SILENT:
            silent = opened.enter_context(socket.socket())
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.connect(("127.0.0.1", port))
            silent.sendall(ask)
        yield


def _read(stream: Any) -> None:
    try:
        while stream.read(1 << 16):
            pass
    except (OSError, ValueError):  # the server has ended, or the benchmark
        return


def whole(path: Path) -> bool:
    """Whether it is there: a log of whole lines, a map that loads with its .yaml, or a recording that plays."""
    try:
        if path.suffix == ".jsonl":
            return len([json.loads(line) for line in path.read_text().splitlines()]) > 0
        if path.suffix == ".png":
            return load_map(path.with_suffix(".yaml")).cells.size > 0
        with open_source(f"replay://{path}" if path.is_dir() else str(path)) as source:
            return sum(1 for _ in source) > 0
    except (HelmsightError, OSError, ValueError):
        return False


def once(arguments: Sequence[str], watched: bool) -> dict[str, Any]:
    """Run, interrupt, and look at what was asked for: `arguments` are pairs of an option and a path in `{tmp}`."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        folder = Path(name)
        log = folder / "log.jsonl"
        command = [sys.executable, "-m", "helmsight", "camera", "face", "navigate", "--source", SOURCE]
        command += ["--log", str(log), *(argument.replace("{tmp}", name) for argument in arguments)]
        if watched:
            command += ["--preview", "127.0.0.1:0"]
        running = opened.enter_context(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        )
        opened.callback(running.kill)
        assert running.stderr
        if watched:
            line = next(line for line in running.stderr if "preview at" in line)
            opened.enter_context(viewers(int(re.findall(r":([0-9]+)", line)[-1])))
        until = time.monotonic() + GIVE_UP_S
        while not (log.exists() and log.stat().st_size) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(RUN_S)
        began_s = time.perf_counter()
        running.send_signal(signal.SIGINT)
        code = running.wait(GIVE_UP_S)
        ended_s = time.perf_counter() - began_s
        asked = [log, *(folder / argument.removeprefix("{tmp}/") for argument in arguments[1::2])]
        return {"end s": ended_s, "whole": code == 130 and all(map(whole, asked))}


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--rounds", type=int, default=5)
    args = made.parse_args()
    recordings = {
        "nothing more": (),
        "--record out.mp4": ("--record", "{tmp}/out.mp4"),
        "--record FOLDER": ("--record", "{tmp}/run"),
        "--record out.mp4, --map": ("--record", "{tmp}/out.mp4", "--map", "{tmp}/map.png"),
    }
    rows = []
    with OthersWatch() as others:
        for what, arguments in recordings.items():
            for watched in (False, True):
                turns = [once(arguments, watched) for _ in range(args.rounds)]
                row = {"what": what, "viewers": (WATCHING + SILENT * len(ASKS)) * watched}
                row |= {f"end s, {key}": value for key, value in spread([turn["end s"] for turn in turns]).items()}
                rows.append(row | {"whole": all(turn["whole"] for turn in turns)})
    goals = [
        Goal(
            "from Ctrl-C to the end, s, the worst", max(float(row["end s, max"]) for row in rows), 1.0, at_least=False
        ),
        Goal("runs whose files are whole", sum(bool(row["whole"]) for row in rows) / len(rows), 1.0, at_least=True),
    ]
    notes = [
        f"Of the viewers {WATCHING} read the stream; {SILENT} each asked for it and read nothing, wait for a picture "
        "that does not come, and do not finish their request."
    ]
    title = "How soon a run ends"
    Result("ending", title, {"rounds": args.rounds}, rows, goals, others.cores, notes=notes).write(args.out)


if __name__ == "__main__":
    main()
