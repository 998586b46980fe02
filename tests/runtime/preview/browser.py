"""Chromium without a screen, spoken to by the WebDriver protocol (W3C): a page as people get it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key of an element's id, by the standard."""
SIZES = {"desktop": (1440, 900), "telephone": (390, 844)}


class Browser:
    """One tab."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, url: str) -> None:
        self._post("url", {"url": url})

    def js(self, code: str, *arguments: Any) -> Any:
        """What the body of a function returns."""
        return self._post("execute/sync", {"script": code, "args": list(arguments)})

    def until(self, code: str, timeout_s: float = 20.0) -> Any:
        """Wait until the expression holds, and return it."""
        deadline = time.monotonic() + timeout_s
        while not (value := self.js(f"return {code}")):
            assert time.monotonic() < deadline, f"not within {timeout_s} s: {code}"
            time.sleep(0.1)
        return value

    def click(self, selector: str) -> None:
        found = self._post("element", {"using": "css selector", "value": selector})
        self._post(f"element/{found[ELEMENT]}/click", {})

    def looks(self, size: tuple[int, int], dark: bool = False) -> None:
        """The window's width and height as CSS has them, and the colours that the reader prefers."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"features": [scheme]})

    def picture(self, path: Path) -> None:
        shot = self._devtools("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shot["data"]))

    def _devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._post("goog/cdp/execute", {"cmd": command, "params": parameters})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return _call(f"{self._session}/{path}", body)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own; the test is skipped where there is none."""
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("no chromedriver: Debian has it in chromium-driver")
    process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        line = next((line for line in process.stdout if "successfully on port " in line), "")
        root = f"http://127.0.0.1:{line.rsplit(' ', 1)[1].strip().rstrip('.')}/session"
        options = {
            "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        }
        opened = _call(root, {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        session = f"{root}/{opened['sessionId']}"
        try:
            yield Browser(session)
        finally:
            _call(session, None, "DELETE")
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


def _call(url: str, body: dict[str, Any] | None, method: str = "POST") -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["value"]
