"""Lower precisions with the real converters: what is in the file, what computes it, what stays in fp32, what fails."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from helmsight.devices.errors import BadArtefact, GateFailed, UsageError
from helmsight.export.build import ExportOptions, export
from helmsight.export.half import Half
from helmsight.export.lowered import computed_unlike
from helmsight.export.lowering import fold
from helmsight.export.precision import read_precision
from helmsight.export.quantise import Quantiser
from helmsight.runtime.backends import Session, SessionOptions, load
from helmsight.runtime.bundle import Bundle, open_bundle, write_bundle
from helmsight.runtime.parity import Tolerance, plain_onnx_run

from .conftest import write_checkpoint

torch = pytest.importorskip("torch", reason="export needs the train extra")

PICTURE = ("image:uint8:1x24x32x3",)


def lowered(source: str, precision: str, **options: object) -> tuple[Bundle, list[str]]:
    said: list[str] = []
    bundle = export(source, ExportOptions(precision=precision, **options), said.append)  # type: ignore[arg-type]
    return bundle, said


@pytest.fixture
def pictures(folder: Path) -> Path:
    """An .npz of inputs for networks that have no samples."""
    images = np.random.default_rng(0).integers(0, 256, (40, 24, 32, 3), np.uint8)
    np.savez(folder / "p.npz", image=images)
    return folder / "p.npz"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_checkpoint_in_a_lower_precision_runs_like_its_source(checkpoint: Path, precision: str) -> None:
    import nets

    full = export("runs/tiny")
    bundle, said = lowered("runs/tiny", precision)
    assert bundle.path == Path(f"tiny-{precision}.bundle")
    assert read_precision(onnx.load(bundle.model)).weighted_ops == {precision: 3}
    record = open_bundle(bundle.path).manifest.parity["cpu"]
    assert (record["precision"], record["n"], record["speed"]["threads"]) == (precision, 32, 1)
    assert record["score"]["steer_mean"]["fp32"] == pytest.approx(record["score"]["steer_mean"]["exported"], rel=0.01)
    for spec in bundle.manifest.inputs:
        assert (spec.name, spec.dtype) == ("image", "uint8")
    feeds = {"image": nets.samples(1, 9)}
    with load(full) as before, load(bundle) as after:
        expected, made = before.run(feeds), after.run(feeds)
        assert after.precision == record["computed"]["precision"]
    for name, values in made.items():
        assert values.dtype == np.float32
        assert values == pytest.approx(expected[name], abs=0.05)
        assert np.abs(values - expected[name]).max() > 0, "or nothing was converted"
    if precision == "int8":
        assert bundle.manifest.provenance["export"]["calibrated_on"] == 128
        assert record["computed"]["weighted_ops"] == {"int8": 3}
    ratio = record["speed"]["times_as_fast"]
    assert any(f"{ratio:.2f} times as fast as fp32 here" in line for line in said)
    assert (bundle.manifest.provenance["graph"]["parameters"]) == full.manifest.provenance["graph"]["parameters"]


def test_fp16_says_what_computes_it(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, said = lowered("runs/tiny", "fp16")
    record = bundle.manifest.parity["cpu"]
    warnings = [line for line in said if line.startswith("WARNING: fp16 is for GPUs")]
    assert len(warnings) == 1
    assert f"computes the file in {record['computed']['precision']}" in warnings[0]
    assert record["rounded"] == ("fp16" not in record["computed"]["weighted_ops"])
    assert record["computed"]["precision"] in (bundle.path / "README.md").read_text()
    monkeypatch.setattr("platform.machine", lambda: "another")
    with load(bundle) as session:
        assert session.precision == "unknown"


def test_the_gates_of_fp16_round_what_the_cpu_would_not(folder: Path) -> None:
    """ONNX Runtime on a CPU drops the casts between two nodes: 2048 + 1 stays 2049 there, and in float16 does not."""
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", "y")]
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    nodes = [helper.make_node("Add", ["x", "one"], ["more"]), helper.make_node("Sub", ["more", "x"], ["y"])]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [one])
    half = Half(fold(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)))
    (folder / "faithful.onnx").write_bytes(half.faithful(half()).SerializeToString())
    from helmsight.export.onnx_file import graph_outputs

    run = plain_onnx_run(folder / "faithful.onnx", graph_outputs(half()))
    assert run({"x": np.array([2048.0], np.float32)})["y"] == 0.0, "2049 is not a float16"
    assert run({"x": np.array([1024.0], np.float32)})["y"] == 1.0


@pytest.mark.parametrize(("target", "passes"), [("jetson-orin-nano", True), ("cpu", False)])
def test_kernels_of_the_cpu_count_for_a_cpu_only(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, target: str, passes: bool
) -> None:
    def load_spoiled(bundle: Bundle, options: SessionOptions) -> Session:
        session = load(bundle, options)
        if bundle.manifest.parity["cpu"]["precision"] == "int8":
            run = session.run
            monkeypatch.setattr(session, "run", lambda feeds: {name: 9 - y for name, y in run(feeds).items()})
        return session

    monkeypatch.setattr("helmsight.export.judge.load", load_spoiled)
    if passes:
        assert lowered("runs/tiny", "int8", targets=(target,))[0].manifest.parity["cpu"]["max_rel"] < 0.6
    else:
        with pytest.raises(GateFailed, match=r"int8: output .* nothing was written"):
            lowered("runs/tiny", "int8", targets=(target,))


def test_repair_keeps_the_layer_that_int8_spoils(folder: Path, pictures: Path) -> None:
    options = {"inputs": PICTURE, "calibration": pictures, "tolerance": Tolerance(1e-3, 1e-3, scale=0.6, rms=0.03)}
    with pytest.raises(
        GateFailed, match=r"int8: output 'output' (is off|differs) .*; nothing was written; --repair finds"
    ):
        lowered("nets:ranges", "int8", **options)
    assert not list(folder.glob("*.bundle"))
    bundle, said = lowered("nets:ranges", "int8", repair=True, **options)
    record = open_bundle(bundle.path).manifest.parity["cpu"]
    repair = record["repair"]
    assert record["precision"] == "mixed"
    assert 1 <= len(repair["kept"]) < repair["layers"]
    assert record["real"]["weighted_ops"]["int8"] >= 1
    assert any(k["layer"] in ("Conv uneven.weight", "Conv last.weight") for k in repair["kept"])
    assert (repair["trials"][0]["kept"], repair["trials"][0]["passed"]) == (0, False)
    assert any("layers stay in fp32: Conv" in line for line in said)
    card = (bundle.path / "README.md").read_text()
    assert "layers stay in fp32: `Conv" in card
    assert "| layers in fp32 | passes the gates |" in card
    assert "mixed (layers: " in card


def test_what_computes_unlike_the_file_is_said_either_way() -> None:
    assert computed_unlike({"int8": 3, "fp32": 1}, {"int8": 3, "fp32": 1}) == ""
    assert computed_unlike({"int8": 3, "fp32": 1}, {"int8": 3}) == "", "one is gone, none is in another precision"
    assert computed_unlike({"int8": 3}, {"int8": 1, "fp32": 2}).endswith("here computes in fp32: 2")
    assert computed_unlike({"int8": 31, "fp32": 1}, {"int8": 32}).endswith("here computes in int8: 1")


def test_a_repair_that_leaves_little_says_so(folder: Path, pictures: Path) -> None:
    tight = Tolerance(1e-3, 1e-3, scale=0.6, rms=0.004)
    bundle, said = lowered("nets:ranges", "int8", repair=True, inputs=PICTURE, calibration=pictures, tolerance=tight)
    repair = bundle.manifest.parity["cpu"]["repair"]
    assert 2 * len(repair["kept"]) > repair["layers"]
    assert "WARNING: little of it is in int8 then; calibrate on inputs like those that it will see" in said


def test_repair_finds_what_overflows_in_fp16(folder: Path) -> None:
    options = {"inputs": ("1x8",)}
    with pytest.raises(GateFailed, match=r"fp16: output 'output' of the exported file has .* not finite"):
        lowered("nets:overflows", "fp16", **options)
    bundle, said = lowered("nets:overflows", "fp16", repair=True, **options)
    record = bundle.manifest.parity["cpu"]
    kept = record["repair"]["kept"]
    assert kept[0]["error"] is None, "not finite"
    assert [one["layer"].split()[0] for one in kept] == ["Mul", "Div"], "between them it is beyond 65504"
    assert record["max_abs"] < 0.02
    assert not any("little of it" in line for line in said)
    json.loads((bundle.path / "manifest.json").read_text(), parse_constant=lambda word: pytest.fail(word))


def test_what_no_layer_saves_is_refused(folder: Path, pictures: Path) -> None:
    with pytest.raises(GateFailed, match=r"no choice of layers .* nothing was written; use --precision fp32"):
        lowered(
            "nets:ranges",
            "int8",
            repair=True,
            inputs=PICTURE,
            calibration=pictures,
            tolerance=Tolerance(1e-7, 1e-7, scale=1e-7, rms=1e-7),
        )
    assert not list(folder.glob("*.bundle"))


def test_what_the_quantiser_cannot_take_is_not_passed_off(folder: Path, pictures: Path) -> None:
    options = {"inputs": PICTURE, "calibration": pictures}
    with pytest.raises(BadArtefact, match=r"computes in mixed \(1 int8, 1 fp32\); --repair leaves in fp32"):
        lowered("nets:Attends", "int8", **options)
    bundle, _ = lowered("nets:Attends", "int8", repair=True, **options)
    record = bundle.manifest.parity["cpu"]
    assert (record["precision"], record["real"]["weighted_ops"]) == ("mixed", {"int8": 1, "fp32": 1})
    assert "mixed (layers: 1 int8, 1 fp32)" in (bundle.path / "README.md").read_text()


def test_an_older_quantiser_measures_at_every_call_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1.23 is the newest ONNX Runtime of Python 3.10, and keeps no ranges for the next call."""
    from onnxruntime import quantization

    newest, readers = quantization.quantize_static, []

    def older(model: object, output: object, reader: object, **options: object) -> None:
        assert "calibration_cache_path" not in options
        readers.append(reader)
        newest(model, output, reader, **options)

    def twice(folder: str) -> list[bytes]:
        (tmp_path / folder).mkdir()
        lower = Quantiser(onnx.load(open_bundle("navigate").model), feeds, tmp_path / folder, for_nvidia=True)
        return [lower(kept).SerializeToString(deterministic=True) for kept in ((), list(lower.layers)[:1])]

    rng = np.random.default_rng(0)
    shape = open_bundle("navigate").manifest.inputs[0].shape
    feeds = [{"image": rng.integers(0, 256, shape, np.uint8)} for _ in range(3)]
    expected = twice("new")
    monkeypatch.setattr(quantization, "quantize_static", older)
    assert twice("old") == expected
    assert len(readers) == 2
    assert None not in readers


