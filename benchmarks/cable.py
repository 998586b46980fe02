"""A camera at the far end of a network cable that can be pulled: an RTSP server in a network namespace of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

SERVER = Path(__file__).parents[1] / "tests" / "rtsp_server.py"
SPACE, NEAR, FAR = "hs-camera", "hs-near", "hs-far"
NEAR_ADDRESS, FAR_ADDRESS = "198.51.100.1", "198.51.100.2"  # of documentation (RFC 5737): nobody has them


class RtspServer:
    """GStreamer's, as a camera that is switched on and off, or hangs. FileNotFoundError where there is none."""

    def __init__(self, port: int, host: str = "127.0.0.1", wrapper: tuple[str, ...] = ()) -> None:
        self._command = [*wrapper, "/usr/bin/python3", str(SERVER), str(port), "", "", host]
        self._running: subprocess.Popen[str] | None = None
        self.uri = f"rtsp://{host}:{port}/ball"

    def start(self) -> None:
        self._running = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._running.stdout
        if self._running.stdout.readline() != "listening\n":
            raise FileNotFoundError("no RTSP server")

    def stop(self) -> None:
        """Connected, and silent."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._running
        self._running.send_signal(number)

    def kill(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.communicate()


class Cable:
    """A virtual cable from here to `server`, in a namespace of its own; `pull` and `plug` it.

    What is sent meanwhile is lost without a word, as behind a switch. It needs root and Linux; FileNotFoundError where
    it cannot be had.
    """

    def __init__(self, port: int) -> None:
        self.server = RtspServer(port, FAR_ADDRESS, ("ip", "netns", "exec", SPACE))

    def __enter__(self) -> Cable:
        if os.geteuid() or not shutil.which("ip"):
            raise FileNotFoundError("no right to make a network namespace")
        self._remove()
        try:
            _ip("netns", "add", SPACE)
            _ip("link", "add", NEAR, "type", "veth", "peer", "name", FAR, "netns", SPACE)
            _ip("addr", "add", f"{NEAR_ADDRESS}/30", "dev", NEAR)
            _ip("link", "set", NEAR, "up")
            _ip("-n", SPACE, "addr", "add", f"{FAR_ADDRESS}/30", "dev", FAR)
            self.plug()
            self.server.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.server.kill()
        self._remove()

    def pull(self) -> None:
        _ip("-n", SPACE, "link", "set", FAR, "down")

    def plug(self) -> None:
        _ip("-n", SPACE, "link", "set", FAR, "up")

    def _remove(self) -> None:
        for what in (("link", "del", NEAR), ("netns", "del", SPACE)):
            subprocess.run(["ip", *what], capture_output=True, check=False)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise FileNotFoundError(f"ip {' '.join(words)}: {done.stderr.strip()}")
