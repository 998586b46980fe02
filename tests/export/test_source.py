"""Reading what is to be exported, and every way that it can be wrong."""

import json
from pathlib import Path

import pytest

from helmsight.devices.errors import BadArtefact, UsageError
from helmsight.export.source import check_task, load_source

from .conftest import write_checkpoint

torch = pytest.importorskip("torch", reason="export needs the train extra")
PICTURE = ("1x3x16x16",)


def test_a_checkpoint_is_read_with_its_weights(checkpoint: Path) -> None:
    import nets

    source = load_source("runs/tiny")
    assert (source.name, source.task) == ("tiny", "navigate")
    assert source.module is not None
    assert source.samples is nets.samples
    trained = nets.driver(width=6).state_dict()
    assert all(torch.equal(value, trained[key]) for key, value in source.module.state_dict().items())
    assert not source.module.training


def test_a_checkpoint_keeps_its_own_task(checkpoint: Path) -> None:
    source = load_source("runs/tiny")
    check_task(source, "")
    check_task(source, "navigate")
    with pytest.raises(UsageError, match=r"--task generic: the task of tiny is navigate, .*; use --task navigate"):
        check_task(source, "generic")


@pytest.mark.parametrize("name", ["build", "Classifier", "network"])
def test_a_callable_a_class_or_a_network_by_name(folder: Path, name: str) -> None:
    source = load_source(f"nets:{name}", inputs=PICTURE)
    assert source.name == "nets"
    assert len(source.provenance["source_sha256"]) == 64


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_weights_are_put_into_the_network(folder: Path, suffix: str) -> None:
    import nets
    from safetensors.torch import save_file

    state = {key: value + 1 for key, value in nets.build().state_dict().items()}
    file = folder / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save({"state_dict": state}, file)
    source = load_source("nets:build", file, PICTURE)
    assert source.module is not None
    assert torch.equal(source.module.state_dict()["head.bias"], state["head.bias"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("absent:build", "no module absent"),
        ("absent.deep:build", "no module absent.deep"),
        ("nets:nothing", "nets has no nothing; it has .*build"),
        ("nets:number", "returned a int"),
        ("nets:state", "returned a OrderedDict; expected a torch.nn.Module; save it, .* and add --weights FILE"),
        ("w.pt", "nothing that exports: weights alone are no network; name what builds it and add --weights w.pt"),
        ("nets.py", "nothing that exports: a module goes without .py .*, as in nets:build"),
        ("nets:text", "is a str; expected a callable"),
        ("nets:needs_classes", "missing a required argument: 'classes'"),
        ("nets:fails", "RuntimeError: first line at nets.py:"),
        ("broken:build", "importing broken failed with SyntaxError"),
        ("needy:build", "needy imports no_such_package, which is not installed"),
        ("nets", "is nothing that exports; expected"),
        ("navigat", "is nothing that exports; did you mean navigate"),
        ("runs/absent", "is nothing that exports"),
    ],
)
def test_a_callable_that_is_none(folder: Path, text: str, message: str) -> None:
    (folder / "broken.py").write_text("def build(:\n")
    (folder / "needy.py").write_text("import no_such_package\n")
    with pytest.raises(UsageError, match=message) as caught:
        load_source(text, inputs=PICTURE)
    assert "\n" not in str(caught.value)


def test_a_callable_needs_its_input_said(folder: Path) -> None:
    with pytest.raises(UsageError, match="add --input"):
        load_source("nets:build")


def test_weights_that_do_not_fit_name_the_first_keys(folder: Path) -> None:
    import nets
    from safetensors.torch import save_file

    state = nets.build(classes=7).state_dict()
    state["extra"] = state.pop("body.0.weight")
    save_file(state, folder / "w.safetensors")
    with pytest.raises(BadArtefact) as caught:
        load_source("nets:build", folder / "w.safetensors", PICTURE)
    message = str(caught.value)
    assert "1 missing (body.0.weight)" in message
    assert "1 unexpected (extra)" in message
    assert "head.weight (7, 16) for (10, 16)" in message


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_weights_as_training_loops_save_them(folder: Path, key: str, prefix: str) -> None:
    import nets

    state = {name: value + 1 for name, value in nets.build().state_dict().items()}
    saved = {"epoch": 3, key: {prefix + name: value for name, value in state.items()}, "optimizer": {"state": {}}}
    torch.save(saved, folder / "w.pt")
    source = load_source("nets:build", folder / "w.pt", PICTURE)
    assert source.module is not None
    assert torch.equal(source.module.state_dict()["head.bias"], state["head.bias"])


