"""The command itself: its version, and what it tells OpenCV; the library leaves the environment alone."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from helmsight.cli import main as command
from helmsight.runtime.sources import open_source


def test_opencv_is_told_by_the_command_and_the_user_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", {"OPENCV_LOG_LEVEL": "INFO"})
    monkeypatch.setattr(command, "app", lambda: seen.update(os.environ))
    open_source("rtsp://127.0.0.1:9/x")
    assert os.environ == {"OPENCV_LOG_LEVEL": "INFO"}
    command.main()
    assert seen == {**command.OPENCV, "OPENCV_LOG_LEVEL": "INFO"}
    assert "fpsprobesize" in seen["OPENCV_FFMPEG_CAPTURE_OPTIONS"]


def test_version_is_that_of_the_package() -> None:
    done = subprocess.run([sys.executable, "-m", "helmsight", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{version('helmsight')}\n"
    assert done.stderr == ""
