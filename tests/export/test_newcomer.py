"""Networks of a user's own go through every target of the table, and what an engine lacks is named with its line."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helmsight.devices.errors import BadArtefact
from helmsight.export.build import ExportOptions, export
from helmsight.export.native import PLATFORMS, cached_runner
from helmsight.export.targets import Row, rows
from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.profiler.measure import random_feeds

pytest.importorskip("torch", reason="export needs the train extra")

SOURCE = Path(__file__).with_name("newcomer.py")
ON_TURING = ("t4", "rtx-sm75")
"""For these TensorRT-RTX has no matrix product in fp32."""
HAS_RTX = importlib.util.find_spec("tensorrt_rtx") is not None
HAS_NCNN = importlib.util.find_spec("pnnx") is not None and all(cached_runner(p) for p in PLATFORMS.values())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copy(SOURCE, tmp_path / "newcomer.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("newcomer", None)


def line_of(code: str) -> int:
    """Where it stands in the user's file."""
    return next(i for i, line in enumerate(SOURCE.read_text().splitlines(), 1) if code in line)


def targets(precision: str, but: tuple[str, ...] = ()) -> dict[str, Row]:
    """Every target in a precision as `-t` takes it, and its row; without kinds whose tools are not here."""
    found = {}
    for row in rows():
        if row.state == "planned" or row.name in but or precision not in row.precisions:
            continue
        kinds = row.plan.artefacts[precision]
        able = [k for k in kinds if (k != "tensorrt-rtx" or HAS_RTX) and (k != "ncnn" or HAS_NCNN)]
        if able:
            found[row.name if len(able) == len(kinds) else f"{row.name}/{able[0]}"] = row
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision", "but"),
    [("Classifier", "fp32", ON_TURING), ("Classifier", "fp16", ()), ("UNet", "fp32", ()), ("UNet", "fp16", ())],
)
def test_every_target_takes_it(name: str, precision: str, but: tuple[str, ...]) -> None:
    wanted = targets(precision, but)
    options = ExportOptions(targets=tuple(wanted), inputs=("1x3x32x32",), precision=precision)
    bundle = open_bundle(export(f"newcomer:{name}", options).path)
    for target, row in wanted.items():
        record = bundle.manifest.parity[row.name]
        if row.name == "cpu":
            assert record["n"] == 32
            continue
        kinds = {target.partition("/")[2]} if "/" in target else set(row.plan.artefacts[precision])
        assert set(record["artefacts"]) == kinds
        assert {one["precision"] for one in record["artefacts"].values()} == {precision}
    with load(bundle, SessionOptions()) as session:
        (made,) = session.run(random_feeds(bundle.manifest.inputs, 0)).values()
        assert made.shape == bundle.manifest.outputs[0].shape


@pytest.mark.skipif(not HAS_RTX, reason="TensorRT-RTX is not installed (extra rtx)")
@pytest.mark.parametrize("target", ON_TURING)
def test_a_product_that_turing_lacks_is_named_with_its_line_and_what_may_do(target: str) -> None:
    with pytest.raises(BadArtefact) as caught:
        export("newcomer:Classifier", ExportOptions(targets=(target,), inputs=("1x3x32x32",)))
    said = str(caught.value)
    assert "FP32 GEMM is not supported" in said
    assert f"is in fc1, at newcomer.py:{line_of('self.fc1(x)')}" in said
    assert "--precision fp16 may do" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "target", "said"),
    [
        ("determinant", "jetson-nano/trtexec", "the parser of TensorRT 8.2 has no Det"),
        ("bits", "jetson-xavier-nx/trtexec", r"\(BitwiseAnd\) cannot be written in ONNX opset 17"),
        pytest.param(
            *("determinant", "rtx-sm86", r"does not take the network: .*\(Det: not supported\)"),
            marks=pytest.mark.skipif(not HAS_RTX, reason="TensorRT-RTX is not installed (extra rtx)"),
        ),
        pytest.param(
            *("bits", "jetson-tk1", r"ncnn has no layer for .*torch\.bitwise_and"),
            marks=pytest.mark.skipif(not HAS_NCNN, reason="no built runner in the cache: make test-runner"),
        ),
    ],
)
def test_an_operator_that_an_engine_lacks_is_named_with_its_line(name: str, target: str, said: str) -> None:
    code = {"determinant": "linalg.det", "bits": "bitwise_and"}[name]
    with pytest.raises(BadArtefact, match=rf"{said}.* is in odd, at newcomer\.py:{line_of(code)}"):
        export(f"newcomer:{name}", ExportOptions(targets=(target,), inputs=("1x3x16x16",)))
