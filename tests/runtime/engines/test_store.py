"""Where engines are kept, and by what key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from helmsight.devices.errors import BadArtefact
from helmsight.runtime.engines.store import EngineKey, Store


def test_a_folder_that_others_may_write_into_is_refused(cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    with pytest.raises(BadArtefact, match="can be written by others"):
        Store()
    cache.chmod(0o755)
    assert Store().folder.stat().st_mode & 0o777 == 0o700


def test_a_write_that_fails_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    store.write("one.engine", b"old")

    def full(self: Path, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        store.write("one.engine", b"new")
    assert [file.name for file in cache.iterdir()] == ["one.engine"]
    assert store.read("one.engine") == b"old"


def test_a_key_is_another_when_any_part_is() -> None:
    key = EngineKey("a" * 64, "TensorRT", "10.3", "8.7", "fp16", {"x": (1, 3)})
    changes = [
        {"onnx_sha256": "b" * 64},
        {"product": "TensorRT-RTX"},
        {"version": "10.4"},
        {"compute_capability": "8.6"},
        {"precision": "int8"},
        {"shapes": {"x": (1, 4)}},
    ]
    keys = [key.id, *(replace(key, **change).id for change in changes)]
    assert len(set(keys)) == len(keys)
