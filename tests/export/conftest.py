"""A folder with networks to export, entered for the test, and what was imported from it forgotten afterwards."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NETS = Path(__file__).with_name("nets.py")


@contextmanager
def entered(path: Path) -> Iterator[Path]:
    """`path` as the working directory, with `nets.py` in it."""
    shutil.copy(NETS, path / "nets.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.syspath_prepend(path)
        yield path
    for name in ("nets", "broken", "needy"):
        sys.modules.pop(name, None)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The working directory, with `nets.py` in it."""
    pytest.importorskip("torch", reason="export needs the train extra")
    with entered(tmp_path) as path:
        yield path


def write_checkpoint(folder: Path, **changes: Any) -> Path:
    """A checkpoint of nets.driver in `folder`/runs/tiny; a change to None leaves that key out."""
    import nets
    from safetensors.torch import save_file

    run = folder / "runs" / "tiny"
    run.mkdir(parents=True)
    save_file(nets.driver(width=6).state_dict(), run / "model.safetensors")
    image = {"name": "image", "shape": [1, 24, 32, 3], "dtype": "uint8", "layout": "NHWC", "colour": "BGR"}
    shapes = {"steer": [1, 1], "collision": [1, 1], "free_space": [1, 12, 16]}
    record = {
        "schema_version": 1,
        "name": "tiny",
        "task": "navigate",
        "model": "nets:driver",
        "config": {"width": 6},
        "inputs": [image | {"range": [0, 255]}],
        "outputs": [{"name": name, "shape": shape, "dtype": "float32"} for name, shape in shapes.items()],
        "decoding": {},
        "metrics": {"steer_rmse": {"value": 0.5, "data": "noise", "n": 8}},
        "samples": "nets:samples",
        "score": "nets:score",
        "provenance": {"seed": 3, "data": {"frames": 10}},
        "limits": ["It knows noise only."],
    } | changes
    (run / "checkpoint.json").write_text(json.dumps({k: v for k, v in record.items() if v is not None}))
    return run


@pytest.fixture
def checkpoint(folder: Path) -> Path:
    """A whole checkpoint, `runs/tiny`."""
    return write_checkpoint(folder)
