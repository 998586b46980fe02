"""Jetson's own program for its sensors, where the kernel's files of the power rails cannot be read."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .reading import Probe

PROGRAM = "tegrastats"
FIRST_LINE_S = 5.0
"""It prints its first line when its first interval is over, and old ones wait a second more."""

# `VDD_IN 4067mW/4012mW`, without a unit in JetPack 4, with a maximum behind it since R39; the first is of now, in
# milliwatts. `RAM 721/31927MB` and the caches that look alike have another unit.
_RAIL = re.compile(r"(?<!\S)([A-Z][A-Z0-9_]*) (-?\d+)(?:mW)?/-?\d+(?:mW)?(?:/-?\d+(?:mW)?)?(?!\S)")


def rails_of(line: str) -> dict[str, float]:
    """Watts by rail out of a line; empty where it tells none."""
    return {name: int(milliwatts) / 1e3 for name, milliwatts in _RAIL.findall(line) if name != "NC"}


@contextmanager
def tegrastats(interval_s: float) -> Iterator[dict[str, Probe | str]]:
    """Probes `power_w.RAIL` that read the newest line of the program, which runs for as long as they are used.

    One entry that says why, where the program is not there, tells no rail or is silent.
    """
    program = shutil.which(PROGRAM) or shutil.which(f"/usr/bin/{PROGRAM}")
    if program is None:
        yield {"power_w": f"the kernel shows no power rail, and {PROGRAM} is not here"}
        return
    command = [program, "--interval", str(max(1, round(interval_s * 1000)))]
    quiet = subprocess.DEVNULL
    # In a session of its own, so that what it may have started ends with it: that would hold its stream open.
    with subprocess.Popen(
        command, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet, text=True, start_new_session=True
    ) as process:
        lines = _Lines(process, interval_s)
        try:
            yield lines.probes()
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            lines.thread.join()  # before its stream is closed


class _Lines:
    """Reads the program's lines in a thread, which ends with the program."""

    def __init__(self, process: subprocess.Popen[str], interval_s: float) -> None:
        self._process = process
        self._patience_s = 3 * interval_s + 1
        self._first = threading.Event()
        self._newest: tuple[float, dict[str, float]] = 0.0, {}
        self.thread = threading.Thread(target=self._read, name="helmsight-tegrastats", daemon=True)
        self.thread.start()

    def probes(self) -> dict[str, Probe | str]:
        if not self._first.wait(FIRST_LINE_S):
            return {"power_w": f"{PROGRAM} said nothing in {FIRST_LINE_S:g} s"}
        names = self._newest[1]
        return {f"power_w.{name}": self._probe(name) for name in names} or {"power_w": f"{PROGRAM} tells no power rail"}

    def _probe(self, name: str) -> Probe:
        def probe() -> float:
            then, values = self._newest
            if time.monotonic() - then > self._patience_s:
                raise OSError(f"{PROGRAM} fell silent")
            if name not in values:
                raise OSError(f"{PROGRAM} does not tell {name} any more")
            return values[name]

        return probe

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._newest = time.monotonic(), rails_of(line)
            self._first.set()
        self._first.set()  # it ended: nobody waits for more
