"""What the profiler's loop adds to a query, against a bare loop over the same calls.

Both loops make the same calls; the figure is the difference of their wall times per query, taken in turns. By default
the back end is the fake one, which answers in microseconds: beside the milliseconds of a real network the difference
would drown in their noise. Beside it stands what the profiler says of itself, from an empty call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.profiler.measure import random_feeds
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.profiler.stream import Limits, measure_overhead, single_stream

from .harness import Goal, Result, parser, spread


def bare(call: Callable[[Any], Any], item: Any, queries: int) -> None:
    """The loop that nobody could make cheaper in Python."""
    for _ in range(queries):
        call(item)


def us_per_query(loop: Callable[[], object], queries: int) -> float:
    """Wall time of `loop` over its queries."""
    begin = time.perf_counter_ns()
    loop()
    return (time.perf_counter_ns() - begin) / queries / 1e3


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--bundle", default="navigate")
    made.add_argument("--device", default="fake")
    made.add_argument("--queries", type=int, default=20_000, help="in a turn")
    made.add_argument("--rounds", type=int, default=15)
    args = made.parse_args()
    bundle = open_bundle(args.bundle)
    with load(bundle, SessionOptions(args.device, 1)) as session, OthersWatch() as others:
        feeds = random_feeds(bundle.manifest.inputs, seed=0)
        loops: dict[str, Callable[[], object]] = {
            "bare loop": lambda: bare(session.run, feeds, args.queries),
            "profiler's loop": lambda: single_stream([feeds], [session.run], Limits(0, args.queries)),
        }
        for loop in loops.values():
            loop()  # warm-up
        turns = [{n: us_per_query(loop, args.queries) for n, loop in loops.items()} for _ in range(args.rounds)]
    rows = [{"what": name, **{f"{k} us": v for k, v in spread([t[name] for t in turns]).items()}} for name in loops]
    added = spread([t["profiler's loop"] - t["bare loop"] for t in turns])
    rows.append({"what": "difference in a turn", **{f"{k} us": v for k, v in added.items()}})
    itself = measure_overhead(1)
    for what, figure in (("says of itself", itself.per_query_us), ("of that in a sample", itself.in_sample_us)):
        rows.append({"what": what, "median us": figure, "min us": figure, "max us": figure})
    goals = [
        Goal("difference, us a query", added["median"], 5, at_least=False),
        Goal("says of itself, us a query", itself.per_query_us, 5, at_least=False),
    ]
    options = {k: getattr(args, k) for k in ("bundle", "device", "queries", "rounds")}
    Result("profiler_overhead", "Overhead of the profiler's loop", options, rows, goals, others.cores).write(args.out)


if __name__ == "__main__":
    main()
