"""Bundles and a clip that tests of every part share, made here in milliseconds; what `pytest -n` keeps together."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helmsight.runtime.bundle import Bundle, write_bundle

from .bundles import face_manifest, navigate_manifest


def pytest_configure() -> None:
    """Whoever starts the tests in the background of a shell has them, and all that they start, ignore Ctrl-C.

    Mesa draws in the thread that asks: its own threads would wait for the cores that the other tests have.
    """
    os.environ["LP_NUM_THREADS"] = "0"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


DRAW = ("test_navigate_sim.py", "test_sim_simulator.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What draws with OpenGL comes first: a process has loaded little else by then.

    Three whole runs lost a process at the first test of `test_navigate_sim.py`, then among the last: Python's own
    frames were overwritten. Alone, or after any one folder of tests, it never happened; the cause is not known.
    """
    items.sort(key=lambda item: item.path.name not in DRAW)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of a file run in one process and in their order, of the documentation those of a page."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFileOrPage(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            page = test.partition("[")[2].partition(":")[0]
            return f"{file}::{page}" if file.endswith("test_docs.py") else file

    return ByFileOrPage(config, log)


@pytest.fixture
def face_bundle(tmp_path: Path) -> Bundle:
    """A bundle for the fake back end."""
    return write_bundle(tmp_path / "f.bundle", face_manifest(), {"model.onnx": b"not read by the fake back end"})


@pytest.fixture
def navigate_bundle(tmp_path: Path) -> Bundle:
    """A bundle for the fake back end."""
    return write_bundle(tmp_path / "n.bundle", navigate_manifest(), {"model.onnx": b"not read by the fake back end"})


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve frames of 64x48 at 20 frames/s; frame i is grey with value 20 i."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
    for i in range(12):
        writer.write(np.full((48, 64, 3), 20 * i, np.uint8))
    writer.release()
    return path
