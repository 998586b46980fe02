"""Which row is best, and that none is called so where intervals overlap; numbers beside rows that share a line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helmsight.runtime.profiler.layer_profile import LayerProfile
from helmsight.runtime.profiler.rates import Rates
from helmsight.runtime.profiler.record import Profile
from helmsight.runtime.profiler.report import Entry, entries_of, write_report
from helmsight.runtime.profiler.report.plots import plots
from helmsight.runtime.profiler.report.ranking import fastest, highest, in_spans

from ....profiles import a_profile, around

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

GRAPH = {"macs": 50_000_000, "weight_bytes": 400_000, "activation_bytes": 600_000}


def rows(*medians_ns: int) -> tuple[Entry, ...]:
    return entries_of([a_profile(around(ns, seed=at), threads=at + 1) for at, ns in enumerate(medians_ns)])


def fps_title(entries: tuple[Entry, ...]) -> str:
    return next(plot.title for plot in plots(entries) if plot.name == "fps")


def test_a_row_is_best_where_no_other_interval_overlaps_with_its_own() -> None:
    apart = list(enumerate(rows(10**6, 2 * 10**6, 10**6 + 200), 1))
    for best in (fastest(apart), highest(apart, lambda e: e.fps)):
        assert not best.clear
        assert best.overlapping == (1, 3)
    for best in (fastest(apart[:2]), highest(apart[:2], lambda e: e.fps)):
        assert (best.entry, best.overlapping) == (apart[0][1], (1,))


def test_the_page_claims_no_best_where_rows_tie(tmp_path: Path) -> None:
    tied = rows(10**6, 10**6 + 200, 2 * 10**6)
    assert "face has no clear best, rows 1, 2 overlap; 1,0" in fps_title(tied)
    assert "is best" not in fps_title(tied)
    text = write_report(tied, tmp_path / "r.html").read_text()
    assert "(no clear best: rows 1, 2 overlap)</h1>" in text
    clear = rows(10**6, 2 * 10**6)
    assert fps_title(clear) == f"FPS: face is best on a processor in fp32, row 1, {clear[0].fps:,.0f} (measured)"
    assert fps_title(clear[:1]).startswith("FPS: face on a processor in fp32 "), "nothing to be better than"


def numbered(entries: tuple[Entry, ...], path: Path) -> bool:
    """Whether the picture of frames a second has row 2's number in it."""
    text = write_report(entries, path).read_text()
    return ">2</text>" in text[text.index('id="fps"') :].split("</svg>")[0]


def test_rows_of_one_line_have_their_numbers(tmp_path: Path) -> None:
    assert numbered(rows(10**6, 2 * 10**6), tmp_path / "r.html")
    apart = entries_of([a_profile(around(10**6)), a_profile(around(2 * 10**6), precision="int8")])
    assert not numbered(apart, tmp_path / "r.html")


def layered(threads: int, peak: float | None, bandwidth: float) -> Profile:
    """1e8 operations in 4 ms, with the rates that a run of the layers measured."""
    layers = LayerProfile("a profiler", 50, 4.0, Rates(peak, bandwidth, "measured here"), ())
    return replace(a_profile(np.full(10, 4_000_000), graph=GRAPH, threads=threads), layers=layers)


def test_the_roofline_is_what_the_run_of_the_layers_measured(tmp_path: Path) -> None:
    entries = entries_of([layered(1, 100.0, 12.0), layered(2, 200.0, 14.0), layered(1, 90.0, 13.0)])
    assert [e.work and e.work.attainable_gflops() for e in entries] == [100, 200, 90]
    text = write_report(entries, tmp_path / "r.html").read_text()
    picture = text[text.index('id="roofline"') :]
    assert "rows reach 12 % to 28 % of what their device could" in picture
    for name in ("cpu, 1 thread", "cpu, 2 threads"):
        assert picture.count(f">{name}</text>") == 1
    (alone,) = entries_of([layered(1, None, 12.0)])
    assert alone.work
    assert alone.work.attainable_gflops() is None, "int8 has no peak that was measured"


def test_numbers_are_drawn_together() -> None:
    assert in_spans([1, 3, 4, 6, 7, 8, 12]) == "1, 3, 4, 6 to 8, 12"
