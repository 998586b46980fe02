"""A bundle for engines, and TensorRT replaced by the fake."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from helmsight.runtime.bundle import Bundle, Manifest, TensorSpec, write_bundle
from helmsight.runtime.engines.source import NetworkFile

from ...bundles import EMPTY_GRAPH
from .fakes import LAYERS, FakeCuda, fake_library


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """`x` (1, 3) to `y` (1, 3); its network is never parsed."""
    spec = TensorSpec("x", (1, 3), "float32"), TensorSpec("y", (1, 3), "float32")
    manifest = Manifest("doubler", "", spec[:1], spec[1:], parity={"cpu": {"precision": "fp32"}})
    return write_bundle(tmp_path / "d.bundle", manifest, {"model.onnx": EMPTY_GRAPH})


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of engines, of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "helmsight" / "engines"


class Machine:
    """A fake machine: change `cuda` or `library`, and the next build or load sees it."""

    def __init__(self) -> None:
        self.cuda = FakeCuda()
        self.product = fake_library(self.cuda)
        self.trials: list[Path] = []
        self.trial: dict[str, Any] = {"graph": True, "gpu_ms": 1.5, "layers": LAYERS}

    def try_engine(self, file: Path, digest: str, shapes: Any) -> dict[str, Any]:
        self.trials.append(file)
        assert file.is_file()
        return self.trial

    def compare(self, bundle: Bundle, file: NetworkFile, opened: Any) -> Mapping[str, Any]:
        """Not at all: networks here are outlines, which ONNX Runtime does not take; test_compared.py has real ones."""
        return {"n": 0, "why": "a fake machine"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Machine:
    """A machine with the fake of TensorRT, whose trials happen here and not in a child."""
    found = Machine()
    for module in ("helmsight.runtime.engines.build", "helmsight.runtime.backends.tensorrt"):
        monkeypatch.setattr(f"{module}.tensorrt", lambda: found.product)
        monkeypatch.setattr(f"{module}.open_cuda", lambda: found.cuda)
    monkeypatch.setattr("helmsight.runtime.engines.build.try_engine", found.try_engine)
    monkeypatch.setattr("helmsight.runtime.engines.build.compare", found.compare)
    return found
