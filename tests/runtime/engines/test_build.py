"""What is kept of a build, what refuses an engine, and what is left when one fails; around a fake of TensorRT."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, DeviceMismatch, GateFailed
from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import Bundle, TensorSpec, open_bundle, write_bundle
from helmsight.runtime.engines.build import build
from helmsight.runtime.engines.engine import Engine
from helmsight.runtime.engines.network import own_kernels
from helmsight.runtime.engines.progress import State
from helmsight.runtime.engines.source import network_file
from helmsight.runtime.engines.store import EngineKey, Store
from helmsight.runtime.engines.trial import try_engine

from ...bundles import EMPTY_GRAPH, open_face_manifest
from .conftest import Machine
from .fakes import PLAN, FakeCuda, OldConfig, fake_library

TENSORRT = SessionOptions("tensorrt")


def test_an_engine_is_built_once_tried_and_kept_private(bundle: Bundle, machine: Machine, cache: Path) -> None:
    shares: list[float] = []
    first = build(bundle, lambda state: shares.append(state.share))
    assert first.fresh
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert first.stored.record["real"] == {"fp32": 1}
    assert first.stored.record["precision"] == "fp32"
    assert first.stored.record["key"]["version"] == "10.3.0.30"
    assert len(machine.trials) == 1
    assert not machine.trials[0].exists(), "it was tried under another name"
    assert not build(bundle).fresh
    assert len(machine.trials) == 1
    assert build(bundle, force=True).fresh
    assert cache.stat().st_mode & 0o777 == 0o700
    files = sorted(file.name for file in cache.iterdir())
    key = first.stored.file.stem
    assert files == [f"{key}.engine", f"{key}.json", "timing-TensorRT-10.3.0.30-8.7.cache"]
    assert (cache / files[-1]).read_bytes() == b"..", "each build goes on from the last one's timings"
    assert all(file.stat().st_mode & 0o077 == 0 for file in cache.iterdir())


def test_a_version_that_does_not_tell_how_far_it_is_says_so(bundle: Bundle, machine: Machine) -> None:
    machine.product = fake_library(machine.cuda, "8.5.3.1")
    del machine.product.module.IProgressMonitor
    told: list[State] = []
    build(bundle, told.append)
    assert [(state.share, state.phase) for state in told] == [
        (0.0, "building: TensorRT 8.5.3.1 does not tell how far it is, minutes may pass")
    ]


def test_the_engine_runs_as_a_session(bundle: Bundle, machine: Machine) -> None:
    build(bundle)
    with load(bundle, TENSORRT) as session:
        assert (session.device, session.precision) == ("tensorrt", "fp32")
        x = np.array([[1, 2, 3]], np.float32)
        made = session.run({"x": x})["y"]
        np.testing.assert_array_equal(made, 2 * x)
        session.run({"x": x + 1})
        np.testing.assert_array_equal(made, 2 * x), "an output is the caller's to keep"
        assert machine.cuda.launches == 2
        assert session.gpu_ms == 1.0
        with pytest.raises(ValueError, match="no feed for input x"):
            session.run({})
        with pytest.raises(BadArtefact, match=r"input x is float64 \(1, 3\), the engine takes float32 \(1, 3\)"):
            session.run({"x": x.astype(float)})
    session.close()
    with pytest.raises(RuntimeError, match="closed"):
        session.run({"x": x})
    assert not machine.cuda.memories
    assert machine.cuda.pinned_count == machine.cuda.streams == machine.cuda.events == 0


def test_an_engine_that_cannot_be_made_ready_gives_back_what_it_took(machine: Machine) -> None:
    for plan, shapes, said in (
        (PLAN, {"y": (1, 3)}, "not built for input x of shape None"),
        (b"", {}, "does not take"),
    ):
        with pytest.raises(DeviceMismatch, match=said):
            Engine(machine.product, machine.cuda, plan, shapes)

    def full(size_bytes: int) -> None:
        raise RuntimeError("cudaMalloc: out of memory")

    memory, machine.cuda.memory = machine.cuda.memory, full  # type: ignore[method-assign, assignment]
    with pytest.raises(DeviceMismatch, match="does not run the engine: cudaMalloc: out of memory"):
        Engine(machine.product, machine.cuda, PLAN, {"x": (1, 3)})
    machine.cuda.memory = memory  # type: ignore[method-assign]
    machine.cuda.capture = None  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError):
        Engine(machine.product, machine.cuda, PLAN, {"x": (1, 3)})
    assert not machine.cuda.memories
    assert machine.cuda.pinned_count == machine.cuda.streams == machine.cuda.events == 0


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (TensorSpec("y", (1, 4), "float32"), r"output y is float32 \(1, 3\), the manifest says float32 \(1, 4\)"),
        (TensorSpec("y", (1, 3), "float16"), r"output y is float32 \(1, 3\), the manifest says float16 \(1, 3\)"),
        (TensorSpec("z", (1, 3), "float32"), r"has no output z, only y; helmsight build"),
    ],
)
def test_an_engine_that_gives_something_else_is_refused(
    bundle: Bundle, machine: Machine, output: TensorSpec, said: str
) -> None:
    other = replace(bundle, manifest=replace(bundle.manifest, outputs=(output,)))
    build(other)
    with pytest.raises(DeviceMismatch, match=said):
        load(other, TENSORRT)
    assert not machine.cuda.memories


def test_an_input_without_a_number_has_no_engine(bundle: Bundle, machine: Machine) -> None:
    open_side = replace(bundle.manifest, inputs=(TensorSpec("x", (1, "length"), "float32"),))
    with pytest.raises(BadArtefact, match=r"input x is \[1, 'length'\]; an engine is built for numbers"):
        build(replace(bundle, manifest=open_side))


def test_a_precision_that_the_inspector_does_not_tell_is_said(
    bundle: Bundle, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.trial = {**machine.trial, "layers": json.dumps({"Layers": []})}
    build(replace(bundle, manifest=replace(bundle.manifest, parity={"cpu": {"precision": "int8"}})))
    assert "that it computes in int8 is not known" in caplog.text


def test_without_graphs_it_runs_too(bundle: Bundle, machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.cuda = FakeCuda(graphs=False)
    machine.product = fake_library(machine.cuda)
    build(bundle)
    with load(bundle, TENSORRT) as session:
        np.testing.assert_array_equal(session.run({"x": np.ones((1, 3), np.float32)})["y"], [[2, 2, 2]])
    assert "no CUDA graph of it could be made" in caplog.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "10.16.1.11"}, "version 10.3.0.30 (here 10.16.1.11)"),
        ({"capability": "8.9"}, "compute capability 8.7 (here 8.9)"),
        ({"version": "11.4.0.1", "capability": "9.0"}, "version 10.3.0.30 (here 11.4.0.1), compute capability 8.7"),
    ],
)
def test_an_engine_of_another_machine_is_refused_with_both_values(
    bundle: Bundle, machine: Machine, change: dict[str, str], said: str
) -> None:
    build(bundle)
    machine.cuda = FakeCuda(change.get("capability", "8.7"))
    machine.product = fake_library(machine.cuda, change.get("version", "10.3.0.30"))
    with pytest.raises(DeviceMismatch) as caught:
        load(bundle, TENSORRT)
    assert said in str(caught.value)
    assert str(caught.value).endswith(f"rebuild it: helmsight build {bundle.path}")
    assert caught.value.exit_code == 5


def test_another_network_or_none_is_refused(bundle: Bundle, machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(DeviceMismatch, match=r"there is no engine of doubler .* yet; build it: helmsight build"):
        load(bundle, TENSORRT)
    build(bundle)
    other = write_bundle(tmp_path / "o.bundle", bundle.manifest, {"model.onnx": EMPTY_GRAPH + b"\x08\x09"})
    old, new = (network_file(one, machine.product).sha256[:12] for one in (bundle, other))
    with pytest.raises(DeviceMismatch, match=rf"built for ONNX file {old}\.\.\. \(here {new}\.\.\.\)"):
        load(other, TENSORRT)


def test_a_size_has_an_engine_of_its_own(machine: Machine) -> None:
    face = open_bundle("face")
    build(face)
    with pytest.raises(DeviceMismatch, match=r"image 1x240x320x3\D.*here image 1x480x640x3.*--imgsz 640x480$"):
        load(face.resized((480, 640)), TENSORRT)


def test_an_engine_that_was_changed_is_not_loaded(bundle: Bundle, machine: Machine) -> None:
    stored = build(bundle).stored
    stored.file.write_bytes(PLAN + b"!")
    with pytest.raises(BadArtefact, match=r"was changed or damaged; rebuild it: helmsight build .* --force"):
        load(bundle, TENSORRT)
    assert machine.cuda.memories == {}, "nothing of it was touched"
    build(bundle, force=True)
    load(bundle, TENSORRT).close()


def test_a_record_of_another_key_or_cut_off_is_no_engine(bundle: Bundle, machine: Machine) -> None:
    stored = build(bundle).stored
    record = stored.file.with_suffix(".json")
    whole = record.read_text()
    for text in (whole[: len(whole) // 2], "[]", whole.replace('"schema_version": 2', '"schema_version": 1')):
        record.write_text(text)
        with pytest.raises(DeviceMismatch, match="no engine of doubler"):
            load(bundle, TENSORRT)
    record.write_text(whole.replace("8.7", "8.8"))
    with pytest.raises(DeviceMismatch, match=r"compute capability 8\.8 \(here 8\.7\)"):
        load(bundle, TENSORRT)


def test_a_fallback_is_taken_only_when_allowed(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("onnxruntime", reason="the fallback is ONNX Runtime")
    with load(open_bundle("navigate"), SessionOptions("tensorrt", allow_fallback=True)) as session:
        assert session.device == "cpu"
    assert "runs on the CPU in place of TensorRT" in caplog.text


@pytest.mark.parametrize("asked", ["fp16", "int8"])
def test_an_engine_without_the_precision_is_not_kept(bundle: Bundle, machine: Machine, cache: Path, asked: str) -> None:
    lower = replace(bundle, manifest=replace(bundle.manifest, parity={"cpu": {"precision": asked}}))
    with pytest.raises(GateFailed, match=rf"is in {asked}, and the engine computes none of it so \(1 in fp32\)"):
        build(lower)
    repaired = replace(
        bundle.manifest, parity={"cpu": {"precision": "mixed"}}, provenance={"export": {"precision": asked}}
    )
    with pytest.raises(GateFailed, match=rf"is in {asked}, and the engine computes none of it so"):
        build(replace(bundle, manifest=repaired))
    assert [file.suffix for file in cache.iterdir()] == [".cache"]


def test_what_fails_leaves_the_engine_that_was_there(bundle: Bundle, machine: Machine, cache: Path) -> None:
    build(bundle)
    before = {file: file.read_bytes() for file in cache.iterdir() if file.suffix != ".cache"}
    machine.product = fake_library(machine.cuda, built=None)
    with pytest.raises(BadArtefact, match="cannot build the network"):
        build(bundle, force=True)
    machine.product = fake_library(machine.cuda)
    machine.trial = {"graph": True, "gpu_ms": 1.0, "layers": "not JSON"}
    with pytest.raises(BadArtefact, match="tells nothing of its layers"):
        build(bundle, force=True)
    assert {file: file.read_bytes() for file in cache.iterdir() if file.suffix != ".cache"} == before


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


def child(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed its process \(SIGSEGV\)"),
        ("import sys; sys.exit('one\\nhelmsight: no TensorRT here')", "does not run: no TensorRT here"),
        ("print('nothing of use')", "ended without a result"),
    ],
)
def test_a_first_load_that_goes_wrong_is_a_message(tmp_path: Path, code: str, said: str) -> None:
    with pytest.raises(DeviceMismatch, match=said) as caught:
        try_engine(tmp_path / "e", "0" * 64, {"x": (1, 3)}, child(code))
    assert "\n" not in str(caught.value)


def test_the_child_is_told_what_to_load(tmp_path: Path) -> None:
    code = "import json, sys; print('log'); print(json.dumps({'asked': sys.argv[1:]}))"
    found = try_engine(tmp_path / "e", "ab", {"x": (1, 3)}, child(code))
    assert found["asked"] == [str(tmp_path / "e"), "ab", json.dumps({"x": [1, 3]}), "TensorRT"]


def test_the_real_child_says_why_it_cannot(tmp_path: Path) -> None:
    """Without TensorRT, or with it: the file is no engine."""
    (tmp_path / "e").write_bytes(b"no engine")
    with pytest.raises(DeviceMismatch, match="does not run: "):
        try_engine(tmp_path / "e", "0" * 64, {"x": (1, 3)})


INTERRUPTED = """
import signal
import sys
import time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
sys.path.insert(0, sys.argv[1])
from helmsight.runtime.bundle import Bundle, Manifest, TensorSpec, open_bundle
from helmsight.runtime.engines import build as module, tensorrt_rtx
from helmsight.runtime.engines.source import NetworkFile
from helmsight.runtime.engines.store import Store
from tests.runtime.engines.fakes import FakeCuda

