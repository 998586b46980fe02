"""What a board's program, or a bundle for it, says: read, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helmsight.devices.errors import BadArtefact
from helmsight.runtime.backends import SessionOptions
from helmsight.runtime.bundle import open_bundle, write_bundle
from helmsight.runtime.profiler import Limits, ProfileOptions
from helmsight.runtime.profiler.address import parse_address
from helmsight.runtime.profiler.native import PROGRAM, _made_for, read_answer
from helmsight.runtime.profiler.remote import profile_on

from ...bundles import face_manifest
from ...sshd import Board, make_board

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


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    made = make_board(tmp_path / "board", monkeypatch)
    (made.bin / "uname").write_text("#!/bin/sh\necho riscv64\n")
    (made.bin / "uname").chmod(0o755)
    yield made
    made.stop()


def test_a_bundle_that_is_changed_before_its_layers_are_named_keeps_what_was_measured(
    board: Board, tmp_path: Path
) -> None:
    """The program there is a script that prints a record, and changes the bundle, which is on this machine."""
    shipped, folder = open_bundle("navigate"), "targets/b"
    layer = {"name": "conv_0", "type": "Convolution", "inputs": [], "outputs": []}
    run = {"begin_ns": 0, "end_ns": 9, "calls": [[0, 1, 8]]}
    told = {"layers": [layer], "runs": [run] * 9, "speed": {"gflops": 1, "gb_s": 1}, "seconds": 0.1}
    change = f"echo more >>'{tmp_path}/b.bundle/{folder}/model.param'"
    program = f"#!/bin/sh\n{change}\necho '{json.dumps(GOOD | {'layers': told})}'\n"
    shape = {"input": {"shape": list(shipped.manifest.inputs[0].shape)}}
    made = {"ncnn": {"precision": "fp32", "program": {"machine": "riscv64"}, "versions": {}}}
    files = {PROGRAM: program, "model.param": "-", "model.bin": "-", "model.json": json.dumps(shape)}
    bundle = write_bundle(
        tmp_path / "b.bundle",
        replace(shipped.manifest, parity={"b": {"precision": "fp32", "artefacts": made}}),
        {"model.onnx": shipped.read_model(), **{f"{folder}/{name}": text.encode() for name, text in files.items()}},
    )
    options = ProfileOptions(SessionOptions("cpu", 1), Limits(0, 2))
    (one,), (error,) = profile_on([parse_address(board.uri)], [bundle], options, lambda _: None, layers=True)
    assert (one.profile.samples.shape, one.profile.layers, one.trace) == ((2, 1), None, ())
    assert isinstance(error, BadArtefact)
    assert "model.param" in str(error)
