"""The ways to CUDA: every name that is used is in NVIDIA's own package, and without a driver one line says so."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from helmsight.devices.errors import DeviceMismatch
from helmsight.runtime.engines import _cuda


@pytest.fixture
def runtime() -> ModuleType:
    return pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed", exc_type=ImportError)


def test_every_name_is_in_cuda_bindings(runtime: ModuleType) -> None:
    tree = ast.parse(Path(_cuda.__file__).read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("cuda")}
    groups = {name for name in used if isinstance(getattr(runtime, name, None), type)}
    assert {"cudaDeviceAttr", "cudaMemcpyKind", "cudaStreamCaptureMode"} <= groups
    known = {name for group in groups for name in dir(getattr(runtime, group))} | set(dir(runtime))
    assert len(used) > 20
    assert used - known - {"cuda"} == set(), "of which `cuda` is a field of ours"


def test_without_a_gpu_one_line_says_why(runtime: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    status, count = runtime.cudaGetDeviceCount()
    if not int(status) and count:
        pytest.skip("a GPU is here")
    with pytest.raises(DeviceMismatch, match=r"^no NVIDIA GPU can be used here \(.+\)$"):
        _cuda.open_cuda()


def test_without_a_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> ModuleType:
        if name.startswith(("cuda", "pycuda")):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return import_module(name)

    monkeypatch.setattr(_cuda, "import_module", absent)
    with pytest.raises(
        DeviceMismatch, match=r"No module named 'cuda\.bindings.*\[tensorrt\]' brings cuda-bindings, pyc"
    ):
        _cuda.open_cuda()
