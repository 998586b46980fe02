"""The program for the oldest board, as the cache has it, run as on that board's processor by qemu."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helmsight.export.artefacts import Order
from helmsight.export.artefacts.ncnn import emulated, make
from helmsight.export.native import NAME, PLATFORMS, cached_runner
from helmsight.export.targets import check_targets
from helmsight.runtime.bundle import Bundle, open_bundle
from helmsight.runtime.parity import Tolerance
from helmsight.runtime.results import Image
from helmsight.runtime.tasks import task_for

PACKAGES = ("ziglang", "cmake", "ninja", "pnnx", "onnx", "onnxruntime", "cv2")
PLATFORM = PLATFORMS["armv7l"]
SHIPPED = ("face", "navigate")
FRAMES = 4


@dataclass(frozen=True)
class Deployed:
    """A folder as it is copied to the board, and how to run it here."""

    folder: Path
    bundle: Bundle
    record: dict[str, Any]
    before: tuple[str, ...]

    def command(self, *arguments: str | Path, environment: Sequence[str] = ()) -> list[str]:
        emulator = [*self.before, *(part for setting in environment for part in ("-E", setting))]
        return [*emulator, str(self.folder / NAME), *map(str, arguments)]

    def run(
        self, *arguments: str | Path, sent: bytes = b"", environment: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        command = self.command(*arguments, environment=environment)
        return subprocess.run(command, input=sent, capture_output=True, timeout=120, check=False)

    def lines(self, *arguments: str | Path, sent: bytes = b"", environment: Sequence[str] = ()) -> list[dict[str, Any]]:
        done = self.run(*arguments, sent=sent, environment=environment)
        assert done.returncode == 0, done.stderr.decode()
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def before() -> tuple[str, ...]:
    """What stands before a program for the board."""
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed; the runner is built and compared with the extras tk1, train, cpu")
    found = emulated(PLATFORM)
    if found is None:
        pytest.skip(f"{PLATFORM.emulator[0]} of qemu-user or {PLATFORM.root} of libc6-armhf-cross is not here")
    return tuple(found)


@pytest.fixture(scope="session")
def built(before: tuple[str, ...]) -> Path:
    """The folder with the program. Building it takes minutes, so that is not done here."""
    found = cached_runner(PLATFORM)
    if found is None:
        pytest.skip(f"not built for {PLATFORM.machine} yet; make test-runner builds it and runs this")
    return found


@pytest.fixture(scope="session")
def frames() -> list[Image]:
    """Frames of the clip that ships."""
    cv2 = pytest.importorskip("cv2")
    capture = cv2.VideoCapture(str(Path(open_bundle("face").path).parent / "corridor.mp4"))
    found = []
    for index in range(FRAMES * 20):
        ok, image = capture.read()
        assert ok
        if index % 20 == 0:
            found.append(image)
    return found


@pytest.fixture(scope="session")
def deployed(
    built: Path, before: tuple[str, ...], frames: list[Image], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Deployed]:
    """Both networks that ship, made for the board as export makes them."""
    found = {}
    for name in SHIPPED:
        bundle = open_bundle(name)
        task = task_for(bundle.manifest)
        folder = tmp_path_factory.mktemp(name)
        feeds = [{key: np.array(value) for key, value in task.prepare(image).items()} for image in frames]
        (target,) = check_targets(["jetson-tk1"], "fp32")
        record = make(Order(bundle, target, folder, feeds, Tolerance(atol=1e-4, rtol=0), print))
        found[name] = Deployed(folder, bundle, dict(record), before)
    return found


def ppm(path: Path, image: Image) -> Path:
    """Write a picture without losing anything."""
    header = f"P6\n# a comment\n{image.shape[1]} {image.shape[0]}\n255\n".encode()
    path.write_bytes(header + image[:, :, ::-1].tobytes())
    return path