class Payload:
    """Pickled, it would call print when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("pickled code ran",)


def test_weights_never_run_pickled_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"w": Payload()}, folder / "w.pt")
    with pytest.raises(BadArtefact, match=r"holds more than tensors, .* would run its code; save model.state_dict\(\)"):
        load_source("nets:build", folder / "w.pt", PICTURE)
    assert "pickled code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("w.safetensors", b"\x10\0\0\0\0\0\0\0{", BadArtefact, "cannot be read as a state dict"),
        ("w.pt", b"nothing", BadArtefact, "cannot be read as a state dict"),
        ("w.bin", b"nothing", UsageError, "end in .bin"),
    ],
)
def test_broken_weights(folder: Path, name: str, content: bytes, error: type[Exception], message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(error, match=message):
        load_source("nets:build", folder / name, PICTURE)


def test_absent_weights(folder: Path) -> None:
    with pytest.raises(UsageError, match="no weights at"):
        load_source("nets:build", folder / "absent.pt", PICTURE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "has schema_version 2, this helmsight reads 1; upgrade"),
        ({"schema_version": None}, "is no checkpoint"),
        ({"inputs": None}, "is no checkpoint .KeyError: 'inputs'"),
        ({"inputs": [{"nam": 1}]}, "is no checkpoint"),
        ({"config": {"width": 5}}, "does not fit Driver: 4 of another shape .*, ..."),
        ({"model": "os:system", "config": {"command": "touch hacked"}}, "is not run"),
        ({"samples": "os:urandom"}, "is not run"),
        ({"score": "nets:absent"}, "names score nets:absent: nets has no absent"),
        ({"model": "nets:nn.Linear", "config": {"in_features": 1, "out_features": 1}}, "expected one public name"),
        ({"model": "nets:_hidden"}, "expected one public name"),
        ({"model": "nets:network"}, "no function or class that nets itself defines"),
        ({"samples": "nets:np.load"}, "expected one public name"),
        (
            {"provenance": {"weights_sha256": "0" * 64}},
            "checkpoint.json was written with 0000",
        ),
    ],
)
def test_a_bad_checkpoint(folder: Path, changes: dict[str, object], message: str) -> None:
    write_checkpoint(folder, **changes)
    with pytest.raises(BadArtefact, match=message):
        load_source("runs/tiny")
    assert not (folder / "hacked").exists()


@pytest.mark.parametrize("key", ["model", "samples", "score"])
@pytest.mark.parametrize("name", ["subprocess.run", "shutil.rmtree", "run", "load_weights.__globals__"])
def test_a_checkpoint_calls_nothing_that_trusted_code_merely_imports(
    folder: Path, monkeypatch: pytest.MonkeyPatch, key: str, name: str
) -> None:
    import subprocess

    import helmsight.train.checkpoint as trusted

    monkeypatch.setattr(trusted, "run", subprocess.run, raising=False)  # as `from subprocess import run` would leave it
    config = {"args": ["touch", "hacked"]} if key == "model" else {"width": 6}
    write_checkpoint(folder, **{key: f"helmsight.train.checkpoint:{name}", "config": config})
    with pytest.raises(BadArtefact, match=rf"names {key} .* is not run"):
        load_source("runs/tiny")
    assert not (folder / "hacked").exists()


def test_weights_that_are_those_of_the_record(folder: Path) -> None:
    from helmsight.runtime.bundle import sha256

    run = write_checkpoint(folder)
    record = json.loads((run / "checkpoint.json").read_text())
    record["provenance"]["weights_sha256"] = sha256(run / "model.safetensors")
    (run / "checkpoint.json").write_text(json.dumps(record))
    assert load_source("runs/tiny").provenance["weights_sha256"] == record["provenance"]["weights_sha256"]


def test_a_checkpoint_cut_off_or_without_weights(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "away")
    with pytest.raises(BadArtefact, match=r"model.safetensors is missing"):
        load_source("runs/tiny")
    text = (checkpoint / "checkpoint.json").read_text()
    (checkpoint / "checkpoint.json").write_text(text[:99])
    with pytest.raises(BadArtefact, match=r"is no checkpoint .JSONDecodeError"):
        load_source("runs/tiny")
    (checkpoint / "checkpoint.json").unlink()
    with pytest.raises(BadArtefact, match=r"checkpoint.json is missing; expected a folder made by `helmsight train`"):
        load_source("runs/tiny")


def test_options_that_do_not_go_with_a_checkpoint(checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="--input does not go with runs/tiny"):
        load_source("runs/tiny", inputs=PICTURE)
