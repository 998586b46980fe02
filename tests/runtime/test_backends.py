import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, external_data_helper, helper
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

from helmsight.devices.errors import BadArtefact, DeviceMismatch, UsageError
from helmsight.runtime.backends import MOST_THREADS, SessionOptions, load
from helmsight.runtime.bundle import Bundle, Manifest, TensorSpec, write_bundle


@pytest.fixture
def doubler(tmp_path: Path) -> Bundle:
    """y = x + x, float32 (1, 3)."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubler", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    spec = TensorSpec("x", (1, 3), "float32"), TensorSpec("y", (1, 3), "float32")
    manifest = Manifest("doubler", "", spec[:1], spec[1:], parity={"cpu": {"precision": "fp32"}})
    return write_bundle(tmp_path / "d.bundle", manifest, {"model.onnx": model.SerializeToString()})


def test_onnxruntime_runs_and_says_where(doubler: Bundle) -> None:
    with load(doubler) as session:
        outputs = session.run({"x": np.array([[1, 2, 3]], np.float32)})
        assert session.device == "cpu"
        assert session.precision == "fp32"
    np.testing.assert_array_equal(outputs["y"], [[2, 4, 6]])
    with pytest.raises(RuntimeError, match="closed"):
        session.run({})


def test_a_truncated_network_is_a_bad_artefact(doubler: Bundle, tmp_path: Path) -> None:
    whole = doubler.model.read_bytes()
    cut = write_bundle(tmp_path / "cut.bundle", doubler.manifest, {"model.onnx": whole[: len(whole) // 2]})
    with pytest.raises(BadArtefact, match=r"model\.onnx is no ONNX model or is cut off") as caught:
        load(cut)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is here")
def test_a_device_that_is_not_here_is_refused_unless_the_fallback_is_allowed(doubler: Bundle) -> None:
    with pytest.raises(DeviceMismatch, match="CUDAExecutionProvider"):
        load(doubler, SessionOptions("cuda"))
    with load(doubler, SessionOptions("cuda", allow_fallback=True)) as session:
        assert session.device == "cpu"


def test_cuda_of_pips_packages_is_loaded_and_what_that_prints_is_no_record(
    doubler: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ort = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(ort, "preload_dlls", lambda: print("Failed to load libcublasLt.so.13"), raising=False)
    load(doubler, SessionOptions("cpu")).close()
    assert "libcublasLt" not in capsys.readouterr().err
    load(doubler, SessionOptions("cuda", allow_fallback=True)).close()
    said = capsys.readouterr()
    assert (said.out, "Failed to load libcublasLt.so.13" in said.err) == ("", True)


@pytest.fixture
def halver(tmp_path: Path) -> Bundle:
    """Every other pixel of a picture (1, H, W, 3) uint8, usually 4 x 6, or of other multiples of 4."""
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, [1, "height", "width", 3])
    y = helper.make_tensor_value_info("y", TensorProto.UINT8, [1, "y_1", "y_2", 3])
    constants = {"starts": [0, 0], "ends": [9999, 9999], "axes": [1, 2], "steps": [2, 2]}
    stored = [helper.make_tensor(name, TensorProto.INT64, [2], values) for name, values in constants.items()]
    node = helper.make_node("Slice", ["x", *constants], ["y"])
    graph = helper.make_graph([node], "halver", [x], [y], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    picture = TensorSpec("x", (1, 4, 6, 3), "uint8", "NHWC", "BGR", (0, 255), multiple=4)
    manifest = Manifest("halver", "", (picture,), (TensorSpec("y", (1, 2, 3, 3), "uint8"),))
    return write_bundle(tmp_path / "h.bundle", manifest, {"model.onnx": model.SerializeToString()})


def test_the_size_is_fixed_at_load_and_the_session_says_what_comes_out(halver: Bundle) -> None:
    with load(halver) as usual, load(halver.resized((8, 4))) as portrait:
        assert (usual.inputs[0].shape, usual.outputs[0].shape) == ((1, 4, 6, 3), (1, 2, 3, 3))
        assert (portrait.inputs[0].shape, portrait.outputs[0].shape) == ((1, 8, 4, 3), (1, 4, 2, 3))
        image = np.arange(96, dtype=np.uint8).reshape(1, 8, 4, 3)
        np.testing.assert_array_equal(portrait.run({"x": image})["y"], image[:, ::2, ::2])
        with pytest.raises(BadArtefact, match="Got invalid dimensions"):
            portrait.run({"x": np.zeros((1, 4, 6, 3), np.uint8)})


def test_an_unknown_device_names_the_known_ones(doubler: Bundle) -> None:
    with pytest.raises(UsageError, match="tpu is unknown; expected one of cpu"):
        load(doubler, SessionOptions("tpu"))


@pytest.mark.parametrize("threads", [-1, 100_000])
def test_threads_that_no_machine_has_are_refused_before_any_is_made(threads: int) -> None:
    with pytest.raises(UsageError, match=f"--threads {threads}: expected 1 to [0-9]+, or 0 for as many as may be used"):
        SessionOptions(threads=threads)
    assert [SessionOptions(threads=most).threads for most in (0, 1, MOST_THREADS)] == [0, 1, MOST_THREADS]


def test_the_fake_keeps_the_contract(doubler: Bundle) -> None:
    with load(doubler, SessionOptions("fake")) as session:
        assert session.run({"x": np.ones((1, 3), np.float32)})["y"].shape == (1, 3)
        with pytest.raises(ValueError, match="no feed for input x"):
            session.run({})
    with pytest.raises(RuntimeError, match="closed"):
        session.run({"x": np.ones((1, 3), np.float32)})


def test_what_is_loaded_is_what_was_checked(doubler: Bundle) -> None:
    doubler.model.write_bytes(b"swapped after the check")
    with pytest.raises(BadArtefact, match="was changed after it was checked"):
        load(doubler)


def test_weights_in_a_file_beside_the_network_are_not_read(
    doubler: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1, 3], np.ones(3, np.float32).tobytes(), raw=True)
    external_data_helper.set_external_data(weights, "weights.bin")
    weights.ClearField("raw_data")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    bundle = write_bundle(tmp_path / "e.bundle", doubler.manifest, {"model.onnx": model.SerializeToString()})
    (bundle.path / "weights.bin").write_bytes(np.full(3, 7, np.float32).tobytes())
    monkeypatch.chdir(bundle.path)
    with pytest.raises(BadArtefact, match=r"tensor w has its data in another file, weights\.bin"):
        load(bundle)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("[ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access was encountered", DeviceMismatch),
        ("CUDNN failure 4: CUDNN_STATUS_INTERNAL_ERROR", DeviceMismatch),
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x", BadArtefact),
    ],
)
def test_a_gpu_that_fails_is_no_bad_file(doubler: Bundle, said: str, expected: type[Exception]) -> None:
    """The session stands in for one on a GPU, which no test here has: what it raises is what CUDA's provider says."""

    class Failing:
        def run(self, names: object, feeds: object) -> None:
            raise RuntimeError(said)

    with load(doubler) as session:
        session.device, session._session = "cuda", Failing()  # type: ignore[attr-defined]
        with pytest.raises(expected) as caught:
            session.run({})
    assert "\n" not in str(caught.value)
    if expected is DeviceMismatch:
        assert "use --device cpu" in str(caught.value)


