"""Two profiles side by side: ratios with bootstrap intervals, and whether they may be compared at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...devices.errors import UsageError
from .others import busy
from .readers.foreign import Foreign
from .record import PERCENTILES, Profile, shapes
from .scenario import in_words, outcome_in_words
from .stats import BLOCKS, Interval, Samples, interval, percentile, queries_needed, ratio_draws

CHANGED_LAYERS = 3
Result = Profile | Foreign


@dataclass(frozen=True, slots=True)
class Row:
    """One percentile of one stage in both profiles; `ratio` is b over a, with its 95 % bootstrap interval.

    `supported` is False when either run has too few samples for this percentile.
    """

    stage: str
    p: float
    a_ms: float
    b_ms: float
    ratio: float
    ratio_95: Interval
    supported: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """`a` and `b` name what was compared, `unlike` says in what they differ that forbids it, `notes` what to know."""

    a: str
    b: str
    rows: tuple[Row, ...]
    unlike: tuple[str, ...]
    notes: tuple[str, ...]

    def slower(self, tolerance: float) -> bool:
        """True when b's median is slower than a's by more than `tolerance` (0.05: 5 %) with the whole interval."""
        return self.gate.ratio_95.low > 1 + tolerance

    def undecided(self, tolerance: float) -> bool:
        """True when the interval has the limit inside: more samples or a quieter machine would tell."""
        return self.gate.ratio_95.low <= 1 + tolerance < self.gate.ratio_95.high

    @property
    def gate(self) -> Row:
        """The median of the whole query; where the stages differ, of the last stage that both have."""
        return [r for r in self.rows if r.p == 0.5][-1]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(a: Result, b: Result) -> Comparison:
    """Compare two results, stage by stage; UsageError when they have no stage in common, or one has too few samples.

    What forbids a comparison is listed, not raised: the caller decides. Of what another program wrote the network alone
    is compared, and nothing of it is known to be unlike.
    """
    if isinstance(a, Foreign) or isinstance(b, Foreign):
        return _of_samples(a, b)
    stages = [s for s in a.stages if s in b.stages]
    if not stages:
        raise UsageError(
            f"{a.bundle} has stages {', '.join(a.stages)}, {b.bundle} {', '.join(b.stages)}: none in common"
        )
    if a.stages == b.stages and len(stages) > 1:
        stages.append("total")
    rows = tuple(_row(stage, a.times(stage), b.times(stage), p) for stage in stages for p in PERCENTILES)
    return Comparison(_name(a), _name(b), rows, tuple(_unlike(a, b)), tuple(_notes(a, b)))


def has_samples(one: Result) -> bool:
    """Whether each query's time is known, of as many as an interval needs."""
    return isinstance(one, Profile) or (one.samples_ns is not None and len(one.samples_ns) >= BLOCKS)


def pairs(a: Sequence[Result], b: Sequence[Result]) -> list[tuple[Result, Result]]:
    """Which results of two files belong together: the only two, or those of the same bundle name.

    Raises UsageError when a bundle is in one file only, or twice: nothing is left out silently.
    """
    if len(a) == len(b) == 1:
        return [(a[0], b[0])]
    first, second = ([one.bundle if isinstance(one, Profile) else one.name for one in half] for half in (a, b))
    if sorted(first) != sorted(second) or len(set(first)) != len(first):
        raise UsageError(
            f"the files hold {', '.join(first)} and {', '.join(second)}; expected the same bundles, each once"
        )
    return [(one, b[second.index(name)]) for one, name in zip(a, first, strict=True)]


def _of_samples(a: Result, b: Result) -> Comparison:
    first, second = _network_alone(a), _network_alone(b)
    rows = tuple(_row("inference", first, second, p) for p in PERCENTILES)
    read = " and ".join(dict.fromkeys(one.program for one in (a, b) if isinstance(one, Foreign)))
    note = f"{read} does not tell input, device and precision: that these are alike is yours to know"
    return Comparison(_name(a), _name(b), rows, (), (note,))


