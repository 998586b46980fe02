"""The row of a result that another program wrote."""

from __future__ import annotations

from ..layer_profile import LayerProfile
from ..readers.foreign import Foreign
from ..record import Percentile, Summary, summarise
from ..stats import BLOCKS, queries_needed
from .entry import Entry, Known, Score, one_line

SLOWEST = 10


def foreign(one: Foreign) -> Entry:
    """Its row, of the network alone: percentiles by our own rules where there are samples, else as they were written.

    What the file does not tell (the device, the precision) is `not available`.
    """
    whole = None if one.samples_ns is None else summarise(one.stage, one.samples_ns)
    return Entry(
        bundle=one_line(one.name),
        device="not available",
        board=None,
        engine=one_line(one.engine) if one.engine else "",
        precision=one_line(one.precision) if one.precision else "not available",
        predicted=False,
        stage=one.stage,
        p50_ms=max(whole.percentiles[0].ms, 1e-6) if whole else one.median_ms,
        p50_interval_ms=whole.median_ms if whole and whole.n >= BLOCKS else None,
        coverage=0.95,
        tail=_tail(one, whole),
        watts=None if one.watts is None else Known(one.watts, f"measured, of {one.watts_of}"),
        score=Score(one_line(one.score[0]), one.score[1], None, True) if one.score else None,
        program=one.program,
        samples_ns=one.samples_ns,
        mean_ms=one.mean_ms,
        series=one.series,
        throughput=one.per_s,
        made_by=(
            ("written by", one.program),
            *((name, one_line(value)) for name, value in one.facts),
            *layers_of(one.layers),
        ),
        warnings=one.warnings,
    )


def _tail(one: Foreign, whole: Summary | None) -> tuple[Percentile, ...]:
    """Without the samples nobody can say that a percentile is supported."""
    if whole:
        return whole.percentiles[1:]
    return tuple(Percentile(p, ms, False, queries_needed(p)) for p, ms in one.tail)


def layers_of(layers: LayerProfile | None) -> list[tuple[str, str]]:
    """What is told of layers beside the columns."""
    return [("slowest layers", "; ".join(map(one_line, layers.shares(SLOWEST))))] if layers else []
