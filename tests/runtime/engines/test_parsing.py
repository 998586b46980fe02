"""What is parsed, what is told of a network that a parser does not take, and how its builder is set up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from helmsight.devices.errors import BadArtefact
from helmsight.runtime.bundle import Bundle, write_bundle
from helmsight.runtime.engines.build import build
from helmsight.runtime.engines.network import own_kernels
from helmsight.runtime.engines.source import network_file

from ...bundles import EMPTY_GRAPH, open_face_manifest
from .conftest import Machine
from .fakes import OldConfig, fake_library


def test_what_export_made_for_tensorrt_is_what_is_built(bundle: Bundle, machine: Machine, tmp_path: Path) -> None:
    assert (network_file(bundle, machine.product).name, network_file(bundle, machine.product).precision) == (
        "model.onnx",
        "fp32",
    )
    both = {"tensorrt": {"precision": "int8"}, "tensorrt-rtx": {"precision": "fp16"}}
    parity = {"cpu": {"precision": "fp32"}, "dgx-a100": {"precision": "mixed", "artefacts": both}}
    casts_first = EMPTY_GRAPH + b"\x08\x09"
    files: dict[str, Path | bytes] = {"model.onnx": EMPTY_GRAPH, "targets/dgx-a100/tensorrt.onnx": casts_first}
    made = write_bundle(tmp_path / "t.bundle", replace(bundle.manifest, parity=parity), files)
    found = network_file(made, machine.product)
    assert (found.name, found.data, found.precision) == ("targets/dgx-a100/tensorrt.onnx", casts_first, "int8")
    (made.path / found.name).write_bytes(b"swapped")
    with pytest.raises(BadArtefact, match="was changed after it was checked"):
        network_file(made, machine.product)


def test_a_bundle_without_a_file_for_tensorrt_that_is_not_taken_says_how_to_get_one(
    bundle: Bundle, machine: Machine
) -> None:
    error = SimpleNamespace(
        desc=lambda: "it has type UInt8", node_name=lambda: "permute", node_operator=lambda: "Transpose"
    )
    machine.product.module.OnnxParser = lambda network, log: SimpleNamespace(
        parse=lambda data: False, num_errors=1, get_error=lambda i: error
    )
    with pytest.raises(BadArtefact) as caught:
        build(bundle)
    said = "node 'permute' (Transpose: it has type UInt8); the bundle has no file for TensorRT: export it with -t for"
    assert said in str(caught.value)


def test_8_x_that_does_not_take_an_open_size_says_how_to_fix_it(machine: Machine, tmp_path: Path) -> None:
    error = SimpleNamespace(desc=lambda: "", node=lambda: 58)
    machine.product = fake_library(machine.cuda, "8.5.3.1")
    machine.product.module.OnnxParser = lambda network, log: SimpleNamespace(
        parse=lambda data: False, num_errors=1, get_error=lambda i: error
    )
    made = write_bundle(tmp_path / "f.bundle", open_face_manifest(), {"model.onnx": EMPTY_GRAPH})
    with pytest.raises(
        BadArtefact, match=r"node 58 \(not supported\); its picture's size is open: .* -t jetson-agx-xav"
    ):
        build(made)


def test_an_engine_of_8_5_takes_no_kernels_of_cublas_and_cudnn() -> None:
    config = OldConfig()
    sources = SimpleNamespace(CUBLAS=0, CUBLAS_LT=1, CUDNN=2, EDGE_MASK_CONVOLUTIONS=3, JIT_CONVOLUTIONS=4)
    feature = SimpleNamespace(DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805="external")
    own_kernels(SimpleNamespace(PreviewFeature=feature, TacticSource=sources), config)
    assert config.sources == 0b11000, "its own stay"
    assert config.features == {"external": True}
    own_kernels(SimpleNamespace(PreviewFeature=SimpleNamespace()), config)  # as in 10, where the rule is NVIDIA's own