def _network_alone(one: Result) -> Samples:
    if isinstance(one, Profile):
        if "inference" not in one.stages:
            raise UsageError(f"{one.bundle} has stages {', '.join(one.stages)}; expected inference among them")
        return one.times("inference")
    if one.samples_ns is None or not has_samples(one):
        n = 0 if one.samples_ns is None else len(one.samples_ns)
        raise UsageError(
            f"{_name(one)} has the times of {n} queries; expected {BLOCKS} or more, as `helmsight profile -o` and "
            "`trtexec --exportTimes` write them: without samples nothing tells a change from chance"
        )
    return one.samples_ns


def _row(stage: str, first: Samples, second: Samples, p: float) -> Row:
    was, now = percentile(first, p), percentile(second, p)
    enough = p <= 0.5 or min(len(first), len(second)) >= queries_needed(p)
    around = interval(ratio_draws(first, second, p))
    # A stage that took no measurable time has no ratio; 1 ns in its place keeps the figure finite.
    return Row(stage, p, was / 1e6, now / 1e6, now / max(was, 1), around, enough)


def _unlike(a: Profile, b: Profile) -> Iterable[str]:
    for what, first, second in (
        ("input", shapes(a), shapes(b)),
        ("stages", ", ".join(a.stages), ", ".join(b.stages)),
        ("scenario", in_words(a.scenario), in_words(b.scenario)),
        ("precision", a.precision, b.precision),
        ("device", a.device, b.device),
        ("threads", a.threads, b.threads),
        *_gpus(a, b),
        *_modes(a, b),
    ):
        if first != second:
            said = ["not available" if one is None else one for one in (first, second)]
            yield f"{what}: {said[0]} against {said[1]}"


def _gpus(a: Profile, b: Profile) -> Iterable[tuple[str, object, object]]:
    """The model, where both records have it: older ones do not."""
    if "name" in a.gpu and "name" in b.gpu:
        yield "GPU", a.gpu["name"], b.gpu["name"]


def _modes(a: Profile, b: Profile) -> Iterable[tuple[str, object, object]]:
    """Of one kind of board; another one has other modes, and that it is another one is noted."""
    if a.machine.get("board") == b.machine.get("board"):
        yield "power mode", a.machine.get("power_mode"), b.machine.get("power_mode")


def _energies(a: Profile, b: Profile) -> Iterable[str]:
    """Where both were measured; of how much it differs from run to run nothing is known."""
    first, second = a.energy, b.energy
    if isinstance(first, str) or isinstance(second, str):
        return
    mj = f"energy a query: {first.query_mj:.3g} mJ against {second.query_mj:.3g} mJ"
    if first.of == second.of:
        yield f"{mj} of {first.of}, B / A {second.query_mj / first.query_mj:.3f}"
    else:
        yield f"{mj}, of {first.of} against {second.of}: unlike"


def _notes(a: Profile, b: Profile) -> Iterable[str]:
    for letter, one in (("A", a), ("B", b)):
        if said := outcome_in_words(one.scenario):
            yield f"{letter}: {said}"
        if busy(one.other_cores):
            yield f"{letter}: other processes used {one.other_cores:.2f} cores during the run"
    yield from _energies(a, b)
    if a.feeds != b.feeds:
        yield f"fed with {a.feeds} against {b.feeds}"
    if a.machine != b.machine:
        yield "measured on different machines, or on one in another state"
    changed = [k for k in sorted(set(a.versions) | set(b.versions)) if a.versions.get(k) != b.versions.get(k)]
    if changed:
        yield "versions: " + ", ".join(f"{k} {a.versions.get(k)} against {b.versions.get(k)}" for k in changed)
    yield from _layers(a, b)


def _layers(a: Profile, b: Profile) -> Iterable[str]:
    """What became of the layers, where both profiles have them: those of one name whose times differ most."""
    if a.layers is None or b.layers is None:
        return
    before = {layer.name: layer.ms for layer in a.layers.layers}
    changed = sorted(
        (layer for layer in b.layers.layers if layer.ms != before.get(layer.name, layer.ms)),
        key=lambda x: -abs(x.ms - before[x.name]),
    )
    if changed:
        said = "; ".join(f"{x.title} {before[x.name]:.3f} to {x.ms:.3f} ms" for x in changed[:CHANGED_LAYERS])
        yield f"layers that differ most, by the profiler and without an interval: {said}"


def _name(one: Result) -> str:
    return f"{one.bundle} ({one.date_utc})" if isinstance(one, Profile) else f"{one.name} (by {one.program})"
