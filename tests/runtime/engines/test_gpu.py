"""TensorRT on a real GPU: built, run, compared with ONNX Runtime, its precision read back, refused when tampered with.

Everything here is real, and skipped with its reason where there is no TensorRT or no GPU.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, DeviceMismatch, HelmsightError
from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import Bundle, open_bundle
from helmsight.runtime.engines import _cuda, network, tensorrt, tensorrt_rtx
from helmsight.runtime.engines.build import build
from helmsight.runtime.engines.source import RTX_CAPABILITIES
from helmsight.runtime.engines.store import Store
from helmsight.runtime.engines.trial import try_engine
from helmsight.runtime.profiler import ProfileOptions
from helmsight.runtime.profiler.layers import profile_layers

from .gpu_networks import frames, in_precision, made_for, needs_older, verbose_log

pytestmark = [pytest.mark.gpu]
TENSORRT = SessionOptions("tensorrt")
SHARE = {"fp32": 1e-3, "fp16": 0.02, "int8": 0.2}
"""How far an output may be off ONNX Runtime's of the same file, of its largest value on these frames."""
NETWORKS = (
    *[("navigate", "fp32"), ("small", "int8"), ("navigate", "int8"), ("navigate", "fp16")],
    *[("small", "fp32"), ("small", "fp16"), ("face", "fp32"), ("face", "fp16")],
)
"""What is least known comes first: 8.5.3.1 refused the first four on an H200, and built the others."""
CACHES: list[Path] = []
"""The folder of engines that tests share: one network is built once, and its timings make the next build shorter."""


