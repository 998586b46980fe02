"""What the C library keeps, each in a process of its own: its switches are the process's."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's switches")

HEAPS = """
import ctypes, sys, threading
from helmsight.runtime.heap import share_one_heap
libc = ctypes.CDLL(None)
if sys.argv[2] == "shared":
    share_one_heap()
together = threading.Barrier(8)
def work():
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in threads], [t.join() for t in threads]
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file), libc.fclose(file)
print(open(sys.argv[1]).read().count("<heap nr="))
"""

TRIM = """
from pathlib import Path
from helmsight.runtime.heap import give_back
def resident(): return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
blocks = [bytes(1000) for _ in range(50_000)]
kept = blocks[::1000]  # and so no whole end of the heap is free
full = resident()
blocks.clear()
give_back()
print(full - resident() > 40e6)
"""


def said(script: str, *arguments: str) -> str:
    # What the user set of the C library would stand in for what is called here.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return done.stdout.strip()


def test_threads_share_one_heap(tmp_path: Path) -> None:
    assert said(HEAPS, str(tmp_path / "info.xml"), "shared") == "1"
    assert int(said(HEAPS, str(tmp_path / "info.xml"), "as it is")) > 1


def test_free_memory_between_what_is_held_goes_back() -> None:
    assert said(TRIM) == "True"
