"""The page: what is in it is the record's, whole without a network, the same bytes again, and safe to open."""

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from helmsight.devices.device import device
from helmsight.devices.errors import UsageError
from helmsight.runtime.profiler.report import Entry, entries_of, unlike, write_plots, write_report
from helmsight.runtime.profiler.report.columns import legend
from helmsight.runtime.profiler.report.rows import board_usd, board_watts
from helmsight.runtime.profiler.stats import Interval

from ....profiles import a_profile, around

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

SCORED = {"ap50": {"value": 0.8765, "data": "photographs", "n": 168, "better": "higher"}}
VOID = {"meta", "br", "path", "use", "rect", "link", "img"}


class Page(HTMLParser):
    """What a browser would see: rows of cells, every address, every id, and tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[tuple[str, list[str]]] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.open += [] if tag in VOID else [tag]
        self.ids += [values["id"] or ""] if "id" in values else []
        named = ("src", "href", "xlink:href", "action", "data", "srcset", "poster")
        self.addresses += [values[a] or "" for a in named if a in values]
        if tag == "tr" and values.get("class") in ("measured", "predicted"):
            self.rows.append((values["class"] or "", []))
        if tag == "td":
            self.rows[-1][1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.rows[-1][1][-1] += f"{data.strip()} "


def predicted(entry: Entry, board: str, p50_ms: float) -> Entry:
    """The row of a board that nobody measured."""
    found = device(board)
    return replace(
        entry, device=found.name, board=found, engine="TensorRT", precision="fp16", predicted=True, p50_ms=p50_ms,
        p50_interval_ms=Interval(p50_ms / 2, p50_ms * 2), coverage=0.9, tail=(), watts=board_watts(found),
        usd=board_usd(found), streams=found.gpu.count if found.gpu else 1, profile=None, made_by=(), warnings=(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def entries() -> tuple[Entry, ...]:
    """Two measured rows of one bundle, one of another, stage by stage, and two predicted ones."""
    staged = np.stack([around(10**5, seed=i) for i in range(3)], axis=1)
    made = entries_of(
        [
            a_profile(around(1_234_567), metrics=SCORED),
            a_profile(around(987_654, seed=3), precision="int8", metrics=SCORED),
            a_profile(staged, bundle="navigate"),
        ]
    )
    return (*made[:2], predicted(made[0], "jetson-tk1", 40.0), predicted(made[0], "dgx-1-p100", 0.5), made[2])


@pytest.fixture(scope="module")
def text(entries: Sequence[Entry], tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(entries, tmp_path_factory.mktemp("report") / "r.html").read_text()


def test_every_number_of_the_table_is_the_records(entries: Sequence[Entry], text: str) -> None:
    rows = Page(text).rows
    assert len(rows) == len(entries)
    for entry, (kind, cells) in zip(entries, rows, strict=True):
        shown = " | ".join(cells)
        assert kind == entry.kind
        assert entry.kind in shown
        around_ms = entry.p50_interval_ms
        assert f"{entry.p50_ms:.3f} {around_ms.low:.3f} to {around_ms.high:.3f}" in shown
        for q in entry.tail:
            assert f"{q.ms:.3f}{'' if q.supported else '*'}" in shown
        if entry.profile:
            found = next(s for s in entry.profile.summaries if s.stage == entry.stage)
            assert entry.p50_ms == found.percentiles[0].ms
    assert "0.876 ap50, n 168" in " | ".join(rows[0][1])
    tk1, dgx = (" | ".join(cells) for _, cells in rows[2:4])
    # 25 FPS: over the 15 W and the $199.99 of a TK1; 2,000 FPS on each of a DGX-1's eight GPUs.
    assert "1.67 at most 15 W" in tk1
    assert "0.125 $199.99" in tk1
    assert "0.124 $129,000" in dgx


def test_what_is_unknown_is_not_available_and_never_zero(entries: Sequence[Entry], text: str) -> None:
    _, cells = Page(text).rows[0]
    assert cells.count("not available ") == 3  # FPS per watt, per dollar, energy: of a machine that nobody lists
    assert not any(re.fullmatch(r"0(\.0*)? ?", cell) for cell in cells)
    assert "Not available for any row: memory." in text


def test_the_page_is_whole_and_asks_no_other_place(text: str) -> None:
    page = Page(text)
    assert not page.open
    assert all(address.startswith("#") for address in page.addresses)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert len(set(page.ids)) == len(page.ids)
    assert {a[1:] for a in page.addresses} | set(re.findall(r"url\(#([^)]+)\)", text)) <= set(page.ids)
    assert page.tags.count("svg") == 6
    assert len(text) < 300_000


def test_predicted_rows_never_look_like_measured_ones(text: str) -> None:
    assert "Predicted rows were not measured" in text
    dots = text[text.index('id="fps"') :]
    dots = dots[: dots.index("</figure>")]
    assert "hollow: predicted, with its interval" in dots
    # Two of face are measured, two predicted and with the paper's colour inside; one of navigate is measured.
    inside = re.findall(r'<use [^>]*style="fill: var\(--(\w+)\); stroke: var\(--hue(\d)\)[^>]*/>', dots)
    inside = [fill + colour for fill, colour in inside if fill == "paper" or fill == f"hue{colour}"]
    assert (inside.count("paper0"), inside.count("paper1")) == (2, 0)
    assert inside.count("hue00") >= 2
    assert "2 predicted rows have no samples and are not in it." in text


def test_the_same_records_give_the_same_bytes(entries: Sequence[Entry], text: str, tmp_path: Path) -> None:
    assert write_report(entries, tmp_path / "again.html").read_text() == text


def test_markup_in_a_record_is_text(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script> & \"q\" $\\frac$ _\x00\n"
    made = entries_of(
        [
            a_profile(around(10**6), bundle=evil, precision="<b>", feeds=evil, metrics={evil: {"value": 0.5}}),
            a_profile(around(10**6), bundle="_顔", versions={"<i>": "</dl>"}, other_cores=0.5),
        ]
    )
    text = write_report(made, tmp_path / "r.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(" in text
    assert not Page(text).open
    assert "i" not in Page(text).tags
    assert "_顔" in text
    written, _ = write_plots(made, tmp_path / "plots")
    assert all(path.parent == tmp_path / "plots" for path in written)


def test_pictures_stand_alone_and_can_be_read_without_colour(entries: Sequence[Entry], tmp_path: Path) -> None:
    written, missing = write_plots(entries, tmp_path / "plots")
    names = {path.name for path in written}
    assert {"latency.png", "latency.svg", "stages.svg", "fps-per-watt.png", "fps-per-dollar.svg"} <= names
    assert [line.split(":")[0] for line in missing] == ["roofline", "clock", "temperature"]
    for path in written:
        if path.suffix == ".svg":
            assert ElementTree.fromstring(path.read_text()).tag.endswith("svg")
        else:
            picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            assert picture is not None
            assert picture.std() > 5
    lines = (tmp_path / "plots" / "latency.svg").read_text()
    assert len(set(re.findall(r"stroke-dasharray: [\d., ]+", lines))) >= 2


def test_a_picture_without_data_says_why(tmp_path: Path) -> None:
    text = write_report(entries_of([a_profile(around(10**6))]), tmp_path / "r.html").read_text()
    for said in (
        "no row was measured stage by stage",
        "the power of no row is known",
        "no record has a score",
        "operations and bytes",
        "no record has samples of such a sensor",
    ):
        assert said in text
    assert 'id="fps-per-watt"' not in text


def test_rows_of_a_bundle_are_of_one_stage() -> None:
    staged = a_profile(np.stack([around(10**6, seed=i) for i in range(3)], axis=1))
    assert entries_of([staged])[0].stage == "total"
    both = entries_of([staged, a_profile(around(10**6))])
    assert [e.stage for e in both] == ["inference", "inference"]
    assert both[0].p50_ms == next(s for s in staged.summaries if s.stage == "inference").percentiles[0].ms
    with pytest.raises(UsageError, match="none in common"):
        entries_of([staged, a_profile(around(10**6), stages=("forward",))])


def test_rows_that_do_not_belong_together_are_named() -> None:
    large = {"image": {"shape": [1, 480, 640, 3], "dtype": "uint8"}}
    assert not unlike(entries_of([a_profile(around(10**6)), a_profile(around(10**6), precision="int8")]))
    assert not unlike(entries_of([a_profile(around(10**6)), a_profile(around(10**6), bundle="other", inputs=large)]))
    (said,) = unlike(entries_of([a_profile(around(10**6)), a_profile(around(10**6), inputs=large)]))
    assert said == "face was fed with image 1x240x320x3 uint8 and with image 1x480x640x3 uint8"


def test_the_power_mode_of_a_board_stands_in_its_row() -> None:
    machine = {"cpu": {"model": "a processor"}, "device": "jetson-nano", "power_mode": "MAXN (0)"}
    (entry,) = entries_of([a_profile(around(10**6), machine=machine)])
    assert entry.engine == "cpu, 1 thread; power mode MAXN (0)"


GRAPH = {"macs": 50_000_000, "weight_bytes": 400_000, "activation_bytes": 600_000, "peak_bytes": 100_000}


def test_the_roofline_is_of_the_catalogue_and_the_graph(tmp_path: Path) -> None:
    machine = {"device": "jetson-nano", "cpu": {"model": "ARM"}}
    changes = {"graph": GRAPH, "machine": machine, "device": "tensorrt"}
    (entry,) = entries_of([a_profile(np.full(10, 4_000_000), **changes)])
    # 1e8 operations in 4 ms, 100 for each byte: the Nano's 25.6 GB/s feed its cores, so their peak is the roof.
    assert entry.work
    assert entry.work.gflops == pytest.approx(25)
    assert (entry.work.intensity, entry.work.attainable_gflops()) == (100, 235.9)
    (thin,) = entries_of([a_profile(np.full(10, 4_000_000), **changes | {"graph": GRAPH | {"macs": 500_000}})])
    assert thin.work
    assert thin.work.attainable_gflops() == pytest.approx(25.6)
    assert entry.memory_bytes
    assert entry.memory_bytes.value == 500_000
    text = write_report([entry], tmp_path / "r.html").read_text()
    assert "rows reach 11 % to 11 % of what their device could" in text
    assert "Jetson Nano 4GB, fp32" in text[text.index('id="roofline"') :]


def test_the_roofline_is_of_the_network_alone_and_needs_a_graph() -> None:
    staged = np.stack([around(10**6, seed=i) for i in range(3)], axis=1)
    (whole,) = entries_of([a_profile(staged, graph=GRAPH)])
    assert whole.work
    assert whole.work.gflops == pytest.approx(100, rel=0.01), "1e8 operations in 1 ms, of 3 from frame to result"
    assert entries_of([a_profile(around(10**6))])[0].work is None
    (unlisted,) = entries_of([a_profile(around(10**6), graph=GRAPH)])
    assert unlisted.work
    assert unlisted.work.attainable_gflops() is None


def test_boards_are_predicted_in_what_was_measured_and_they_compute_in(tmp_path: Path) -> None:
    graph = GRAPH | {"parameters": 100_000, "operators": {"Conv": 18}, "depthwise": 0}
    staged = np.stack([around(10**6, seed=i) for i in range(3)], axis=1)
    group = [a_profile(staged, precision=p, graph=graph) for p in ("fp32", "int8", "mixed")]
    rows = entries_of(group, [device("jetson-nano"), device("jetson-agx-orin-64g")])
    found = [(e.board.id, e.precision, e.predicted) for e in rows if e.board]
    # A Nano's Maxwell has no int8.
    orin = "jetson-agx-orin-64g"
    assert found == [("jetson-nano", "fp32", True), (orin, "fp32", True), (orin, "int8", True)]
    assert {e.stage for e in rows} == {"inference"}, "a prediction is of the network alone, so are the others then"
    text = write_report(rows, tmp_path / "r.html").read_text()
    assert "3 measured rows and 3 predicted rows" in text
    assert "theirs holds 90 % of such" in text
    with pytest.raises(UsageError, match="precision mixed"):
        entries_of(group[2:], [device("jetson-nano")])


def test_a_warning_of_many_rows_is_said_once(tmp_path: Path) -> None:
    busy = [a_profile(around(10**6), other_cores=0.5 if i in (0, 2, 3) else 0.0) for i in range(4)]
    text = write_report(entries_of(busy), tmp_path / "r.html").read_text()
    assert text.count("busy machine") == 1
    assert "rows 1, 3, 4: busy machine" in text


def test_the_heading_is_of_what_was_measured(entries: Sequence[Entry], text: str, tmp_path: Path) -> None:
    face, navigate = (f"{entries[at].p50_ms:.3g} ms on a processor" for at in (1, 4))
    assert f"<h1>Fastest measured: face {face}; navigate {navigate}</h1>" in text
    alone = write_report(entries[2:4], tmp_path / "r.html").read_text()
    assert "<h1>Fastest predicted: face 0.5 ms on DGX-1 (8x Tesla P100)</h1>" in alone


def test_clocks_and_temperature_over_time_are_of_what_ran_it(tmp_path: Path) -> None:
    samples = {
        "gpu0.sm_mhz": [[0.0, 1020.0], [1.0, 612.0]],
        "cpu_mhz": [[0.0, 1500.0], [1.0, 1500.0]],
        "temperature_c.gpu": [[0.0, 61.5], [1.0, 83.0]],
        "temperature_c.case": [[0.0, 30.0], [1.0, 31.0]],
        "load_1m": [[0.0, 1.0]],
    }
    rows = entries_of([a_profile(around(10**6), device="tensorrt", sensors={"samples": samples})])
    text = write_report(rows, tmp_path / "r.html").read_text()
    assert "Clock over time: 612 to 1,020 MHz" in text
    assert "face: gpu0.sm_mhz" in text
    assert "Temperature over time: 61.5 to 83 degrees Celsius" in text
    assert "face: temperature_c.gpu" in text
    assert "cpu_mhz" not in text
    on_cpu = entries_of([a_profile(around(10**6), sensors={"samples": samples})])
    assert "Clock over time: steady at 1,500 MHz" in write_report(on_cpu, tmp_path / "r.html").read_text()


def test_measured_power_and_a_board_of_the_catalogue() -> None:
    sensors = {"readings": {"gpu0.power_w": {"n": 3, "minimum": 9.0, "mean": 10.0, "maximum": 11.0, "missed": 0}}}
    machine = {"device": "jetson-orin-nano-super", "cpu": {"model": "ARM"}}
    of_board = {"device": "tensorrt", "sensors": sensors, "machine": machine, "duration_s": 0.03}
    (entry,) = entries_of([a_profile(np.full(10, 2_000_000), **of_board)])
    assert entry.device == "Jetson Orin Nano Super 8GB"
    assert (entry.fps, entry.fps_per_watt) == (500, 50)
    assert entry.energy_mj == pytest.approx(30), "of the whole run over its queries, what is between them too"
    assert entry.watts
    assert (entry.watts.origin, entry.watts.bound) == ("measured, of the GPU (gpu0.power_w)", False)
    assert "Watts were measured, of the GPU (gpu0.power_w)." in legend([entry])
    on_cpu = a_profile(np.full(10, 2_000_000), sensors={"readings": {"power_w.package-0": {"mean": 65.0}}})
    (other,) = entries_of([on_cpu])
    assert "the processor (RAPL), which are unlike." in " ".join(legend([entry, other]))
    assert ("energy a query", "30 mJ: 10 W of the GPU (gpu0.power_w)") in entry.made_by
    assert entry.fps_per_usd == pytest.approx(500 / 249)
    (alone,) = entries_of([a_profile(np.full(10, 2_000_000), device="tensorrt", machine=machine)])
    assert alone.watts
    assert (alone.watts.value, alone.watts.bound) == (25, True)
