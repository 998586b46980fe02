"""Which file of a bundle a version of TensorRT builds from, and what it is told that reads none of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from helmsight.devices.errors import BadArtefact, DeviceMismatch
from helmsight.runtime.bundle import Bundle, TensorSpec, write_bundle
from helmsight.runtime.engines.build import build
from helmsight.runtime.engines.network import Parsed, configure
from helmsight.runtime.engines.source import network_file, newest_opset

from ...bundles import outline
from .conftest import Machine
from .fakes import FakeCuda, fake_library

OLDER = "targets/jetson-agx-xavier/trtexec.onnx"


@pytest.mark.parametrize(
    ("version", "opset"), [("8.5.3.1", 17), ("8.6.1.6", 17), ("10.0.1.6", 20), ("10.16.1.11", 24), ("11.4.0.1", 24)]
)
def test_what_a_version_reads(version: str, opset: int) -> None:
    assert newest_opset(fake_library(FakeCuda(), version)) == opset


def test_a_newer_operator_set_is_refused_with_the_command_that_writes_an_older_one(
    bundle: Bundle, machine: Machine, tmp_path: Path
) -> None:
    made = write_bundle(tmp_path / "n.bundle", bundle.manifest, {"model.onnx": outline(18)})
    assert build(made).fresh, "10.3 reads it"
    machine.product = fake_library(machine.cuda, "8.6.1.6")
    with pytest.raises(DeviceMismatch) as caught:
        build(made)
    assert str(caught.value) == (
        f"{made.path}/model.onnx is of ONNX opset 18, TensorRT 8.6.1.6 reads up to 17 and may read what came later as "
        "something else without an error; write one that it reads, of one size, where torch is installed: helmsight "
        f"export {made.path} -t jetson-agx-xavier/trtexec -o doubler-trt8.bundle"
    )
    lower = replace(made, manifest=replace(made.manifest, provenance={"export": {"precision": "int8"}}))
    with pytest.raises(DeviceMismatch, match=r"export ITS-SOURCE -t jetson-agx-xavier/trtexec --precision int8 -o"):
        build(lower)
    newest = write_bundle(tmp_path / "x.bundle", bundle.manifest, {"model.onnx": outline(25)})
    with pytest.raises(DeviceMismatch, match=r"opset 25, TensorRT 11\.4\.0\.1 reads up to 24 .* with --opset 18"):
        network_file(newest, fake_library(machine.cuda, "11.4.0.1"))


@pytest.mark.parametrize(
    ("version", "takes", "opset", "name"),
    [
        ("8.5.3.1", "float32", 17, OLDER),
        ("10.3.0.30", "float32", 17, "targets/dgx-a100/tensorrt.onnx"),
        ("8.5.3.1", "float16", 13, None),
    ],
)
def test_8_x_builds_from_the_file_of_jetpack_5(
    bundle: Bundle, tmp_path: Path, version: str, takes: str, opset: int, name: str | None
) -> None:
    older = {"trtexec": {"precision": "fp32", "inputs": {"x": takes}}}
    parity = {"cpu": {"precision": "fp32"}, "jetson-agx-xavier": {"precision": "fp32", "artefacts": older}}
    files: dict[str, Path | bytes] = {
        "model.onnx": outline(18),
        "targets/dgx-a100/tensorrt.onnx": outline(18),
        OLDER: outline(opset),
    }
    made = write_bundle(tmp_path / "t.bundle", replace(bundle.manifest, parity=parity), files)
    library = fake_library(FakeCuda(), version)
    if name is None:
        with pytest.raises(DeviceMismatch, match=r"tensorrt\.onnx is of ONNX opset 18"):
            network_file(made, library)
    else:
        assert network_file(made, library).name == name


@pytest.mark.parametrize(
    ("version", "takes", "opset", "name"),
    [
        ("10.3.0.30", "float32", 18, "model.onnx"),
        ("11.4.0.1", "float32", 18, "model.onnx"),
        ("10.3.0.30", "float32", 21, OLDER),
        ("10.3.0.30", "uint8", 18, OLDER),  # its parser takes bytes for a cast only, which export put first there
        ("8.5.3.1", "float32", 17, OLDER),
    ],
)
def test_without_a_file_for_tensorrt_that_of_jetpack_5_is_for_who_cannot_read_the_bundle_itself(
    bundle: Bundle, tmp_path: Path, version: str, takes: str, opset: int, name: str
) -> None:
    older = {"trtexec": {"precision": "fp32", "inputs": {"x": takes}}}
    parity = {"cpu": {"precision": "fp32"}, "jetson-agx-xavier": {"precision": "fp32", "artefacts": older}}
    manifest = replace(bundle.manifest, inputs=(TensorSpec("x", (1, 3), takes),), parity=parity)
    files: dict[str, Path | bytes] = {"model.onnx": outline(opset), OLDER: outline(17)}
    made = write_bundle(tmp_path / "t.bundle", manifest, files)
    assert network_file(made, fake_library(FakeCuda(), version)).name == name


def test_a_file_of_one_size_is_built_for_that_only() -> None:
    given = SimpleNamespace(name="image", shape=(1, 240, 320, 3))
    network = SimpleNamespace(num_inputs=1, num_layers=0, get_input=lambda i: given)
    library = fake_library(FakeCuda())
    parsed = Parsed(library, None, library.module.Builder(None), network, None)
    assert configure(parsed, {"image": (1, 240, 320, 3)}).flags == set()
    with pytest.raises(DeviceMismatch, match=r"has one size, image 1x240x320x3, not 1x256x192x3; leave --imgsz out"):
        configure(parsed, {"image": (1, 256, 192, 3)})
    given.shape = (1, -1, -1, 3)
    with pytest.raises(BadArtefact, match="input image is open, and is not among picture"):
        configure(parsed, {"picture": (1, 240, 320, 3)})
