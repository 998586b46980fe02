"""Every command that README and docs/ show is run, and ends as the page says; so is their Python.

A page's ```console fences, and its ```python fences that import helmsight, share a folder and run in their order. A
comment on the lines before a fence says what is special: `<!-- exit 4 -->` the exit code of its last command,
`<!-- needs: sim -->` the extras without which it is skipped, `<!-- instead: COMMAND -->` (once or more, in order) what
is run in place of a fence that takes long, and `<!-- long -->` not run at all.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
TIMEOUT_S = 300
MODULE_OF_EXTRA = {
    "cpu": "onnxruntime",
    "train": "torch",
    "sim": "miniworld",
    "plot": "matplotlib",
    "track": "trackers",
    "gpu": "pynvml",
    "sign": "model_signing",
    "tk1": "ziglang",
    "rtx": "tensorrt_rtx",
    "openvino": "openvino",
}


@dataclass(frozen=True)
class Fence:
    """Commands of one fence; `line` is where it begins in its page."""

    page: Path
    line: int
    commands: tuple[str, ...]
    exit_code: int = 0
    long: bool = False
    needs: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page.name}:{self.line}"


def fences(page: Path) -> list[Fence]:
    lines = page.read_text().splitlines()
    found = []
    start = None
    for number, line in enumerate(lines):
        if start is None and line.strip() in ("```console", "```python"):
            start = number
        elif start is not None and line.strip() == "```":
            body = lines[start + 1 : number]
            told = commands(body) if lines[start].strip() == "```console" else program(body)
            if told:
                found.append(Fence(page, start + 1, told, **notes(lines[:start])))
            start = None
    assert start is None, f"{page}:{start} is not closed"
    return found


def commands(body: list[str]) -> tuple[str, ...]:
    """What follows `$ `, a line that ends with a backslash going on in the next; the rest is output."""
    found: list[str] = []
    open_line = False
    for line in (text.strip() for text in body):
        if open_line:
            found[-1] += "\n" + line
        elif line.startswith("$ "):
            found.append(line[2:])
        else:
            continue
        open_line = line.endswith("\\")
    return tuple(found)


def program(body: list[str]) -> tuple[str, ...]:
    """The command that runs Python code; none when the code does not import helmsight."""
    code = "\n".join(body)
    return (f"python -c {shlex.quote(code)}",) if re.search(r"^(import|from) helmsight\b", code, re.MULTILINE) else ()


def notes(before: list[str]) -> dict[str, Any]:
    """What the comments directly before a fence say."""
    said: dict[str, Any] = {}
    for line in reversed(before):
        comment = re.fullmatch(r"<!--\s*(.*?)\s*-->", line.strip())
        if comment is None:
            break
        text = comment.group(1)
        if code := re.fullmatch(r"exit (\d+)", text):
            said["exit_code"] = int(code.group(1))
        elif text == "long":
            said["long"] = True
        elif text.startswith("needs:"):
            said["needs"] = tuple(part.strip() for part in text.removeprefix("needs:").split(","))
        elif text.startswith("instead:"):
            said["instead"] = (text.removeprefix("instead:").strip(), *said.get("instead", ()))
    return said


def missing(extra: str) -> str | None:
    """Why what `extra` brings cannot be used here, or None."""
    module = MODULE_OF_EXTRA[extra]
    if importlib.util.find_spec(module) is None:
        return f"{module} of helmsight[{extra}] is not installed"
    if extra == "sim" and ctypes.util.find_library("EGL") is None:
        return "the simulator needs libEGL"
    if extra == "tk1" and not runner_is_built():
        return "helmsight-run is not built, which takes longer than a page may; make test-runner builds it"
    return None


def runner_is_built() -> bool:
    from helmsight.export.native import PLATFORMS, cached_runner

    return cached_runner(PLATFORMS["armv7l"]) is not None


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """The folder that the commands of a page share."""
    return cache(lambda page: tmp_path_factory.mktemp(page.stem))


@pytest.mark.parametrize("fence", [fence for page in PAGES for fence in fences(page)], ids=str)
def test_commands_of_the_page_run(fence, folder_of):
    if fence.long:
        pytest.skip(f"long: {len(fence.commands)} commands")
    for reason in filter(None, map(missing, fence.needs)):
        pytest.skip(reason)
    to_run = fence.instead or fence.commands
    for number, command in enumerate(to_run, 1):
        done = run(command, folder_of(fence.page))
        expected = fence.exit_code if number == len(to_run) else 0
        said = f"$ {command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert done.returncode == expected, f"{fence}: exit {done.returncode}, expected {expected}\n{said}"


def test_fences_are_read_as_written(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "text\n\n<!-- exit 4 -->\n<!-- needs: sim, train -->\n```console\n$ one \\\n    --two\noutput\n$ three\n```\n"
        "<!-- long -->\n```console\n$ four\n```\n\n```python\n$ not a command\n```\n"
        "<!-- instead: 5 -->\n<!-- instead: 6 -->\n```console\n$ five\n```\n"
        '<!-- needs: cpu -->\n```python\nfrom helmsight.devices import errors\nprint("it\'s")\n```\n'
    )
    one, four, five, six = fences(page)
    assert one.commands == ("one \\\n--two", "three")
    assert (one.exit_code, one.needs, one.long) == (4, ("sim", "train"), False)
    assert (four.commands, four.long, four.exit_code) == (("four",), True, 0)
    assert (five.commands, five.long, five.instead) == (("five",), False, ("5", "6"))
    assert str(one) == "page.md:5"
    assert six.needs == ("cpu",)
    assert run(six.commands[0], tmp_path).stdout == "it's\n"


def test_a_command_that_fails_is_seen(tmp_path):
    assert run("helmsight no-such-command", tmp_path).returncode == 2
    assert run("test -t 0", tmp_path).returncode == 1
