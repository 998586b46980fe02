"""A preview on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helmsight.runtime.meter import Meter
from helmsight.runtime.preview.preview import Preview
from helmsight.runtime.preview.status import Running
from helmsight.runtime.sinks.take import Takes
from helmsight.runtime.sources.fake import FakeSource

from .fakes import CountingOverlay


@pytest.fixture
def overlay() -> CountingOverlay:
    return CountingOverlay()


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
def takes(tmp_path: Path) -> Iterator[Takes]:
    with Takes(tmp_path / "run", FakeSource(1), {}) as made:
        yield made


@pytest.fixture
def preview(overlay: CountingOverlay, meter: Meter, takes: Takes) -> Iterator[Preview]:
    models = {"face": {"bundle": 'a "b"\\c.bundle', "device": "cpu", "precision": "fp32"}}
    with Preview("127.0.0.1:0", overlay) as made:
        made.follow(Running("fake://", models, meter, lambda: {"face": 7}, 500.0, takes))
        yield made
