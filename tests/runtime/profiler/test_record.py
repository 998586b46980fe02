"""The record: figures, warnings, and a file that comes back as it was or is refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from helmsight.devices.errors import BadArtefact
from helmsight.runtime.profiler.record import load_profiles, save_profiles
from helmsight.runtime.profiler.stream import Overhead, WarmUp

from ...profiles import a_profile, around


def test_the_summary_of_known_samples() -> None:
    (found,) = a_profile(np.arange(1, 101) * 1_000_000).summaries
    assert (found.stage, found.n, found.min_ms, found.max_ms) == ("inference", 100, 1.0, 100.0)
    assert [q.ms for q in found.percentiles] == [50.0, 90.0, 99.0]
    assert [q.supported for q in found.percentiles] == [True, False, False]
    assert found.median_ms.low <= 50.0 <= found.median_ms.high


@pytest.mark.parametrize(("n", "supported"), [(23_885, [True, False, False]), (23_886, [True, True, False])])
def test_a_tail_is_supported_from_the_count_of_mlperf_on(n: int, supported: list[bool]) -> None:
    (found,) = a_profile(np.ones(n)).summaries
    assert [q.supported for q in found.percentiles] == supported


def test_stages_are_kept_apart_and_summed_by_query() -> None:
    profile = a_profile([[1_000_000, 5_000_000, 0], [1_000_000, 7_000_000, 0], [9_000_000, 1_000_000, 0]])
    assert [s.stage for s in profile.summaries] == ["prepare", "inference", "decode", "total"]
    # The median of the sums, not the sum of the medians (6).
    assert profile.summaries[-1].percentiles[0].ms == 8.0


def test_what_a_reader_must_know_is_said() -> None:
    quiet = a_profile(around(1000))
    assert [w.split(":")[0] for w in quiet.warnings] == ["tail not supported"]
    disturbed = a_profile(
        around(1000), other_cores=0.5, warm_up=WarmUp(9, 10.0, False, 0.05), overhead=Overhead(25.0, 1.0)
    )
    text = " | ".join(disturbed.warnings)
    for part in ("0.50 cores", "did not settle within 5%", "25.0 us a query", "p90 needs 23,886, p99 needs 262,742"):
        assert part in text
    assert "busy" not in " ".join(a_profile(around(1000), other_cores=None).warnings)


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    saved = (a_profile(around(10**6)), a_profile(np.arange(30).reshape(10, 3) * 2**40, bundle="navigate"))
    save_profiles(path, saved)
    for was, now in zip(saved, load_profiles(path), strict=True):
        assert (was.samples == now.samples).all()
        assert was.to_json() == now.to_json()
        assert was.summaries == now.summaries


def test_a_file_of_before_a_field_was_there_is_read(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    save_profiles(path, [a_profile(around(10**6, n=20), metrics={"ap50": {"value": 0.8}})])
    assert load_profiles(path)[0].metrics == {"ap50": {"value": 0.8}}
    record = json.loads(path.read_text())
    del record["profiles"][0]["metrics"]
    path.write_text(json.dumps(record))
    assert load_profiles(path)[0].metrics == {}


def test_the_file_holds_what_its_description_says(tmp_path: Path) -> None:
    import base64
    import zlib

    path = tmp_path / "p.json"
    save_profiles(path, [a_profile([5, 6, 2**33])])
    (data,) = json.loads(path.read_text())["profiles"]
    raw = zlib.decompress(base64.b64decode(data["samples"]["data"]))
    assert data["samples"]["shape"] == [3, 1]
    assert np.frombuffer(raw, "<u8").tolist() == [5, 6, 2**33]
    assert data["summary"][0]["percentiles"][0]["ms"] == 6e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d | {"schema_version": 2}, "schema_version 2, this helmsight reads 1"),
        (lambda d: {"schema_version": 1}, "no profile"),
        (lambda d: [], "no profile"),
        (lambda d: _with_samples(d, shape=[7, 3]), "no profile"),
        (lambda d: _with_samples(d, shape=[1, 20]), "no profile"),
        (lambda d: _with_samples(d, data="!"), "no profile"),
        (lambda d: _with_samples(d, encoding="csv"), "csv"),
        (lambda d: _with_samples(d, shape=[1 << 40, 1]), "expected 8796093022208"),
        (lambda d: _with_samples(d, shape=[10**30, 1]), "no profile"),
        (lambda d: _with_samples(d, shape=[10, 1]), "or more; expected 80"),
        (lambda d: _with_samples(d, shape=[0, 1]), "0 x 1"),
        (lambda d: _with(d, metrics={"ap50": 3}), "metrics.ap50 is 3; expected an object"),
        (lambda d: _with(d, metrics={"ap50": {"value": float("nan")}}), "NaN; expected finite"),
        (lambda d: _with(d, graph=[]), "graph is a list of 0; expected an object"),
        (lambda d: _with(d, sensors={"readings": {"power_w": 5}}), "power_w is 5"),
        (lambda d: _with(d, versions=None), "versions is None; expected an object"),
        (lambda d: _with(d, stages=[]), "stages has 0 items"),
    ],
)
def test_what_is_no_profile_is_refused_in_one_line(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "p.json"
    save_profiles(path, [a_profile(around(10**6, n=20))])
    path.write_text(json.dumps(change(json.loads(path.read_text()))))  # type: ignore[operator]
    with pytest.raises(BadArtefact, match=message) as caught:
        load_profiles(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_off_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    with pytest.raises(BadArtefact, match="does not exist"):
        load_profiles(path)
    save_profiles(path, [a_profile(around(10**6))])
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BadArtefact, match="no profile"):
        load_profiles(path)


def test_a_number_that_no_float_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    save_profiles(path, [a_profile(around(10**6, n=20), duration_s=1.5)])
    path.write_text(path.read_text().replace('"duration_s": 1.5', '"duration_s": 1e999'))
    with pytest.raises(BadArtefact, match="it has 1e999; expected finite numbers"):
        load_profiles(path)


def test_json_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("[" * 100_000)
    with pytest.raises(BadArtefact, match="no profile"):
        load_profiles(tmp_path / "p.json")


def _with(record: dict, **changes: object) -> dict:
    (profile,) = record["profiles"]
    return record | {"profiles": [profile | changes]}


def _with_samples(record: dict, **changes: object) -> dict:
    (profile,) = record["profiles"]
    return record | {"profiles": [profile | {"samples": profile["samples"] | changes}]}