def test_a_worse_score_is_not_written(folder: Path) -> None:
    write_checkpoint(folder, score="nets:exact")
    with pytest.raises(GateFailed, match=r"int8: steer_exact goes from 1 in the source to [\d.]+ exported.*--repair"):
        lowered("runs/tiny", "int8")
    assert not list(folder.glob("*.bundle"))


def test_int8_is_not_calibrated_on_noise(folder: Path) -> None:
    with pytest.raises(
        UsageError, match=r"--precision int8 is calibrated on real inputs .* expected --calibration DIR"
    ):
        lowered("nets:build", "int8", inputs=("1x3x16x16",))


def test_an_open_size_stays_open(folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 16, 3), np.uint8)
    np.savez(folder / "p.npz", image=images)
    for precision in ("fp16", "int8"):
        bundle, _ = lowered("nets:Cells", precision, inputs=("image:uint8:1x12x16x3/8:BGR",), calibration=Path("p.npz"))
        assert list(bundle.manifest.parity["cpu"]["other_sizes"]) == ["24x16", "16x24"]
        with load(bundle.resized((16, 40))) as session:
            assert session.run({"image": np.zeros((1, 16, 40, 3), np.uint8)})["picture"].shape == (1, 4, 8, 20)


def test_a_bundle_in_another_precision_keeps_what_it_says(checkpoint: Path) -> None:
    full = export("runs/tiny")
    bundle, _ = lowered("tiny.bundle", "int8")
    was, now = full.manifest, open_bundle("tiny-int8.bundle").manifest
    assert bundle.path == Path("tiny-int8.bundle")
    assert (now.name, now.task, now.inputs, now.outputs) == (was.name, was.task, was.inputs, was.outputs)
    source = now.provenance["source"]
    assert (source["kind"], source["source_sha256"]) == ("bundle", was.files["model.onnx"])
    assert source["training"] == was.provenance["source"]["training"]
    assert source["of"]["source"]["weights_sha256"] == was.provenance["source"]["weights_sha256"]
    assert source["limits"] == ["It knows noise only."]
    assert now.metrics["steer_rmse"] == was.metrics["steer_rmse"]
    assert set(now.parity["cpu"]["score"]) == {"steer_mean"}
    assert now.parity["cpu"]["inputs"] == "the checkpoint's samples"
    again, _ = lowered("tiny-int8.bundle/../tiny.bundle", "fp32", out=Path("again.bundle"))
    assert again.manifest.parity["cpu"]["max_abs"] < 1e-5


