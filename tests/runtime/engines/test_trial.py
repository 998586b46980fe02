"""The processes of a build: the one that loads an engine first, and one that is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helmsight.devices.errors import DeviceMismatch
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.engines.trial import try_engine


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
