"""TensorRT on a real GPU: built, run, compared with ONNX Runtime, its precision read back, refused when tampered with.

Everything here is real, and skipped with its reason where there is no TensorRT or no GPU.
"""

from __future__ import annotations

import importlib
import json
import math
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, DeviceMismatch, HelmsightError
from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import Bundle, open_bundle, write_bundle
from helmsight.runtime.engines import _cuda, tensorrt, tensorrt_rtx
from helmsight.runtime.engines.build import build
from helmsight.runtime.engines.source import reads_older
from helmsight.runtime.engines.store import Store
from helmsight.runtime.profiler import ProfileOptions
from helmsight.runtime.profiler.layers import profile_layers
from helmsight.runtime.sources import open_source
from helmsight.runtime.tasks import task_for

pytestmark = [pytest.mark.gpu]
TENSORRT = SessionOptions("tensorrt")
SHARE = {"fp32": 1e-3, "fp16": 0.02, "int8": 0.2}
"""How far an output may be off ONNX Runtime's of the same file, of its largest value."""


@pytest.fixture(autouse=True)
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _cuda.Cuda:
    try:
        found = _cuda.open_cuda()
    except DeviceMismatch as error:
        pytest.skip(str(error))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


@pytest.fixture
def real(gpu: _cuda.Cuda) -> None:
    try:
        tensorrt()
    except DeviceMismatch as error:
        pytest.skip(str(error))


def frames(bundle: Bundle, n: int = 4) -> list[dict[str, np.ndarray]]:
    """Inputs of the network from the clip that ships."""
    task = task_for(bundle.manifest)
    feeds = []
    with open_source("sample://corridor") as source:
        for frame in source:
            feeds.append(dict(task.prepare(frame.image)))
            if len(feeds) == n:
                break
    return feeds


def needs_older() -> bool:
    """Whether TensorRT here is 8.5 or 8.6."""
    try:
        return reads_older(tensorrt())
    except DeviceMismatch:
        return False


def in_precision(name: str, precision: str, folder: Path) -> Bundle:
    """The network that ships in another precision, with what export writes for the TensorRT of this machine."""
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    from helmsight.export.lowering import lower_to

    full = open_bundle(name)
    model = onnx.load(full.model)
    if precision != "fp32":
        work = folder / "work"
        work.mkdir()
        model = lower_to(precision, model, frames(full, 16), work, for_nvidia=True)()
    provenance = {**full.manifest.provenance, "export": {"precision": precision}}
    manifest = replace(full.manifest, parity={"cpu": {"precision": precision}}, provenance=provenance)
    draft = write_bundle(folder / "draft.bundle", manifest, {"model.onnx": model.SerializeToString()})
    target = "jetson-agx-xavier/trtexec" if needs_older() else "dgx-a100/tensorrt"
    return made_for(draft, target, precision, folder / f"{name}-{precision}.bundle")


def made_for(draft: Bundle, target: str, precision: str, path: Path) -> Bundle:
    """`draft` with what export makes for a target."""
    from helmsight.export.artefacts import Order, make_all
    from helmsight.export.targets import check_targets
    from helmsight.runtime.parity import tolerance

    (asked,) = check_targets([target], precision)
    folder = path.parent / "targets" / asked.name
    folder.mkdir(parents=True)
    made = make_all(Order(draft, asked, folder, frames(draft), tolerance(precision), lambda line: None))
    files: dict[str, Path | bytes] = {"model.onnx": draft.model}
    files |= {f"targets/{asked.name}/{file.name}": file for file in folder.iterdir()}
    parity = {**draft.manifest.parity, asked.name: made}
    return write_bundle(path, replace(draft.manifest, parity=parity), files)


