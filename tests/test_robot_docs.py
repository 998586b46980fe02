"""The receivers of docs/robot.md: the plain one is run against the camera command, the ROS node is compiled."""

from __future__ import annotations

import ast
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from helmsight.runtime.bundle import Bundle

PAGE = (Path(__file__).parents[1] / "docs" / "robot.md").read_text()


def program(section: str) -> str:
    """The Python fence below a heading."""
    found = re.search(rf"^## {section}\n.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found, section
    return found.group(1)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return True
    return False


def test_the_plain_receiver_drives_and_stands_when_nothing_comes(navigate_bundle: Bundle, clip: Path) -> None:
    port = free_port()
    code = program("Python and MicroPython").replace("9870", str(port))
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True) as receiver:
        try:
            deadline = time.monotonic() + 20
            while not listens(port):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            command = [sys.executable, "-m", "helmsight", "camera", str(navigate_bundle.path), "--source", str(clip)]
            command += ["--device", "fake", "--robot", f"udp://127.0.0.1:{port}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for nonsense in (b"[1]", b"\xff", b"{}"):
                    stranger.sendto(nonsense, ("127.0.0.1", port))
            time.sleep(1.2)
        finally:
            receiver.terminate()
        said = receiver.communicate(timeout=10)[0].split("\n")
    drove = [at for at, line in enumerate(said) if line == "0.6 0.0"]
    assert len(drove) == 12
    assert said[drove[-1] + 1] == "0.0 0.0", "the stop at the end"
    after = [line for line in said[drove[-1] + 2 :] if line]
    assert len(after) >= 5, "three times nonsense, twice silence"
    assert set(after) == {"0 0"}


def test_the_ros_node_compiles_and_is_short() -> None:
    code = program("ROS 2")
    tree = ast.parse(code)
    compile(tree, "robot.md", "exec")
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"geometry_msgs.msg"}
    assert len(code.splitlines()) < 30