def test_what_a_bundle_is_not_made_into(checkpoint: Path) -> None:
    export("runs/tiny")
    lowered("tiny.bundle", "int8")
    with pytest.raises(UsageError, match=r"the source is in int8 already; expected one in fp32"):
        lowered("tiny-int8.bundle", "fp16")
    with pytest.raises(BadArtefact, match="asked for fp32, the network computes in int8"):
        lowered("tiny-int8.bundle", "fp32", out=Path("x.bundle"))
    with pytest.raises(UsageError, match=r"-o tiny.bundle is the source itself"):
        lowered("tiny.bundle", "fp32")
    with pytest.raises(UsageError, match=r"--input does not go with tiny.bundle, which is a bundle"):
        lowered("tiny.bundle", "fp32", inputs=("1x3x16x16",))


def test_a_bundle_calls_nothing_that_it_may_not(checkpoint: Path) -> None:
    manifest = export("runs/tiny").manifest
    source = {**manifest.provenance["source"], "score": "os:system"}
    files = {"model.onnx": Path("tiny.bundle/model.onnx").read_bytes()}
    from dataclasses import replace

    write_bundle(
        Path("bad.bundle"), replace(manifest, provenance={**manifest.provenance, "source": source}), dict(files)
    )
    with pytest.raises(BadArtefact, match=r"manifest.json names score os:system, .* is not run"):
        lowered("bad.bundle", "int8")


def test_a_bundle_that_ships_is_a_source_by_its_name() -> None:
    from helmsight.export.source import load_source

    source = load_source("navigate")
    assert (source.name, source.task, source.provenance["kind"]) == ("navigate", "navigate", "bundle")
    assert source.score is not None
    assert source.score.__module__ == "helmsight.train.navigate.evaluate"
    assert source.samples is not None
    assert source.samples.__module__ == "helmsight.train.navigate.data"