data = Path(sys.argv[2]).read_bytes()
module.tensorrt, module.open_cuda = tensorrt_rtx, FakeCuda
module.network_file = lambda bundle, library: NetworkFile("model.onnx", data, "0" * 64, "fp32")
told = []

def report(state):
    print(state.phase, flush=True)
    told.append(state)
    if len(told) == 1:  # so that it is not done before the signal comes, however busy the machine is
        time.sleep(3)

module.build(open_bundle("face"), report, store=Store(Path(sys.argv[3])))
"""


def test_ctrl_c_ends_a_real_build_and_leaves_nothing(tmp_path: Path) -> None:
    """The builder is TensorRT-RTX's, which needs no GPU to build; the GPU that is asked for its name is a fake."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'helmsight[rtx]'")
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    from helmsight.export.nvidia import cast_first

    onnx.save(cast_first(onnx.load(open_bundle("face").model)), tmp_path / "face.onnx")
    root = str(Path(__file__).parents[3])
    engines = tmp_path / "engines"
    command = [sys.executable, "-c", INTERRUPTED, root, tmp_path / "face.onnx", engines]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stdout.readline() == "Building engine\n"
        os.kill(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGINT or "KeyboardInterrupt" in said
    assert list(engines.iterdir()) == []


def test_inputs_that_are_pictures_of_several_sizes_name_theirs_in_the_command() -> None:
    from helmsight.runtime.engines.build import rebuild_command

    face = open_bundle("face").resized((480, 640))
    assert rebuild_command(face).endswith(" --imgsz 640x480")
    spec = TensorSpec("x", (1, 3), "float32")
    assert "--imgsz" not in rebuild_command(replace(face, manifest=replace(face.manifest, inputs=(spec,))))


def test_an_engine_of_8_5_takes_no_kernels_of_cublas_and_cudnn() -> None:
    config = OldConfig()
    sources = SimpleNamespace(CUBLAS=0, CUBLAS_LT=1, CUDNN=2, EDGE_MASK_CONVOLUTIONS=3, JIT_CONVOLUTIONS=4)
    feature = SimpleNamespace(DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805="external")
    own_kernels(SimpleNamespace(PreviewFeature=feature, TacticSource=sources), config)
    assert config.sources == 0b11000, "its own stay"
    assert config.features == {"external": True}
    own_kernels(SimpleNamespace(PreviewFeature=SimpleNamespace()), config)  # as in 10, where the rule is NVIDIA's own


def test_a_type_that_numpy_does_not_have_is_named(machine: Machine) -> None:
    with Engine(fake_library(machine.cuda, kind="DataType.HALF"), machine.cuda, PLAN, {"x": (1, 4)}) as engine:
        assert engine.input_dtype("x") == np.float16
    with pytest.raises(DeviceMismatch, match="tensor x is BF16, which NumPy does not have"):
        Engine(fake_library(machine.cuda, kind="DataType.BF16"), machine.cuda, PLAN, {"x": (1, 4)})
    assert not machine.cuda.memories