def compare(bundle: Bundle, device: str, share: float) -> None:
    feeds = frames(bundle)
    with load(bundle) as cpu, load(bundle, SessionOptions(device)) as session:
        assert session.device == device
        for feed in feeds:
            expected, made = cpu.run(feed), session.run(feed)
            assert set(made) == set(expected)
            for output, values in expected.items():
                assert made[output].shape == values.shape
                assert made[output].dtype == values.dtype
                assert np.abs(made[output] - values).max() <= share * max(np.abs(values).max(), 1e-3), output
        assert 0 < session.gpu_ms < 1000  # type: ignore[attr-defined]


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real")
@pytest.mark.parametrize("name", ["face", "navigate"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_computes_what_onnx_runtime_does_in_its_precision(name: str, precision: str, tmp_path: Path) -> None:
    bundle = in_precision(name, precision, tmp_path)
    built = build(bundle)
    real = built.stored.record["real"]
    assert built.fresh
    assert real.get(precision, 0) > 0
    if precision != "int8":  # between two quantised layers TensorRT may leave one in floats
        assert set(real) == {precision}
    assert built.stored.record["graph"] == {precision: sum(built.stored.record["graph"].values())}
    assert math.isfinite(built.stored.record["gpu_ms"])
    assert built.stored.record["compared"]["n"] == 32
    assert 0 < built.stored.record["compared"]["max_rel"] < 1
    compare(bundle, "tensorrt", SHARE[precision])


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real")
def test_the_timing_cache_is_used_and_a_second_build_is_the_same_network(tmp_path: Path) -> None:
    bundle = in_precision("navigate", "fp32", tmp_path)
    build(bundle)
    (cache,) = Store().folder.glob("timing-*.cache")
    assert cache.stat().st_size > 0
    assert not build(bundle).fresh
    assert build(bundle, force=True).fresh
    compare(bundle, "tensorrt", SHARE["fp32"])


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real")
def test_the_layers_of_an_engine_have_times_modules_and_operations(tmp_path: Path) -> None:
    bundle = in_precision("navigate", "fp32", tmp_path)
    build(bundle)
    found, _ = profile_layers(bundle, ProfileOptions(TENSORRT))
    assert found.runs >= 5
    assert 0 < found.layers_ms < 1000
    assert any((layer.module or "").startswith("stage4") for layer in found.layers)
    counted = 2 * bundle.manifest.provenance["graph"]["macs"]
    assert 0 < sum(layer.operations or 0 for layer in found.layers) <= counted


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real")
def test_a_file_of_a_newer_operator_set_is_refused(tmp_path: Path) -> None:
    if not needs_older():
        pytest.skip(f"{tensorrt()} reads what export writes")
    with pytest.raises(DeviceMismatch, match=r"opset 18, TensorRT 8\.\S+ reads up to 17 .* helmsight export "):
        build(open_bundle("navigate"))


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real")
def test_a_size_that_is_chosen_has_an_engine(tmp_path: Path) -> None:
    if needs_older():
        with pytest.raises(DeviceMismatch, match=r"has one size, image 1x240x320x3, not 1x256x192x3; leave --imgsz"):
            build(in_precision("face", "fp32", tmp_path).resized((256, 192)))
        return
    bundle = in_precision("face", "fp32", tmp_path).resized((256, 192))
    build(bundle)
    compare(bundle, "tensorrt", SHARE["fp32"])


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real")
def test_an_engine_that_was_tampered_with_or_is_of_another_gpu_is_refused(tmp_path: Path) -> None:
    bundle = in_precision("navigate", "fp32", tmp_path)
    stored = build(bundle).stored
    whole = stored.file.read_bytes()
    stored.file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadArtefact, match="was changed or damaged"):
        load(bundle, TENSORRT)
    stored.file.write_bytes(whole)
    record = json.loads(stored.file.with_suffix(".json").read_text())
    record["key"]["compute_capability"] = "3.2"
    stored.file.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(DeviceMismatch, match=r"compute capability 3\.2 \(here "):
        load(bundle, TENSORRT)


def in_threads(bundles: list[Bundle], device: str, runs: int = 100) -> None:
    """A session a thread, all at once; each must give what it gives alone."""
    feeds = [frames(bundle, 1)[0] for bundle in bundles]
    alone = []
    for bundle, feed in zip(bundles, feeds, strict=True):
        with load(bundle, SessionOptions(device)) as session:
            alone.append(session.run(feed))
    wrong: list[str] = []
    start = threading.Barrier(len(bundles))

    def work(at: int) -> None:
        try:
            start.wait()
            with load(bundles[at], SessionOptions(device)) as session:
                for _ in range(runs):
                    for name, values in session.run(feeds[at]).items():
                        if not np.allclose(values, alone[at][name], rtol=1e-4, atol=1e-5):
                            wrong.append(f"{bundles[at].manifest.name}: {name}")
        except (HelmsightError, RuntimeError) as error:
            wrong.append(str(error))

    threads = [threading.Thread(target=work, args=(at,)) for at in range(len(bundles))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real")
def test_two_sessions_in_two_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    bundles = []
    for name in ("face", "navigate"):
        folder = tmp_path / name
        folder.mkdir()
        bundles.append(in_precision(name, "fp32", folder))
        build(bundles[-1])
    in_threads(bundles, "tensorrt")


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real")
@pytest.mark.parametrize("package", ["cuda.bindings.runtime", "pycuda"])
def test_buffers_come_from_either_package(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = _cuda.PyCuda if package == "pycuda" else _cuda.CudaBindings
    module = pytest.importorskip(package, reason=f"{package} is not installed")
    bundle = in_precision("navigate", "fp32", tmp_path)
    build(bundle)
    monkeypatch.setattr("helmsight.runtime.backends.tensorrt.open_cuda", lambda: kind(module))
    compare(bundle, "tensorrt", SHARE["fp32"])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_of_tensorrt_rtx_built_ahead_of_time_runs(gpu: _cuda.Cuda, precision: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'helmsight[rtx]'")
    from helmsight.export.targets import RTX_CAPABILITIES

    if gpu.gpu.compute_capability not in RTX_CAPABILITIES:
        pytest.skip(f"TensorRT-RTX does not build for compute capability {gpu.gpu.compute_capability}, which is here")
    name = f"rtx-sm{gpu.gpu.compute_capability.replace('.', '')}"
    bundle = made_for(in_precision("navigate", precision, tmp_path), name, precision, tmp_path / "rtx.bundle")
    assert importlib.import_module("tensorrt_rtx").__version__ == tensorrt_rtx().version
    compare(bundle, "tensorrt-rtx", SHARE[precision])
    in_threads([bundle, bundle], "tensorrt-rtx")
