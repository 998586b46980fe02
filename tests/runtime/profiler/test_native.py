"""What a board's program, or a bundle for it, says: read, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helmsight.devices.errors import BadArtefact
from helmsight.runtime.bundle import write_bundle
from helmsight.runtime.profiler.native import _made_for, read_answer

from ...bundles import face_manifest

GOOD: dict[str, Any] = {
    "precision": "fp32",
    "threads": 4,
    "warm_up": {"queries": 9, "seconds": 0.3, "stable": True, "tolerance": 0.05},
    "overhead": {"per_query_us": 0.1, "in_sample_us": 0.05},
    "duration_s": 1.5,
    "samples_ns": [700_000_000, 800_000_000],
}


def test_keys_that_are_not_known_are_left_out() -> None:
    later = {**GOOD, "more": 1, "warm_up": {**GOOD["warm_up"], "spread": 0.1}}
    assert {key: read_answer(json.dumps(later).encode())[key] for key in GOOD} == GOOD


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"samples_ns": [5, -5]}, "sample in seconds is -5e-09; expected 0 to"),
        ({"samples_ns": [5, 2**62]}, "sample in seconds is 4.6"),
        ({"samples_ns": [2**70]}, "the number 1180591620717411303"),
        ({"samples_ns": []}, "0 items"),
        ({"duration_s": float("nan")}, "NaN"),
        ({"duration_s": 1e300}, "duration_s is 1e+300"),
        ({"threads": -1}, "threads is -1"),
        ({"overhead": {"per_query_us": -1, "in_sample_us": 0}}, "per_query_us is -1"),
        ({"warm_up": {}}, "has no queries"),
    ],
)
def test_what_no_run_can_have_taken_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("+", r"\+")):
        read_answer(json.dumps(GOOD | changed).encode())


@pytest.mark.parametrize("printed", [b"", b"[]", b"x", b"\xff", b"[" * 100_000])
def test_what_is_no_record_is_refused(printed: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        read_answer(printed)


@pytest.mark.parametrize("told", ["{}", "[]", '{"input": {"shape": "1x3"}}', '{"input": {"shape": [1.5]}}'])
def test_a_model_that_does_not_tell_its_shape(tmp_path: Path, told: str) -> None:
    bundle = write_bundle(tmp_path / "m.bundle", face_manifest(), {"model.onnx": b"-", "model.json": told.encode()})
    with pytest.raises(BadArtefact, match=r"m.bundle: model.json.*; export the bundle again"):
        _made_for(bundle, "model.json")
