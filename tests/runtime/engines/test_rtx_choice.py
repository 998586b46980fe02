"""Which engine of TensorRT-RTX in a bundle is for this GPU; nothing is loaded here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helmsight.devices.errors import BadArtefact, DeviceMismatch
from helmsight.runtime.bundle import Bundle, write_bundle
from helmsight.runtime.engines.source import rtx_engine


@pytest.fixture
def built(bundle: Bundle, tmp_path: Path) -> Bundle:
    def record(capability: str) -> dict[str, Any]:
        one = {"compute_capability": capability, "versions": {"TensorRT-RTX": "1.7"}, "precision": "fp16"}
        return {"precision": "fp16", "artefacts": {"tensorrt-rtx": one}}

    parity = {"cpu": {"precision": "fp16"}, "dgx-a100": record("8.0"), "dgx-spark": record("12.1")}
    provenance = {"export": {"precision": "fp16"}}
    files: dict[str, Path | bytes] = {"model.onnx": b"network"}
    files |= {f"targets/{t}/tensorrt-rtx.engine": t.encode() for t in ("dgx-a100", "dgx-spark")}
    return write_bundle(tmp_path / "rtx.bundle", replace(bundle.manifest, parity=parity, provenance=provenance), files)


def test_the_engine_of_this_gpu_is_taken(built: Bundle) -> None:
    found = rtx_engine(built, "12.1", "1.7")
    assert (found.name, found.data, found.precision) == (
        "targets/dgx-spark/tensorrt-rtx.engine",
        b"dgx-spark",
        "fp16",
    )


@pytest.mark.parametrize(
    ("capability", "version", "said"),
    [
        (
            *("8.6", "1.7"),
            "has no engine of TensorRT-RTX for compute capability 8.6, which is here (it has: 8.0, 12.1); make it, "
            "where helmsight[rtx,train] is installed: helmsight export ITS-SOURCE -t rtx-sm86 --precision fp16 -o "
            "doubler-rtx-sm86.bundle",
        ),
        (
            *("9.0", "1.7"),
            "(it has: 8.0, 12.1); it is built for 7.5, 8.0, 8.6, 8.9, 12.0, 12.1 only; use --device tensorrt",
        ),
        (
            *("8.0", "1.8"),
            "was built by TensorRT-RTX 1.7 (here 1.8); install that version, or with this one make it, where "
            "helmsight[rtx,train] is installed: helmsight export ITS-SOURCE -t rtx-sm80 --precision fp16 -o "
            "doubler-rtx-sm80.bundle",
        ),
    ],
)
def test_none_that_fits_is_refused_with_both_values(built: Bundle, capability: str, version: str, said: str) -> None:
    with pytest.raises(DeviceMismatch) as caught:
        rtx_engine(built, capability, version)
    assert str(caught.value).endswith(said)


def test_one_that_was_changed_or_is_not_listed_is_a_bad_artefact(built: Bundle) -> None:
    (built.path / "targets/dgx-a100/tensorrt-rtx.engine").write_bytes(b"swapped")
    with pytest.raises(BadArtefact, match="was changed after it was checked"):
        rtx_engine(built, "8.0", "1.7")
    bare = replace(built, manifest=replace(built.manifest, files={}))
    with pytest.raises(BadArtefact, match="cannot be read"):
        rtx_engine(bare, "12.1", "1.7")
    odd = replace(built, manifest=replace(built.manifest, parity={"cpu": "no record"}))
    with pytest.raises(BadArtefact, match="cannot be read"):
        rtx_engine(odd, "12.1", "1.7")
