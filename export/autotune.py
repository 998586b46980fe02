"""`helmsight build --autotune`: measures the back ends and settings of this machine's processor, and gates each.

The gate is that of export: outputs on real frames beside those of the file as it was written, within what its precision
may lose. The task's score is not measured: that was export's, and needs the training's data.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.util import find_spec

from ..devices.errors import HelmsightError, UsageError
from ..devices.processor import processor
from ..runtime.backends import Feeds, OnnxRuntimeSettings, Session, SessionOptions, load
from ..runtime.backends.onnxruntime import chosen_optimisation
from ..runtime.bundle import Bundle
from ..runtime.parity import Run, check_parity, plain_onnx_run, tolerance
from ..runtime.profiler.measure import ProfileOptions, network_feeds
from ..runtime.profiler.others import OthersWatch
from ..runtime.profiler.stats import percentile_ms
from ..runtime.tuning import Row, Tuning, Way, key_of, thread_counts
from .timing import latencies_ms

USUAL = OnnxRuntimeSettings()
SETTINGS = (
    USUAL,
    replace(USUAL, optimisation="all"),
    replace(USUAL, optimisation="extended"),
    replace(USUAL, spinning=True),
    replace(USUAL, arena=False),
    replace(USUAL, io_binding=True),
)
"""One change from the usual each: what they bring adds up to less than the noise of measuring all their mixtures."""

PAUSE_S = 0.003
"""Between two runs, as between two frames of a camera: spinning threads of one way would take the cores of the next."""


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """`threads` is the most to try, 0: as many as the process may use. `seconds` are for each number of threads.

    `source` is the URI of the frames; without one, the clip that ships.
    """

    threads: int = 0
    seconds: float = 5.0
    source: str | None = None


def autotune(bundle: Bundle, options: TuneOptions | None = None, say: Callable[[str], None] = print) -> Tuning:
    """Measure every way on this machine, the usual one first. `say` is told each step.

    Raises GateFailed or BadArtefact where the usual way itself does not give what the file says.
    """
    options = options or TuneOptions()
    usable = processor().usable_cores
    if options.threads > usable:
        raise UsageError(
            f"--threads {options.threads}: this process may use {usable}; expected 1 to {usable}, or 0 for all"
        )
    most = options.threads or usable
    feeds, origin = network_feeds(bundle, ProfileOptions(source=options.source))
    bundle.read_model()  # checked once more: the reference below takes the file by its path
    plain = plain_onnx_run(bundle.model, bundle.manifest.outputs)
    rows: list[Row] = []
    with OthersWatch() as others:
        for threads in reversed(thread_counts(most)):
            say(f"measuring with {threads} thread{'s' * (threads != 1)} for {options.seconds:g} s")
            found = _measured(bundle, _ways(bundle, threads, most), (plain, feeds), options.seconds)
            rows += found if threads == most else found[1:]  # the usual way is in each, to compare with
    made = {
        "date_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "feeds": origin,
        "seconds": options.seconds,
        "other_cores": others.cores,
    }
    return Tuning(bundle.manifest.name, key_of(bundle), made, tuple(rows))


def _ways(bundle: Bundle, threads: int, most: int) -> list[Way]:
    """The usual way in the `most` threads, then the others in `threads`; of these one waits for no other."""
    usual = chosen_optimisation(bundle)
    settings = [s for s in SETTINGS if s.optimisation != usual and (threads > 1 or not s.spinning)]
    ways = [Way("cpu", threads, s) for s in settings]
    ways += [Way("openvino", threads)] if find_spec("openvino") else []
    return list(dict.fromkeys([Way("cpu", most), *ways]))


def _measured(bundle: Bundle, ways: Sequence[Way], against: tuple[Run, Sequence[Feeds]], seconds: float) -> list[Row]:
    """A row for each way, in turns; the first must pass."""
    reference, feeds = against
    limits = tolerance(str(bundle.manifest.provenance.get("export", {}).get("precision", "fp32")))
    rows, sessions = dict[Way, Row](), dict[str, Session]()
    with ExitStack() as opened:
        for way in ways:
            try:
                session = opened.enter_context(load(bundle, way.options(SessionOptions())))
                parity = check_parity(reference, session.run, feeds, limits)
            except HelmsightError as error:
                if way == ways[0]:
                    raise
                rows[way] = Row(way, refused=str(error).removesuffix("; nothing was written"))
                continue
            sessions[str(way)] = session
            rows[way] = Row(way, session.precision, max_abs=parity.max_abs)
        taken = latencies_ms(sessions, feeds, seconds, PAUSE_S)
    usual = taken[str(ways[0])]
    return [row if row.refused else _timed(row, taken[str(row.way)], usual) for row in rows.values()]


def _timed(row: Row, own: Sequence[float], usual: Sequence[float]) -> Row:
    """The ratio is of the turns, so that what disturbed both at one moment cancels out."""
    return replace(
        row,
        p50_ms=round(statistics.median(own), 4),
        p99_ms=round(percentile_ms(own, 0.99), 4),
        times_as_fast=round(statistics.median(u / o for u, o in zip(usual, own, strict=True)), 3),
        n=len(own),
    )
