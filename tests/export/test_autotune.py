"""Tuning on this machine with the real engines: what is measured, what is gated, what is kept and used."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from helmsight.cli.main import app
from helmsight.devices.errors import BadArtefact, DeviceMismatch, GateFailed, UsageError
from helmsight.devices.processor import processor
from helmsight.export import autotune as tuning_code
from helmsight.export.autotune import TuneOptions, autotune
from helmsight.runtime.backends import OnnxRuntimeSettings, SessionOptions, load
from helmsight.runtime.bundle import Bundle, open_bundle
from helmsight.runtime.profiler.measure import random_feeds
from helmsight.runtime.tuning import Row, Tuning, Way, find, key_of, save, thread_counts, tuning_file

pytest.importorskip("onnxruntime", reason="what is tuned")

QUICK = TuneOptions(threads=1, seconds=0.05)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def bundle() -> Bundle:
    return open_bundle("navigate")


def kept(bundle: Bundle, *rows: Row) -> Tuning:
    tuning = Tuning(bundle.manifest.name, key_of(bundle), {"date_utc": "2026-01-01T00:00:00+00:00"}, rows)
    save(bundle, tuning)
    return tuning


def test_every_way_is_measured_and_compared(bundle: Bundle) -> None:
    said: list[str] = []
    tuning = autotune(bundle, QUICK, said.append)
    shown = [str(row.way) for row in tuning.rows]
    assert shown[0] == "cpu, 1 thread"
    assert {"cpu, 1 thread, optimisation extended", "cpu, 1 thread, io binding True"} <= set(shown)
    assert ("openvino, 1 thread" in shown) == (find_spec("openvino") is not None)
    assert not any("spinning" in way for way in shown), "one thread waits for no other"
    assert tuning.rows[0].times_as_fast == 1
    for row in tuning.rows:
        assert row.refused == ""
        assert (row.n >= 20, row.p99_ms >= row.p50_ms > 0, row.precision) == (True, True, "fp32")
    assert said == ["measuring with 1 thread for 0.05 s"]
    save(bundle, tuning)
    assert find(bundle).rows == tuning.rows
    assert json.loads(tuning_file(bundle).read_text())["made"]["feeds"] == "32 frames of sample://corridor"


def test_what_misses_the_gate_is_named_and_never_kept(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    compare = tuning_code.check_parity
    calls: list[int] = []

    def check(*given: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise GateFailed("output 'steer' differs; nothing was written")
        return compare(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(tuning_code, "check_parity", check)
    tuning = autotune(bundle, QUICK, lambda line: None)
    assert [row.refused for row in tuning.rows][:3] == ["", "output 'steer' differs", ""]
    assert tuning.best(1) is not tuning.rows[1]
    calls[:] = [1]
    with pytest.raises(GateFailed):  # the usual way itself
        autotune(bundle, QUICK, lambda line: None)


def test_a_tail_is_one_of_the_samples() -> None:
    taken = [*[1.0] * 18, 2.0, 9.0]
    row = tuning_code._timed(Row(Way("cpu", 1)), taken, taken)
    assert (row.p50_ms, row.p99_ms, row.times_as_fast, row.n) == (1.0, max(taken), 1.0, 20)


def test_the_fastest_that_passed_is_kept_and_a_tie_goes_to_the_usual_way(bundle: Bundle) -> None:
    usual, fast, wrong = Way("cpu", 2), Way("openvino", 2), Way("cpu", 1)
    tuning = kept(bundle, Row(usual, times_as_fast=1.0), Row(fast, times_as_fast=1.02), Row(wrong, refused="off"))
    assert tuning.best(2).way == usual
    tuning = kept(bundle, Row(usual, times_as_fast=1.0), Row(fast, times_as_fast=1.4), Row(wrong, times_as_fast=1.2))
    assert (tuning.best(2).way, tuning.best(1).way) == (fast, wrong)
    assert [list(thread_counts(most)) for most in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_it_is_used_where_it_is_asked_for_and_says_so(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DeviceMismatch, match=r"navigate was not tuned for .*: helmsight build .*--autotune"):
        load(bundle, SessionOptions("tuned"))
    with load(bundle, SessionOptions("tuned", allow_fallback=True)) as session:
        assert session.device == "cpu"
    way = Way("cpu", 1, OnnxRuntimeSettings(optimisation="extended", arena=False, io_binding=True))
    kept(bundle, Row(Way("cpu", 1), times_as_fast=1.0), Row(way, "fp32", 0.5, 0.6, 1.25))
    feeds = random_feeds(bundle.manifest.inputs, 0)
    with caplog.at_level(logging.WARNING), load(bundle, SessionOptions("tuned")) as tuned, load(bundle) as usual:
        for name, values in usual.run(feeds).items():
            np.testing.assert_allclose(tuned.run(feeds)[name], values, atol=1e-4)
    assert "runs on cpu, 1 thread, optimisation extended, arena False, io binding True, as tuned on 2026" in caplog.text
    assert "0.5 ms, 1.25 times as fast as --device cpu then" in caplog.text
    resized = open_bundle("face").resized((192, 256))
    with pytest.raises(DeviceMismatch, match="--autotune --imgsz 256x192"):
        load(resized, SessionOptions("tuned"))


def test_no_way_in_so_few_threads_is_one_line(bundle: Bundle) -> None:
    kept(bundle, Row(Way("cpu", 2), times_as_fast=1.0), Row(Way("cpu", 1), refused="off"))
    with pytest.raises(DeviceMismatch, match=r"no way to run navigate in 1 thread passed .* give it --threads 2"):
        load(bundle, SessionOptions("tuned", threads=1))
    with load(bundle, SessionOptions("tuned", threads=1, allow_fallback=True)) as session:
        assert session.device == "cpu"


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record | {"schema_version": 2},
        lambda record: record | {"key": {}},
        lambda record: record | {"rows": []},
        lambda record: record | {"rows": [record["rows"][0] | {"way": {"device": "cuda"}}]},
        lambda record: record | {"rows": [record["rows"][0] | {"refused": "x"}]},
        lambda record: record | {"rows": [record["rows"][0] | {"another": 1}]},
    ],
)
def test_a_damaged_record_is_one_line(bundle: Bundle, damage) -> None:  # type: ignore[no-untyped-def]
    kept(bundle, Row(Way("cpu", 1), times_as_fast=1.0))
    file = tuning_file(bundle)
    file.write_text(json.dumps(damage(json.loads(file.read_text()))))
    with pytest.raises(BadArtefact, match=r"is no tuning of navigate .*make it anew: helmsight build") as caught:
        find(bundle)
    assert "\n" not in str(caught.value)


def test_threads_beyond_what_the_process_may_use(bundle: Bundle) -> None:
    usable = processor().usable_cores
    with pytest.raises(UsageError, match=f"--threads {usable + 1}: this process may use {usable}"):
        autotune(bundle, replace(QUICK, threads=usable + 1))


@pytest.mark.parametrize(("cores", "said"), [(0.5, True), (0.0, False), (None, False)])
def test_a_busy_machine_is_said(
    bundle: Bundle, cores: float | None, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Tuning("navigate", key_of(bundle), {"other_cores": cores}, (Row(Way("cpu", 1), times_as_fast=1.0),))
    monkeypatch.setattr(tuning_code, "autotune", lambda *given, **named: found)
    done = CliRunner().invoke(app, ["build", "navigate", "--autotune"])
    assert ("busy machine: other processes used 0.50 cores" in done.stdout) == said
    assert not list(tuning_file(bundle).parent.glob(".*")), "what was written on the way"


def test_the_command(cache: Path) -> None:
    done = CliRunner().invoke(app, ["build", "navigate", "--autotune", "--threads", "1", "--duration", "0.1"])
    assert done.exit_code == 0, done.output
    assert "kept for 1 thread: " in done.stdout
    assert "p99 needs 262,742" in done.stdout
    assert "--device tuned uses it" in done.stdout
    assert CliRunner().invoke(app, ["verify", "navigate", "--device", "tuned"]).exit_code == 0
