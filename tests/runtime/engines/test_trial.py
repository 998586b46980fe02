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
from contextlib import contextmanager
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
sys.path.insert(0, sys.argv[1])
from helmsight.cli import build as command, main
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.engines import build as module, tensorrt_rtx
from helmsight.runtime.engines.source import NetworkFile
from tests.runtime.engines.fakes import FakeCuda

data, way = Path(sys.argv[2]).read_bytes(), sys.argv[3]
module.tensorrt, module.open_cuda = tensorrt_rtx, FakeCuda
module.network_file = lambda bundle, library: NetworkFile("model.onnx", data, "0" * 64, "fp32")
told = []

def report(state):
    told.append(state)
    if len(told) == 1:
        print("builds", flush=True)
        if way != "cannot be stopped":  # so that it is not done before the signal comes, however busy the machine is
            time.sleep(2)

@contextmanager
def bar():
    yield report

command._bar = bar
if way == "cannot be stopped":
    module.monitor = lambda library, progress: None  # as before 8.6
if way == "in a program":
    try:
        module.build(open_bundle("face"), report)
    except KeyboardInterrupt:
        before = len(told)
        time.sleep(3)
        sys.exit(130 if len(told) == before else "the builder worked on")
sys.argv = ["helmsight", "build", "face"]
main.main()
"""


@pytest.mark.parametrize(
    ("way", "number", "code"),
    [
        ("by the command", signal.SIGINT, 130),
        ("by the command", signal.SIGTERM, 143),
        ("in a program", signal.SIGINT, 130),
        ("cannot be stopped", signal.SIGINT, 130),
        ("cannot be stopped", signal.SIGTERM, 143),
    ],
)
def test_a_signal_ends_a_build_and_leaves_nothing(tmp_path: Path, way: str, number: int, code: int) -> None:
    """The builder that stops is TensorRT-RTX's, which needs no GPU; the GPU that is asked for its name is a fake."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'helmsight[rtx]'")
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    from helmsight.export.nvidia import cast_first

    onnx.save(cast_first(onnx.load(open_bundle("face").model)), tmp_path / "face.onnx")
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", INTERRUPTED, root, tmp_path / "face.onnx", way]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as running:
        assert running.stdout
        assert running.stdout.readline() == "builds\n"
        os.kill(running.pid, number)
        _, said = running.communicate(timeout=40)
    assert (running.returncode, said) == (code, "")
    assert list((tmp_path / "cache" / "helmsight" / "engines").iterdir()) == []
