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
    files: dict[str, Path | bytes] = {"model.onnx": b"network"}
    files |= {f"targets/{t}/tensorrt-rtx.engine": t.encode() for t in ("dgx-a100", "dgx-spark")}
    return write_bundle(tmp_path / "rtx.bundle", replace(bundle.manifest, parity=parity), files)


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
            "8.6",
            "1.7",
            r"for compute capability 8\.6, which is here \(it has: 12\.1, 8\.0\); export it .* -t rtx-sm86$",
        ),
        ("8.0", "1.8", r"was built by TensorRT-RTX 1\.7 \(here 1\.8\); export it again with -t rtx-sm80$"),
    ],
)
def test_none_that_fits_is_refused_with_both_values(built: Bundle, capability: str, version: str, said: str) -> None:
    with pytest.raises(DeviceMismatch, match=said):
        rtx_engine(built, capability, version)


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