@pytest.fixture(autouse=True)
def gpu(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> _cuda.Cuda:
    try:
        found = _cuda.open_cuda()
    except DeviceMismatch as error:
        pytest.skip(str(error))
    if not CACHES:
        CACHES.append(tmp_path_factory.mktemp("cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(CACHES[0]))
    return found


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of engines of this test's own, with the timings of the others."""
    for timings in Store().folder.glob("timing-*.cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        Store().write(timings.name, timings.read_bytes())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def real(gpu: _cuda.Cuda) -> None:
    try:
        tensorrt()
    except DeviceMismatch as error:
        pytest.skip(str(error))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """All that TensorRT says while it builds, in a file. Its end is printed: pytest shows it where the test fails."""
    file = tmp_path / "tensorrt.log"
    monkeypatch.setattr(network, "make_log", verbose_log(file))
    yield file
    lines = file.read_text().splitlines() if file.exists() else []
    print(f"{file}: {len(lines)} lines, the last 200:", *lines[-200:], sep="\n")


Make = Callable[[str, str], Bundle]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A network in a precision, with what export writes for the TensorRT of this machine."""
    known: dict[tuple[str, str], Bundle] = {}

    def make(name: str, precision: str) -> Bundle:
        if (name, precision) not in known:
            known[name, precision] = in_precision(name, precision, tmp_path_factory.mktemp(f"{name}-{precision}"))
        return known[name, precision]

    return make


def compare(bundle: Bundle, device: str, share: float) -> None:
    """Beside ONNX Runtime of the bundle's own file, on frames of the clip that ships."""
    worst: dict[str, float] = {}
    largest: dict[str, float] = {}
    with load(bundle) as cpu, load(bundle, SessionOptions(device)) as session:
        assert session.device == device
        for feed in frames(bundle):
            expected, made = cpu.run(feed), session.run(feed)
            assert set(made) == set(expected)
            for output, values in expected.items():
                assert made[output].shape == values.shape
                assert made[output].dtype == values.dtype
                worst[output] = max(worst.get(output, 0.0), float(np.abs(made[output] - values).max()))
                largest[output] = max(largest.get(output, 1e-3), float(np.abs(values).max()))
        assert 0 < session.gpu_ms < 1000  # type: ignore[attr-defined]
    assert {name: off / largest[name] for name, off in worst.items() if off > share * largest[name]} == {}


def check_engine(bundle: Bundle, precision: str) -> None:
    """Built here and now, in that precision by what its inspector says, and right."""
    built = build(bundle, force=True)
    record = built.stored.record
    assert built.fresh
    assert record["real"].get(precision, 0) > 0
    if precision != "int8":  # between two quantised layers TensorRT may leave one in floats
        assert set(record["real"]) == {precision}
        assert record["compared"]["max_abs"] > 0, "to the last bit what ONNX Runtime gives is no engine's"
    assert record["graph"] == {precision: sum(record["graph"].values())}
    assert math.isfinite(record["gpu_ms"])
    assert record["compared"]["n"] == (32 if bundle.manifest.task else 8)
    compare(bundle, "tensorrt", SHARE[precision])


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real", "told")
@pytest.mark.parametrize(("name", "precision"), NETWORKS)
def test_an_engine_computes_what_onnx_runtime_does_in_its_precision(made: Make, name: str, precision: str) -> None:
    check_engine(made(name, precision), precision)


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real", "alone")
def test_the_timing_cache_is_used_and_a_second_build_is_the_same_network(made: Make) -> None:
    bundle = made("small", "fp32")
    assert build(bundle).fresh
    (cache,) = Store().folder.glob("timing-*.cache")
    assert cache.stat().st_size > 0
    assert not build(bundle).fresh
    assert build(bundle, force=True).fresh
    compare(bundle, "tensorrt", SHARE["fp32"])


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real")
def test_the_layers_of_an_engine_have_times_modules_and_operations(made: Make) -> None:
    bundle = made("face", "fp32")
    build(bundle)
    found, _ = profile_layers(bundle, ProfileOptions(TENSORRT))
    assert found.runs >= 5
    assert 0 < found.layers_ms < 1000
    assert any((layer.module or "").startswith("stage8") for layer in found.layers)
    counted = 2 * bundle.manifest.provenance["graph"]["macs"]
    assert 0 < sum(layer.operations or 0 for layer in found.layers) <= counted


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real")
def test_a_file_of_a_newer_operator_set_is_refused() -> None:
    if not needs_older():
        pytest.skip(f"{tensorrt()} reads what export writes")
    with pytest.raises(DeviceMismatch, match=r"opset 18, TensorRT 8\.\S+ reads up to 17 .* helmsight export "):
        build(open_bundle("navigate"))


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real")
def test_a_size_that_is_chosen_has_an_engine(made: Make) -> None:
    bundle = made("face", "fp32").resized((256, 192))
    if needs_older():
        with pytest.raises(DeviceMismatch, match=r"has one size, image 1x240x320x3, not 1x256x192x3; leave --imgsz"):
            build(bundle)
        return
    build(bundle)
    compare(bundle, "tensorrt", SHARE["fp32"])


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real", "alone")
def test_an_engine_that_was_tampered_with_or_is_of_another_gpu_is_refused(made: Make) -> None:
    bundle = made("small", "fp32")
    stored = build(bundle).stored
    whole = stored.file.read_bytes()
    stored.file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadArtefact, match="was changed or damaged"):
        load(bundle, TENSORRT)
    stored.file.write_bytes(whole)
    load(bundle, TENSORRT).close()
    record = json.loads(stored.file.with_suffix(".json").read_text())
    record["key"]["compute_capability"] = "3.2"
    stored.file.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(DeviceMismatch, match=r"compute capability 3\.2 \(here .*; rebuild it: helmsight build "):
        load(bundle, TENSORRT)


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real")
def test_a_forged_engine_is_a_message_and_no_crash(made: Make, tmp_path: Path) -> None:
    """One whose record was forged with it: the child process that loads it first says so, or dies in our place."""
    bundle = made("small", "fp32")
    whole = build(bundle).stored.file.read_bytes()
    shapes = {spec.name: spec.shape for spec in bundle.manifest.inputs}
    for at, plan in enumerate((b"no engine at all", whole[: len(whole) // 2])):
        file = tmp_path / f"{at}.engine"
        file.write_bytes(plan)
        with pytest.raises(DeviceMismatch, match=r"does not run: |crashed its process \(SIG") as caught:
            try_engine(file, hashlib.sha256(plan).hexdigest(), shapes)
        assert "\n" not in str(caught.value)


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
def test_two_sessions_in_two_threads_do_not_disturb_each_other(made: Make) -> None:
    bundles = [made("small", "fp32"), made("face", "fp32")]
    for bundle in bundles:
        build(bundle)
    in_threads(bundles, "tensorrt")


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real")
@pytest.mark.parametrize("package", ["cuda-bindings", "pycuda"])
def test_buffers_come_from_either_package(package: str, made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, names = {
        "pycuda": (_cuda.PyCuda, ("pycuda",)),
        "cuda-bindings": (_cuda.CudaBindings, ("cuda.bindings.runtime", "cuda.cudart")),
    }[package]
    name = next((name for name in names if importlib.util.find_spec(name.split(".")[0])), None)
    if name is None:
        pytest.skip(f"{package} is not installed")
    cuda = kind(importlib.import_module(name))
    bundle = made("small", "fp32")
    build(bundle)
    monkeypatch.setattr("helmsight.runtime.backends.tensorrt.open_cuda", lambda: cuda)
    with load(bundle, TENSORRT) as session:
        assert session._engine.graph == (package == "cuda-bindings"), "pycuda has no graphs"  # type: ignore[attr-defined]
    compare(bundle, "tensorrt", SHARE["fp32"])
    in_threads([bundle, bundle], "tensorrt", runs=20)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_of_tensorrt_rtx_built_ahead_of_time_runs(
    gpu: _cuda.Cuda, made: Make, precision: str, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'helmsight[rtx]'")
    if gpu.gpu.compute_capability not in RTX_CAPABILITIES:
        pytest.skip(f"TensorRT-RTX does not build for compute capability {gpu.gpu.compute_capability}, which is here")
    name = f"rtx-sm{gpu.gpu.compute_capability.replace('.', '')}"
    bundle = made_for(made("navigate", precision), name, precision, tmp_path / "rtx.bundle")
    assert importlib.import_module("tensorrt_rtx").__version__ == tensorrt_rtx().version
    compare(bundle, "tensorrt-rtx", SHARE[precision])
    in_threads([bundle, bundle], "tensorrt-rtx")


@pytest.mark.tensorrt
@pytest.mark.usefixtures("real", "told")
def test_a_large_engine_in_int8_too(made: Make) -> None:
    """Last: of all builds it takes the longest."""
    check_engine(made("face", "int8"), "int8")
