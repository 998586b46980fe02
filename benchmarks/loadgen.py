"""Percentiles of the profiler beside MLPerf's own, on the same file, in turns.

In each round MLPerf loadgen's SingleStream (package `mlcommons-loadgen`, through its Python binding) and the profiler's
loop send the same feeds to the same session, as long as each other, in changing order. What is compared is the ratio of
their percentiles in a round: the machine's own drift is in both. Loadgen draws its samples with replacement, so the
feeds are one array again and again.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from helmsight.runtime.backends import Feeds, Session, SessionOptions, load
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.profiler.measure import random_feeds
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.profiler.stats import percentile
from helmsight.runtime.profiler.stream import Limits, single_stream, warm_up

from .harness import Goal, Result, parser

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0}
WITHIN = 0.02
Turn = dict[str, float]
"""Percentiles in milliseconds, and how many queries a second."""


def by_loadgen(session: Session, feeds: Feeds, seconds: float) -> Turn:
    """MLPerf loadgen, its figures read from its own summary."""
    loadgen = import_module("mlperf_loadgen")

    def issue(samples: Sequence[Any]) -> None:
        for sample in samples:
            answer = session.run(feeds)  # an answer is freed after its query, as in the profiler's loop
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample.id, 0, 0)])
            del answer

    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.SingleStream
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = settings.max_duration_ms = round(seconds * 1e3)
    settings.min_query_count = 100
    settings.single_stream_expected_latency_ns = 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        output = loadgen.LogOutputSettings()
        output.outdir, output.copy_summary_to_stdout = folder, False
        log = loadgen.LogSettings()
        log.log_output, log.enable_trace = output, False
        sut = loadgen.ConstructSUT(issue, lambda: None)
        qsl = loadgen.ConstructQSL(1, 1, lambda _: None, lambda _: None)
        loadgen.StartTestWithLogSettings(sut, qsl, settings, log)
        loadgen.DestroyQSL(qsl)
        loadgen.DestroySUT(sut)
        return _summary((Path(folder) / "mlperf_log_summary.txt").read_text())


def _summary(text: str) -> Turn:
    lines = dict(line.split(":", 1) for line in text.splitlines() if line.count(":") == 1)
    values = {key.strip(): value.strip() for key, value in lines.items()}
    found = {name: float(values[f"{at:.2f} percentile latency (ns)"]) / 1e6 for name, at in PERCENTILES.items()}
    return found | {"queries/s": float(values["QPS w/o loadgen overhead"])}


def by_profiler(session: Session, feeds: Feeds, seconds: float) -> Turn:
    """The profiler's loop."""
    times = single_stream([feeds], [session.run], Limits(seconds, 100))[:, 0]
    found = {name: percentile(times, at / 100) / 1e6 for name, at in PERCENTILES.items()}
    return found | {"queries/s": 1e9 / float(times.mean())}


LOOPS: Mapping[str, Callable[[Session, Feeds, float], Turn]] = {"loadgen": by_loadgen, "helmsight": by_profiler}


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--bundles", nargs="+", default=["face", "navigate"])
    made.add_argument("--seconds", type=float, default=3.0, help="of each loop in each round")
    made.add_argument("--rounds", type=int, default=12)
    args = made.parse_args()
    rows, goals = [], []
    with OthersWatch() as others:
        for name in args.bundles:
            bundle = open_bundle(name)
            with load(bundle, SessionOptions("cpu", 1)) as session:
                turns = _rounds(session, random_feeds(bundle.manifest.inputs, seed=0), args.seconds, args.rounds)
            rows += [{"bundle": name, "loop": loop, **_medians(found)} for loop, found in turns.items()]
            for p in PERCENTILES:
                ratios = [b[p] / a[p] for a, b in zip(turns["loadgen"], turns["helmsight"], strict=True)]
                off = abs(statistics.median(ratios) - 1)
                goals.append(Goal(f"{name}: {p} beside loadgen's, off by", off, WITHIN, at_least=False))
    options = {k: getattr(args, k) for k in ("bundles", "seconds", "rounds")}
    notes = [
        "Milliseconds are medians over the rounds; what is off is the median of the ratios within a round.",
        "A round is some thousand queries: fewer than a p99 needs to be trusted by itself.",
    ]
    title = "Percentiles beside MLPerf loadgen's"
    Result("loadgen", title, options, rows, goals, others.cores, notes=notes).write(args.out)


def _rounds(session: Session, feeds: Feeds, seconds: float, rounds: int) -> dict[str, list[Turn]]:
    warm_up([feeds], [session.run])
    turns: dict[str, list[Turn]] = {name: [] for name in LOOPS}
    for number in range(rounds):
        for name in list(LOOPS)[:: 1 if number % 2 else -1]:
            turns[name].append(LOOPS[name](session, feeds, seconds))
    return turns


def _medians(turns: Sequence[Turn]) -> dict[str, float]:
    return {f"{key} ms" if key in PERCENTILES else key: statistics.median(t[key] for t in turns) for key in turns[0]}


if __name__ == "__main__":
    main()
