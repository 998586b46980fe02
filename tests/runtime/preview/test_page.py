"""The page in a real browser."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from helmsight.runtime.meter import Meter
from helmsight.runtime.preview.preview import Preview
from helmsight.runtime.results import Stop
from helmsight.runtime.sinks.take import Takes
from helmsight.runtime.sources import open_source

from .browser import SIZES, Browser, chromium
from .fakes import result

pytestmark = pytest.mark.slow

DRAWN = """(id => {
    const canvas = document.querySelector(`${id} canvas, canvas${id}`);
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const found = new Set();
    for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] === 255) found.add(pixels.slice(i, i + 3).join());
    return found;
})"""
"""The opaque colours of a plot."""


@dataclass
class Camera:
    """Results at some 20 a second, while `on`."""

    preview: Preview
    takes: Takes
    stop: Stop | None = None
    on: bool = True
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        index = 0
        while not self._ended.wait(0.05):
            if self.on:
                for sink in (self.takes, self.preview):
                    sink(result(index, self.stop))
                index += 1


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def camera(preview: Preview, takes: Takes, meter: Meter) -> Iterator[Camera]:
    meter.source_is("open")
    running = Camera(preview, takes)
    yield running
    running.close()


def url(preview: Preview) -> str:
    return f"http://127.0.0.1:{preview.port}/"


def test_the_picture_arrives_and_goes_on_and_the_plots_draw(browser: Browser, preview: Preview, camera: Camera) -> None:
    browser.looks(SIZES["desktop"])
    browser.open(url(preview))
    assert browser.until("document.querySelector('#picture').naturalWidth") == 64
    before = browser.js("return document.querySelector('#picture').src")
    browser.until(f"document.querySelector('#picture').src !== {before!r}")
    assert browser.until("document.querySelector('#state').textContent") == "live"
    browser.until("document.querySelector('#veil').hidden")
    browser.until(f"{DRAWN}('#age').has('31,95,191')")
    browser.until("document.querySelectorAll('#latency-face .key b').length === 4")
    drawn = "['167,176,186', '74,163,216', '31,95,191', '217,138,31']"
    browser.until(f"{drawn}.filter(c => {DRAWN}('#latency-face').has(c)).length >= 3")
    assert browser.js("return document.querySelector('#latency-face .key').textContent").startswith("wait 1.00prepare")
    errors = browser.js("return performance.getEntriesByType('resource').map(e => new URL(e.name).origin)")
    assert {origin for origin in errors if origin != "null"} == {url(preview).rstrip("/")}, "nothing from elsewhere"


def test_the_button_starts_and_stops_a_recording_that_replays(
    browser: Browser, preview: Preview, takes: Takes, camera: Camera, tmp_path: Path
) -> None:
    browser.looks(SIZES["telephone"])
    browser.open(url(preview))
    browser.until("!document.querySelector('#record').hidden")
    for name in ("run", "run-2"):
        assert browser.js("return document.querySelector('#record').textContent") == "Record"
        browser.click("#record")
        browser.until("document.querySelector('#record').textContent.startsWith('Stop recording')")
        assert takes.state()["on"]
        browser.until("/recording to.*: [1-9]\\d* frames/.test(document.querySelector('#run').textContent)")
        browser.click("#record")
        browser.until("document.querySelector('#record').textContent === 'Record'")
        assert takes.state()["on"] is False
        with open_source(f"replay://{tmp_path / name}") as source:
            assert len(list(source)) == takes.state()["frames"] > 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_it_fits_and_is_legible(
    browser: Browser, preview: Preview, camera: Camera, size: tuple[int, int], dark: bool
) -> None:
    browser.looks(size, dark)
    browser.open(url(preview))
    browser.until("document.querySelectorAll('#latency-face .key b').length === 4")
    assert browser.js("return document.documentElement.scrollWidth") <= size[0]
    ink, ground = (
        sum(map(int, browser.js(f"return getComputedStyle(document.body).{name}.match(/\\d+/g)")[:3]))
        for name in ("color", "backgroundColor")
    )
    assert (ink > ground) == dark
    assert abs(ink - ground) > 500
    assert browser.js("return parseFloat(getComputedStyle(document.body).fontSize)") >= 15


def test_a_stop_silence_and_the_end_are_seen(browser: Browser, preview: Preview, camera: Camera, meter: Meter) -> None:
    browser.looks(SIZES["telephone"])
    browser.open(url(preview))
    browser.until("document.querySelector('#state').textContent === 'live'")
    camera.stop = Stop("result is 700 ms old")
    browser.until("document.querySelector('#alert').offsetHeight")
    assert browser.js("return document.querySelector('#alert').textContent") == "STOP: result is 700 ms old"
    camera.on = False
    meter.source_is("lost", "unplugged")
    browser.until("document.querySelector('#veil').textContent.includes('No new picture for')")
    assert "unplugged" in browser.js("return document.querySelector('#veil').textContent")
    assert browser.js("return document.querySelector('#state').textContent").startswith("lost, opening again for")
    preview.close()
    browser.until("document.querySelector('#veil').textContent.includes('No connection')")
