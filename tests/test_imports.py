"""Imports point one way, and what runs on a board imports nothing heavy."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "devices": {"devices"},
    "runtime": {"runtime", "devices"},
    "export": {"export", "runtime", "devices"},
    "train": {"train", "runtime", "devices"},
    "cli": {"cli", "train", "export", "runtime", "devices"},
}
BLOCKED = (
    *("torch", "onnx", "onnxruntime", "onnxscript", "tensorrt", "tensorrt_rtx", "pycuda", "cuda", "cv2", "matplotlib"),
    *("miniworld", "pyglet", "gymnasium", "pynvml", "safetensors", "tensorboard", "openvino"),
)
DRAWING = {"runtime.sim.scene", "runtime.sim.framebuffer"}
"""OpenGL is the whole of these files; `runtime/sim/simulator.py` imports them once it has checked for it."""


def modules(folder: str) -> dict[str, Path]:
    """Dotted name below `helmsight` and file of every module."""
    found = {}
    for file in sorted((ROOT / folder).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(name: str, file: Path) -> set[tuple[str, int]]:
    """Folder and line of every import of a part of helmsight, inside functions too."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [
                alias.name.removeprefix("helmsight.") for alias in node.names if alias.name.startswith("helmsight.")
            ]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
            base = [part for part in base if part]
            targets = [".".join(base)] if base else [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "helmsight":
            below = node.module.split(".")[1:]
            targets = [".".join(below)] if below else [alias.name for alias in node.names]
        found |= {(target.split(".")[0], node.lineno) for target in targets}
    return found


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_point_one_way(folder):
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {target}"
        for name, file in modules(folder).items()
        for target, line in imported(name, file)
        if target in MAY_IMPORT and target not in MAY_IMPORT[folder]
    ]
    assert wrong == []


def test_the_check_sees_each_way_to_write_an_import(tmp_path):
    file = tmp_path / "x.py"
    file.write_text(
        "from ..train import a\nfrom .. import export\nimport helmsight.cli.main\n"
        "from helmsight import devices\ndef f():\n    from helmsight.runtime.sim import b\n    from . import c\n"
    )
    expected = {("train", 1), ("export", 2), ("cli", 3), ("devices", 4), ("runtime", 6)}
    assert expected <= imported("runtime.x", file)


def test_boards_import_everything_they_need_without_heavy_packages():
    found = {name for folder in ("devices", "runtime", "export", "cli") for name in modules(folder)}
    names = [f"helmsight.{name}" for name in sorted(found - DRAWING)]
    code = """
import importlib, importlib.abc, json, sys
blocked, names = json.loads(sys.argv[1])

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
failed = {}
for name in names:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
print(json.dumps(failed))
"""
    command = [sys.executable, "-c", code, json.dumps([BLOCKED, names])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(names) > 30
    assert json.loads(done.stdout) == {}
