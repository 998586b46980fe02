"""What other programs wrote: each figure as its file has it, and none that it does not have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact, HelmsightError, UsageError
from helmsight.runtime.profiler.compare import compare, has_samples
from helmsight.runtime.profiler.readers import Foreign, read_results
from helmsight.runtime.profiler.record import save_profiles
from helmsight.runtime.profiler.report import columns, entries_of, write_plots

from ...foreign import (
    every_file,
    loadgen_summary,
    polygraphy_run,
    tegrastats_log,
    times_ms,
    trtexec_profile,
    trtexec_times,
    ultralytics_table,
)
from ...profiles import a_profile, around


def read(folder: Path, text: str) -> list[Foreign]:
    file = folder / "engine.txt"
    file.write_text(text)
    found = [one for one in read_results(file) if isinstance(one, Foreign)]
    assert found
    return found


def test_each_is_recognised_by_what_is_in_it(tmp_path: Path) -> None:
    for program, file in every_file(tmp_path).items():
        found = read_results(file)
        assert {one.program for one in found if isinstance(one, Foreign)} == {program}
    save_profiles(tmp_path / "ours", [a_profile(around(10**6))])
    assert read_results(tmp_path / "ours")[0].__class__.__name__ == "Profile"


@pytest.mark.parametrize("old", [False, True])
def test_times_of_trtexec_are_samples_without_the_warm_up(tmp_path: Path, old: bool) -> None:
    (found,) = read(tmp_path, trtexec_times([2.0, 4.0, 3.0], old))
    assert found.samples_ns is not None
    assert list(found.samples_ns) == [2_000_000, 4_000_000, 3_000_000]
    facts = dict(found.facts)
    assert facts["medians"] == "copy in 0.300, computation 2.550, copy out 0.150 ms"
    assert facts["warm-up"] == "2 queries in the first 200 ms, left out"


@pytest.mark.parametrize("medians", [True, False])
def test_layers_of_trtexec_are_no_latency(tmp_path: Path, medians: bool) -> None:
    (found,) = read(tmp_path, trtexec_profile({"conv1 + relu1": 0.8, "fc": 0.2}, medians))
    assert found.layers is not None
    assert [(layer.name, layer.ms) for layer in found.layers.layers] == [
        ("conv1 + relu1", pytest.approx(0.8 if medians else 0.88)), ("fc", pytest.approx(0.2 if medians else 0.22)),
    ]  # fmt: skip
    assert found.layers.runs == 100
    assert found.layers.of_roofline(found.layers.layers[0]) is None
    assert (found.samples_ns, found.median_ms, found.mean_ms, found.tail) == (None, None, None, ())
    assert ("means" in dict(found.facts)["layers"]) is not medians


def test_a_summary_of_loadgen(tmp_path: Path) -> None:
    (found,) = read(tmp_path, loadgen_summary())
    assert (found.median_ms, found.mean_ms, found.tail) == (2.3, 2.35, ((0.9, 2.5), (0.99, 3.1)))
    assert (found.samples_ns, found.per_s, found.warnings) == (None, None, ())
    assert found.engine == "made up, SingleStream"
    assert dict(found.facts)["queries"] == "24601"


def test_offline_has_a_rate_and_no_latency(tmp_path: Path) -> None:
    (found,) = read(tmp_path, loadgen_summary("Offline", "INVALID"))
    assert (found.per_s, found.median_ms, found.mean_ms, found.tail) == (812.5, None, None, ())
    assert found.warnings == ("loadgen calls the result INVALID",)
    (served,) = read(tmp_path, loadgen_summary("Server"))
    assert (served.per_s, served.median_ms) == (398.5, 2.3)


@pytest.mark.parametrize("legacy", [False, True])
def test_each_runner_of_polygraphy_is_a_result(tmp_path: Path, legacy: bool) -> None:
    found = read(tmp_path, polygraphy_run({"trt-runner": [0.004, 0.002], "onnxrt-runner": [0.01]}, legacy))
    assert [one.engine for one in found] == ["trt-runner", "onnxrt-runner"]
    assert [list(one.samples_ns) for one in found if one.samples_ns is not None] == [[4_000_000, 2_000_000], [10**7]]


@pytest.mark.parametrize("polars", [False, True])
def test_a_table_of_ultralytics_has_means(tmp_path: Path, polars: bool) -> None:
    found = read(tmp_path, ultralytics_table(polars))
    formats = ["PyTorch", *([] if polars else ["TorchScript"]), "TensorFlow SavedModel"]
    assert [one.engine for one in found] == formats
    assert found[0].warnings == (("the log itself leaves out rows of the table",) if polars else ())
    assert (found[0].mean_ms, found[0].score) == (102.97, ("metrics/mAP50-95(B)", 0.6381))
    assert all(one.median_ms is None and one.samples_ns is None and one.tail == () for one in found)
    assert dict(found[0].facts)["not run there"] == ("TensorRT" if polars else "ONNX, TensorRT")


def test_tables_of_ultralytics_in_one_log_and_without_marks(tmp_path: Path) -> None:
    text = ultralytics_table().replace("✅", "").replace("❔", "") + ultralytics_table(True)
    assert [one.engine for one in read(tmp_path, text)] == [
        "PyTorch", "TorchScript", "TensorFlow SavedModel", "PyTorch", "TensorFlow SavedModel",
    ]  # fmt: skip


def test_a_log_of_tegrastats(tmp_path: Path) -> None:
    (found,) = read(tmp_path, "a greeting\n" + tegrastats_log())
    assert found.watts == pytest.approx(5.0 + 0.8 + 4.0)
    assert found.watts_of == "the module (VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0)"
    assert found.series["temperature_c.tj"] == [(0.0, 43.5), (1.0, 44.5), (2.0, 45.5)]
    assert dict(found.facts)["gpu_mhz"] == "305"
    assert not any("CV0" in name for name in found.series)  # -256 C: the rail is off
    assert found.warnings == ("1 lines of the log are no readings and were left out",)
    (older,) = read(tmp_path, tegrastats_log((2000, 4000), timed=False))
    assert (older.watts, older.watts_of, older.series) == (3.0, "the module (POM_5V_IN)", {})
    (dark,) = read(tmp_path, "RAM 1446/1892MB (lfb 10x4MB) cpu [2%,0%,off,off]@204 EMC 14%@300 GR3D 0%@72\n")
    assert (dark.watts, dark.watts_of) == (None, "")


CUT = [
    (trtexec_times([2.0, 3.0])[:-40], "is no result that can be compared (JSON that is cut off or broken"),
    (trtexec_times([], warm_up=1), "is of trtexec --exportTimes, but not whole"),
    ('[{"latencyMs": 1.0}]', "is of trtexec --exportTimes, but not whole (KeyError: 'startComputeMs')"),
    ('[{"latencyMs": "a", "startComputeMs": 300}]', "is of trtexec --exportTimes, but not whole (ValueError"),
    ('[{"latencyMs": -1, "startComputeMs": 300}]', "not all of them of 0 to 1e9 ms"),
    ('[{"latencyMs": NaN, "startComputeMs": 300}]', "not all of them of 0 to 1e9 ms"),
    ('[{"count": 10}, {"averageMs": 1}]', "is of trtexec --exportProfile, but not whole"),
    (loadgen_summary()[:400], "is of MLPerf's mlperf_log_summary.txt, but not whole"),
    (loadgen_summary().replace("2300000", "much"), "is of MLPerf's mlperf_log_summary.txt, but not whole"),
    (loadgen_summary().replace("2300000", "-1000000"), "it has '-1000000' where a figure of 0 to 1e+15 stands"),
    (loadgen_summary().replace("2350000", "nan"), "it has 'nan' where a figure"),
    (loadgen_summary("Server").replace("398.50", "inf"), "it has 'inf' where a figure"),
    (polygraphy_run({"a": [None]}), "runner a has no iteration with a runtime"),
    (polygraphy_run({}), "it has no runner"),
    (ultralytics_table()[:200], "its table has no row with a time, or is cut off"),
    ("", "is no result that can be compared; expected a file of `helmsight profile -o`, or of trtexec --exportTimes"),
    ("{}", "is no result that can be compared"),
    ("[" * 100_000, "is no result that can be compared (JSON that is cut off"),
    ('{"schema_version": 9}', "has schema_version 9"),
]


@pytest.mark.parametrize(("text", "said"), CUT, ids=range(len(CUT)))
def test_what_is_unknown_or_cut_off_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(BadArtefact) as error:
        read_results(tmp_path / "x")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadArtefact, match="does not exist"):
        read_results(tmp_path / "none.json")


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = {program: file.read_bytes() for program, file in every_file(tmp_path).items()}
    refused = 0
    for text in whole.values():
        short = text[:20_000]
        for _ in range(40):
            data = bytearray(short[: rng.integers(1, len(short))] if rng.random() < 0.5 else short)
            for at in rng.integers(0, len(data), 3):
                data[at] = rng.integers(0, 256)
            (tmp_path / "x").write_bytes(data)
            try:
                read_results(tmp_path / "x")
            except HelmsightError as error:
                refused += "\n" not in str(error)
    assert 100 < refused < 240


def test_rows_have_what_the_files_have(tmp_path: Path) -> None:
    entries = {e.program: e for e in entries_of(one for f in every_file(tmp_path).values() for one in read_results(f))}
    times = entries["trtexec --exportTimes"]
    assert times.p50_ms == pytest.approx(2.0, rel=0.01)
    assert times.p50_interval_ms is not None
    assert not any(q.supported for q in times.tail)  # of 2,000 queries
    summary = entries["MLPerf loadgen"]
    assert (summary.p50_ms, summary.p50_interval_ms, summary.fps) == (2.3, None, pytest.approx(1e3 / 2.3))
    assert [(q.p, q.supported) for q in summary.tail] == [(0.9, False), (0.99, False)]
    assert entries["Polygraphy"].p50_interval_ms is None  # three queries make no interval
    table = entries["ultralytics benchmark"]
    assert (table.p50_ms, table.fps, table.mean_ms) == (None, None, 90.53)
    log = entries["tegrastats"]
    assert log.watts is not None
    assert log.watts.value == pytest.approx(9.8)
    assert (log.p50_ms, log.fps, log.fps_per_watt, log.energy_mj) == (None, None, None, None)
    assert "slowest layers" in dict(entries["trtexec --exportProfile"].made_by)
    assert {e.device for e in entries.values()} == {"not available"}


def test_a_report_of_all_of_them_beside_our_own(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = [one for file in every_file(tmp_path).values() for one in read_results(file)]
    entries = entries_of([a_profile(around(10**6)), *results])
    text = columns.markdown(entries)
    assert "measured (by MLPerf loadgen)" in text
    assert "2.300 (no interval)" in text
    assert "a percentile without samples is never supported" in text
    assert columns.csv_text(entries).count("\n") == len(entries) + 1
    written, missing = write_plots(entries, tmp_path / "pictures")
    assert {file.stem for file in written} >= {"latency", "fps", "temperature"}
    assert any("accuracy" in line for line in missing)  # a mean is no median to draw it at
    plain = columns.markdown(entries_of([a_profile(around(10**6))]))
    assert "mean" not in plain
    assert "power" not in plain


def test_nothing_is_predicted_from_what_has_no_operations(tmp_path: Path) -> None:
    from helmsight.devices.device import device

    with pytest.raises(UsageError, match="only of files of `helmsight profile -o`"):
        entries_of(read(tmp_path, loadgen_summary()), [device("jetson-nano")])


def test_samples_are_compared_with_samples(tmp_path: Path) -> None:
    (was,) = read(tmp_path, trtexec_times(times_ms(2.0)))
    (now,) = read(tmp_path, trtexec_times(times_ms(2.2, seed=1)))
    found = compare(was, now)
    assert found.gate.ratio == pytest.approx(1.1, rel=0.01)
    assert found.slower(0.05)
    assert not found.slower(0.2)
    assert "does not tell input, device and precision" in found.notes[0]
    mixed = compare(a_profile(around(2 * 10**6)), now)
    assert mixed.gate.ratio == pytest.approx(1.1, rel=0.01)


@pytest.mark.parametrize("text", [loadgen_summary(), polygraphy_run({"a": [0.1] * 31})])
def test_what_has_no_samples_or_few_is_not_compared(tmp_path: Path, text: str) -> None:
    (found,) = read(tmp_path, text)
    assert not has_samples(found)
    with pytest.raises(UsageError, match=r"has the times of (0|31) queries; expected 32 or more"):
        compare(a_profile(around(10**6)), found)


def test_names_that_would_break_a_table_are_made_harmless(tmp_path: Path) -> None:
    text = trtexec_profile({"<script>alert(1)</script>|\x1b[31m": 1.0})
    assert json.loads(text)
    (entry,) = entries_of(read(tmp_path, text))
    assert all("\x1b" not in value for _, value in entry.made_by)
