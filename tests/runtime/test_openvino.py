"""The OpenVINO back end with the real package: the precision that was asked for, read back from what it made."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from helmsight.devices.errors import BadArtefact, DeviceMismatch
from helmsight.devices.processor import processor
from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.backends.openvino import find_openvino
from helmsight.runtime.bundle import Bundle, open_bundle, write_bundle

if importlib.util.find_spec("openvino") is None:  # to import it here would send its message
    pytest.skip("openvino is not installed (extra openvino)", allow_module_level=True)

OPENVINO = SessionOptions("openvino", threads=1)


def picture(bundle: Bundle) -> dict[str, np.ndarray]:
    (spec,) = bundle.manifest.inputs
    return {spec.name: np.random.default_rng(0).integers(0, 256, spec.shape, np.uint8)}


@pytest.mark.parametrize("name", ["face", "navigate"])
def test_a_network_in_fp32_gives_what_onnx_runtime_gives(name: str) -> None:
    bundle = open_bundle(name)
    feeds = picture(bundle)
    with load(bundle) as expected, load(bundle, OPENVINO) as session:
        assert (session.device, session.precision) == ("openvino", "fp32")
        assert set(session.layer_types) == {"fp32"}
        assert sum(session.layer_types.values()) == sum(bundle.manifest.parity["cpu"]["real"]["weighted_ops"].values())
        right, made = expected.run(feeds), session.run(feeds)
        assert [spec.shape for spec in session.outputs] == [spec.shape for spec in expected.outputs]
        kept = {key: values.copy() for key, values in made.items()}
        session.run({key: 255 - array for key, array in feeds.items()})
    for key, values in right.items():
        np.testing.assert_allclose(kept[key], values, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(kept[key], made[key], "outputs of a run are the caller's to keep")
    with pytest.raises(RuntimeError, match="closed"):
        session.run(feeds)


def test_a_size_that_is_chosen_at_load() -> None:
    bundle = open_bundle("face").resized((192, 256))
    feeds = picture(bundle)
    with load(bundle) as expected, load(bundle, OPENVINO) as session:
        right, made = expected.run(feeds), session.run(feeds)
        assert {s.name: s.shape for s in session.outputs} == {s.name: s.shape for s in expected.outputs}
    np.testing.assert_allclose(made["scores"], right["scores"], rtol=1e-3, atol=1e-3)


def test_threads_are_those_that_were_asked_for_or_may_be_used() -> None:
    bundle = open_bundle("navigate")
    for asked, used in ((1, 1), (0, processor().usable_cores)):
        with load(bundle, SessionOptions("openvino", asked)) as session:
            assert int(session._compiled.get_property("INFERENCE_NUM_THREADS")) == used
            assert session._compiled.get_property("ENABLE_CPU_PINNING") is False


def test_bf16_is_for_a_bundle_that_was_exported_so_and_for_a_processor_that_has_it(tmp_path: Path) -> None:
    plain = open_bundle("navigate")
    parity = {"cpu": {**plain.manifest.parity["cpu"], "bf16": {"precision": "bf16"}}}
    manifest = replace(plain.manifest, parity=parity)
    files: dict[str, Path | bytes] = {name: plain.read(name) for name in plain.manifest.files}
    bundle = write_bundle(tmp_path / "b.bundle", manifest, files)
    if "BF16" not in find_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(DeviceMismatch, match="computes in fp32 on this processor, which was asked for bf16"):
            load(bundle, OPENVINO)
        with load(bundle, replace(OPENVINO, allow_fallback=True)) as session:
            assert session.precision == "fp32"
        return
    with load(bundle, OPENVINO) as session, load(plain, OPENVINO) as full:
        assert (session.precision, full.precision) == ("bf16", "fp32")
        made, right = session.run(picture(bundle)), full.run(picture(plain))
    assert np.abs(made["free_space"] - right["free_space"]).max() > 1e-5, "or nothing was computed in it"


def test_what_it_computes_in_must_be_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helmsight.runtime.backends.openvino.read_layers", lambda compiled: {"bf16": 20})
    with pytest.raises(DeviceMismatch, match="OpenVINO computes in bf16, asked for fp32; use --device cpu"):
        load(open_bundle("navigate"), replace(OPENVINO, allow_fallback=True))


@pytest.mark.parametrize(
    ("feeds", "error", "said"),
    [
        ({}, ValueError, "no feed for input image"),
        ({"image": np.zeros((1, 96, 128, 3), np.float32)}, BadArtefact, "fed float32 .* expected uint8"),
        ({"image": np.zeros((1, 96, 120, 3), np.uint8)}, BadArtefact, r"fed uint8 \(1, 96, 120, 3\)"),
    ],
)
def test_what_it_would_take_in_silence_is_refused(feeds: dict, error: type[Exception], said: str) -> None:
    """Left alone it casts floats to bytes, and runs on the array before where there is none."""
    with load(open_bundle("navigate"), OPENVINO) as session, pytest.raises(error, match=said):
        session.run(feeds)


def test_files_that_are_no_network_or_not_the_one_of_the_manifest(tmp_path: Path) -> None:
    whole = open_bundle("navigate")
    shape = whole.manifest.inputs[0].shape
    x = helper.make_tensor_value_info("image", TensorProto.UINT8, shape)
    y = helper.make_tensor_value_info("steer", TensorProto.UINT8, shape)
    node = helper.make_node("NoSuchThing", ["image"], ["steer"])
    unknown = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18)])
    node = helper.make_node("Identity", ["image"], ["steer"])
    other = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18)])
    # Of such an operator set OpenVINO's parser looks for the one before, and so on for ever.
    zero = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 0)])
    cases = (
        (unknown, "does not load in .*NoSuchThing"),
        (zero, "domain_version of 0"),
        (other, "output steer is uint8"),
    )
    for data, said in cases:
        bundle = write_bundle(tmp_path / "x.bundle", whole.manifest, {"model.onnx": data.SerializeToString()})
        with pytest.raises(BadArtefact, match=said) as caught:
            load(bundle, OPENVINO)
        assert "\n" not in str(caught.value)


def test_importing_it_tells_nobody(tmp_path: Path) -> None:
    """By itself the package sends a message at each import, and keeps an id for it in the home folder."""
    code = (
        "import json, sys, threading\n"
        "from helmsight.runtime.backends.openvino import find_openvino\n"
        "find_openvino()\n"
        "loaded = [name for name, module in sys.modules.items() if name.startswith('openvino_telemetry') and module]\n"
        "print(json.dumps([loaded, threading.active_count()]))"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stdout) == [[], 1]
    assert list(tmp_path.iterdir()) == []
