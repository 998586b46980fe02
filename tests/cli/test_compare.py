"""The compare command as a user and a CI job run it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helmsight.runtime.profiler import Profile, save_profiles

from ..foreign import every_file, loadgen_summary, times_ms, trtexec_times
from ..profiles import a_profile, around


def helmsight(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "helmsight", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, Path]:
    """Profile files by what is in them."""
    profiles: dict[str, list[Profile]] = {
        "was": [a_profile(around(10**6))],
        "same": [a_profile(around(10**6, seed=1))],
        "slow": [a_profile(around(12 * 10**5, seed=2))],
        "threads": [a_profile(around(10**6), threads=4)],
        "large": [a_profile(around(10**6), inputs={"image": {"shape": [1, 480, 640, 3], "dtype": "uint8"}})],
        "two": [a_profile(around(10**6)), a_profile(around(10**6), bundle="navigate")],
    }
    for name, content in profiles.items():
        save_profiles(tmp_path / f"{name}.json", content)
    return {name: tmp_path / f"{name}.json" for name in profiles}


@pytest.mark.parametrize(
    ("second", "options", "code", "message"),
    [
        ("same", (), 0, ""),
        ("slow", (), 0, ""),
        ("same", ("--fail-if-slower", "5%"), 0, ""),
        ("slow", ("--fail-if-slower", "5%"), 1, "slower by more than 5.0%: face"),
        ("slow", ("--fail-if-slower", "30%"), 0, ""),
        ("slow", ("--fail-if-slower", "20%"), 0, "not certain"),
        ("slow", ("--fail-if-slower", "0.05"), 2, "such as 5%"),
        ("slow", ("--fail-if-slower", "-5%"), 2, "such as 5%"),
        ("threads", (), 2, "threads: 1 against 4"),
        ("threads", ("--force",), 0, ""),
        ("two", (), 2, "expected the same bundles"),
    ],
)
def test_exit_codes(saved: dict[str, Path], second: str, options: tuple[str, ...], code: int, message: str) -> None:
    done = helmsight("compare", saved["was"], saved[second], *options)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def test_the_table_and_the_json_say_the_same(saved: dict[str, Path]) -> None:
    table = helmsight("compare", saved["was"], saved["slow"]).stdout
    record = json.loads(helmsight("compare", saved["was"], saved["slow"], "--json").stdout)
    (one,) = record["comparisons"]
    row = one["rows"][0]
    assert (row["stage"], row["p"], row["supported"]) == ("inference", 0.5, True)
    for figure in (row["a_ms"], row["b_ms"], row["ratio"]):
        assert f"{figure:.3f}" in table
    assert "tail not supported" in table


def test_many_files_give_a_table_a_page_and_pictures(saved: dict[str, Path], tmp_path: Path) -> None:
    page, table, plots = tmp_path / "r.html", tmp_path / "t.csv", tmp_path / "plots"
    files = [saved[name] for name in ("was", "slow", "threads", "two")]
    done = helmsight("compare", *files, "--report", page, "--table", table, "--plots", plots)
    assert done.returncode == 0, done.stderr
    assert "4 threads" in done.stdout
    assert "fps-per-watt: not available, the power of no row is known" in done.stderr
    assert page.read_text().startswith("<!doctype html>")
    assert len(table.read_text().splitlines()) == 6
    assert (plots / "latency.png").is_file()
    assert f"wrote {page}" in done.stderr


def test_many_files_as_json(saved: dict[str, Path]) -> None:
    rows = json.loads(helmsight("compare", saved["was"], saved["slow"], saved["threads"], "--json").stdout)["rows"]
    assert [row["result"] for row in rows] == ["measured"] * 3
    assert rows[1]["p50_ms"] == pytest.approx(1.2, rel=0.01)


def test_a_gate_and_a_report_at_once(saved: dict[str, Path], tmp_path: Path) -> None:
    done = helmsight("compare", saved["was"], saved["slow"], "--fail-if-slower", "5%", "--report", tmp_path / "r.html")
    assert done.returncode == 1
    assert (tmp_path / "r.html").is_file()
    assert "B / A" in done.stdout


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("was",), (), "one file; expected two or more"),
        (("was", "same", "slow"), ("--fail-if-slower", "5%"), "compares two files, and 3 are given"),
        (("was",), ("--report", "r.pdf"), "the ending is '.pdf'; expected .html"),
        (("was",), ("--report", "none/r.html"), "there is no folder none"),
        (("was",), ("--table", "t.xlsx"), "expected .md or .csv"),
        (("was",), ("--plots", "none/plots"), "there is no folder none"),
        (("was",), ("--plots", __file__), "is a file; expected a folder"),
        (("was", "same", "large"), (), "these do not belong together; --force"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    saved: dict[str, Path], names: tuple[str, ...], options: tuple[str, ...], message: str
) -> None:
    done = helmsight("compare", *(saved[name] for name in names), *options)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


def test_a_record_without_samples_is_refused(saved: dict[str, Path], tmp_path: Path) -> None:
    record = json.loads(saved["was"].read_text())
    del record["profiles"][0]["samples"]
    (tmp_path / "x.json").write_text(json.dumps(record))
    done = helmsight("compare", saved["was"], saved["same"], tmp_path / "x.json")
    assert (done.returncode, len(done.stderr.splitlines())) == (4, 1)
    assert "x.json" in done.stderr


def test_forced_comparisons_say_that_they_are(saved: dict[str, Path]) -> None:
    assert "! unlike, threads: 1 against 4" in helmsight("compare", saved["was"], saved["threads"], "--force").stdout


def test_a_file_that_is_no_profile(saved: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    done = helmsight("compare", saved["was"], tmp_path / "x.json")
    assert (done.returncode, len(done.stderr.splitlines())) == (4, 1)
    assert "is no result that can be compared" in done.stderr


def test_files_of_other_programs_are_rows(saved: dict[str, Path], tmp_path: Path) -> None:
    done = helmsight("compare", saved["was"], *every_file(tmp_path).values())
    assert done.returncode == 0, done.stderr
    for part in ("face", "written by MLPerf loadgen", "conv1 + relu1 80.0 %", "temperature_c.tj 44.5"):
        assert part in done.stdout
    rows = json.loads(helmsight("compare", *every_file(tmp_path).values(), "--json").stdout)["rows"]
    assert [row["p50_ms"] is None for row in rows] == [False, True, False, False, True, True, True, True]
    assert not any(row["p90_supported"] for row in rows)


def test_the_gate_takes_samples_of_trtexec_and_nothing_less(tmp_path: Path) -> None:
    for name, middle in (("was", 2.0), ("now", 2.4)):
        (tmp_path / name).write_text(trtexec_times(times_ms(middle)))
    slower = helmsight("compare", tmp_path / "was", tmp_path / "now", "--fail-if-slower", "5%")
    assert slower.returncode == 1
    assert "now (by trtexec --exportTimes) by 20.0%" in slower.stderr
    assert helmsight("compare", tmp_path / "now", tmp_path / "was", "--fail-if-slower", "5%").returncode == 0
    (tmp_path / "was").write_text(loadgen_summary())
    refused = helmsight("compare", tmp_path / "was", tmp_path / "now", "--fail-if-slower", "5%")
    assert refused.returncode == 2
    assert "has the times of 0 queries; expected 32 or more" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