def test_a_gpu_that_fails_in_a_run_is_told_and_the_cpu_is_not_tried_in_silence(
    doubler: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime's own session over what its C++ part raises when CUDA's provider fails."""

    class Failing:
        def run(self, *asked: object) -> None:
            raise EPFail("CUDA failure 700: an illegal memory access was encountered")

        def __getattr__(self, name: str) -> object:
            return getattr(whole, name)

    with load(doubler) as session:
        whole = session._session._sess  # type: ignore[attr-defined]
        monkeypatch.setattr(session._session, "_sess", Failing())  # type: ignore[attr-defined]
        monkeypatch.setattr(session, "device", "cuda")
        with pytest.raises(DeviceMismatch, match=r"the GPU failed while it ran .*CUDA failure 700"):
            session.run({"x": np.ones((1, 3), np.float32)})
    assert "Falling back" not in capsys.readouterr().out


def test_importing_onnxruntime_tells_nobody(tmp_path: Path) -> None:
    """By itself 1.32 keeps an id of the machine, and what it has to report, in the user's cache folder."""
    code = (
        "import os\n"
        "from helmsight.runtime.backends import load\n"
        "from helmsight.runtime.bundle import open_bundle\n"
        "before = dict(os.environ)\n"
        "with load(open_bundle('navigate')):\n"
        "    assert dict(os.environ) == before\n"
    )
    kept = {key: value for key, value in os.environ.items() if key not in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY")}
    environment = kept | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(tmp_path.rglob("*")) == []
