"""From a source to a bundle: what is in it, and what stays as it was when a gate fails."""

import json
from pathlib import Path

import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, GateFailed, UsageError
from helmsight.export.build import ExportOptions, export
from helmsight.export.output import check_output
from helmsight.runtime.backends import load
from helmsight.runtime.bundle import Manifest, open_bundle, write_bundle

from .conftest import write_checkpoint

torch = pytest.importorskip("torch", reason="export needs the train extra")
PICTURE = ("1x3x16x16",)


def test_a_checkpoint_becomes_a_bundle_that_runs(checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import nets

    steps: list[str] = []
    bundle = export("runs/tiny", say=steps.append)
    assert bundle.path == Path("tiny.bundle")
    assert capfd.readouterr() == ("", ""), "what torch prints is kept off the screen"
    assert not any("WARNING" in step for step in steps)
    manifest = open_bundle("tiny.bundle").manifest
    cpu = manifest.parity["cpu"]
    assert (cpu["precision"], cpu["n"], cpu["inputs_are_real"], cpu["reference"]) == ("fp32", 32, True, "torch")
    assert cpu["max_abs"] < 1e-5
    assert cpu["score"]["steer_mean"]["exported"] == manifest.metrics["steer_mean"]["value"]
    assert manifest.metrics["steer_rmse"]["value"] == 0.5, "the checkpoint's own metrics are kept"
    assert manifest.provenance["graph"]["opset"] == 18
    assert manifest.provenance["source"]["training"]["seed"] == 3
    assert set(manifest.provenance["versions"]) >= {"torch", "onnx", "onnxruntime", "helmsight"}
    picture = nets.samples(1, 5)
    with load(bundle) as session, torch.inference_mode():
        steer = session.run({"image": picture})["steer"]
        source = nets.driver(6)
        assert steer == pytest.approx(source(torch.from_numpy(picture))[0].numpy(), abs=1e-5)
    card = (bundle.path / "README.md").read_text()
    for said in ("steer_mean", "It knows noise only.", "frames: 10", "uint8 1x24x32x3", "torch on 32 inputs"):
        assert said in card


def test_a_network_of_the_users_own(folder: Path) -> None:
    steps: list[str] = []
    bundle = export(
        "nets:build", ExportOptions(inputs=PICTURE, out=Path("deep/mine.bundle"), name="mine"), steps.append
    )
    assert bundle.path == Path("deep/mine.bundle")
    assert bundle.manifest.name == "mine"
    assert bundle.manifest.parity["cpu"]["inputs_are_real"] is False
    assert any("WARNING: parity is checked on generated inputs only" in step for step in steps)
    assert "generated inputs only" in (bundle.path / "README.md").read_text()
    assert str(folder) not in (bundle.path / "manifest.json").read_text()
    assert sorted(p.name for p in folder.iterdir() if p.name != "__pycache__") == ["deep", "nets.py"]

    assert steps[-1] == "writing deep/mine.bundle"
    write_bundle(folder / "again.bundle", Manifest("kept", "", (), ()), {"model.onnx": b"of yesterday"})
    again = export(str(bundle.model), ExportOptions(out=Path("again.bundle")), steps.append)
    assert steps[-1] == "writing again.bundle, in place of the bundle that was there"
    assert again.manifest.parity["cpu"]["reference"] == "onnxruntime with its optimisations off"
    assert again.manifest.provenance["graph"] == bundle.manifest.provenance["graph"]
    with pytest.raises(UsageError, match=r"--opset 20: .* has opset 18, and export does not convert it"):
        export(str(bundle.model), ExportOptions(out=Path("again.bundle"), opset=20))


def test_several_inputs_and_named_outputs(folder: Path) -> None:
    bundle = export("nets:Named", ExportOptions(inputs=("left:1x3x4x4", "right:1x3x4x4")))
    left, right = (np.random.default_rng(i).random((1, 3, 4, 4), np.float32) for i in range(2))
    with load(bundle) as session:
        made = session.run({"left": left, "right": right})
    assert list(made) == ["total", "again", "same", "best"]
    assert np.array_equal(made["same"], left)
    assert np.array_equal(made["best"], (left + right).argmax(1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NotFinite", "output 'output' of the network itself has 768 of 768 values that are not finite"),
        ("Random", "output 'output' differs on input 0"),
    ],
)
def test_a_failed_gate_leaves_the_old_bundle(folder: Path, name: str, message: str) -> None:
    options = ExportOptions(inputs=PICTURE, out=Path("kept.bundle"))
    write_bundle(folder / "kept.bundle", Manifest("kept", "", (), ()), {"model.onnx": b"of yesterday"})
    before = (folder / "kept.bundle" / "manifest.json").read_bytes()
    with pytest.raises(GateFailed, match=message):
        export(f"nets:{name}", options)
    assert (folder / "kept.bundle" / "manifest.json").read_bytes() == before
    open_bundle("kept.bundle")
    assert sorted(p.name for p in folder.iterdir() if p.name != "__pycache__") == ["kept.bundle", "nets.py"]


def test_what_torch_said_is_kept_when_it_fails(folder: Path) -> None:
    with pytest.raises(BadArtefact, match=r"all that torch says: deep/nets.export.log"):
        export("nets:Flow", ExportOptions(inputs=PICTURE, out=Path("deep/x.bundle")))
    assert "Traceback" in (folder / "deep" / "nets.export.log").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": "nets:few_samples"}, "samples gave uint8"),
        ({"outputs": [{"name": "steer", "shape": [1, 1], "dtype": "float32"}]}, "states outputs"),
    ],
)
def test_a_checkpoint_that_contradicts_itself(folder: Path, changes: dict[str, object], message: str) -> None:
    write_checkpoint(folder, **changes)
    with pytest.raises(BadArtefact, match=message):
        export("runs/tiny")
    assert not Path("tiny.bundle").exists()


def refused(message: str, error: type[Exception] = UsageError, **options: object) -> None:
    with pytest.raises(error, match=message):
        export("nets:build", ExportOptions(inputs=PICTURE, **options))  # type: ignore[arg-type]


def test_where_a_bundle_is_not_written(folder: Path) -> None:
    (folder / "mine.bundle").mkdir()
    (folder / "mine.bundle" / "thesis.txt").write_text("years of work")
    refused("is there and is no bundle", out=Path("mine.bundle"))
    (folder / "mine.bundle" / "manifest.json").write_text(json.dumps({"files": {"model.onnx": "0"}}))
    refused("holds thesis.txt, which is not the bundle's", out=Path("mine.bundle"))
    assert (folder / "mine.bundle" / "thesis.txt").read_text() == "years of work"
    (folder / "mine.bundle" / "thesis.txt").rename(folder / "mine.bundle" / "model.onnx")
    check_output(Path("mine.bundle"))  # a damaged bundle may be written anew
    (folder / "file").write_text("")
    refused("cannot write into file|cannot write into .*file", out=folder / "file" / "x.bundle")
    refused("cannot write into /proc", out=Path("/proc/x.bundle"))
    refused(r"a bundle's folder ends in .bundle; use -o x.bundle", out=Path("x"))
    refused("expected letters, digits", name="../x")
