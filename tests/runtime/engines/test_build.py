"""What is kept of a build, what refuses an engine, and what is left when one fails; around a fake of TensorRT."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, DeviceMismatch, GateFailed
from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import Bundle, TensorSpec, open_bundle, write_bundle
from helmsight.runtime.engines.build import build
from helmsight.runtime.engines.engine import Engine
from helmsight.runtime.engines.progress import State
from helmsight.runtime.engines.source import network_file

from ...bundles import EMPTY_GRAPH
from .conftest import Machine
from .fakes import PLAN, FakeCuda, fake_library

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


def test_nothing_of_cuda_outlives_the_context_that_it_is_of(machine: Machine) -> None:
    """pycuda gives streams, events and pinned memory back with their last reference, which must be while that holds."""
    alive: weakref.WeakSet[object] = weakref.WeakSet()

    class Owned:
        def __init__(self) -> None:
            alive.add(self)

    class Owning(FakeCuda):
        @contextmanager
        def current(self) -> Iterator[None]:
            yield
            self.left = len(alive)

        stream = event = lambda self: Owned()
        close_stream = close_event = record = lambda self, *of: None

        def elapsed_ms(self, begin: object, end: object) -> float:
            return 1.0

        def pinned(self, shape: tuple[int, ...], dtype: object) -> np.ndarray:
            array = np.empty(shape, dtype).view(Pinned)
            alive.add(array)
            return array

    class Pinned(np.ndarray):
        __hash__ = object.__hash__

    cuda = Owning()
    engine = Engine(fake_library(cuda), cuda, PLAN, {"x": (1, 3)})
    engine.run({"x": np.ones((1, 3), np.float32)})
    assert cuda.left == 5
    engine.close()
    assert cuda.left == 0


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


def test_inputs_that_are_pictures_of_several_sizes_name_theirs_in_the_command() -> None:
    from helmsight.runtime.engines.build import rebuild_command

    face = open_bundle("face").resized((480, 640))
    assert rebuild_command(face).endswith(" --imgsz 640x480")
    spec = TensorSpec("x", (1, 3), "float32")
    assert "--imgsz" not in rebuild_command(replace(face, manifest=replace(face.manifest, inputs=(spec,))))


def test_a_type_that_numpy_does_not_have_is_named(machine: Machine) -> None:
    with Engine(fake_library(machine.cuda, kind="DataType.HALF"), machine.cuda, PLAN, {"x": (1, 4)}) as engine:
        assert engine.input_dtype("x") == np.float16
    with pytest.raises(DeviceMismatch, match="tensor x is BF16, which NumPy does not have"):
        Engine(fake_library(machine.cuda, kind="DataType.BF16"), machine.cuda, PLAN, {"x": (1, 4)})
    assert not machine.cuda.memories
