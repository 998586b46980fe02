"""The rows of a comparison: of profiles that were measured, and of boards that are not here, predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ....devices.device import Device, catalog
from ....devices.errors import UsageError
from ....devices.prediction import predict
from ..conditions import energy_in_words, gpu_in_words
from ..predicted import load_of, memory_bytes, precisions
from ..rates import catalogued_peak
from ..readers.foreign import Foreign
from ..record import Profile, shapes
from ..scenario import CAMERA, SINGLE_STREAM, in_words, kind_in_words, outcome_in_words
from ..stats import Interval
from .entry import Entry, Known, Score, Work, one_line
from .foreign import foreign, layers_of


def entries_of(results: Iterable[Profile | Foreign], boards: Sequence[Device] = ()) -> tuple[Entry, ...]:
    """A row for each result, in groups of one bundle: like things stand together; and rows predicted for `boards`, one
    for each precision of the group that the board computes in.

    With `boards`, all rows are of the network alone, since predictions are. In a group machines that the catalogue does
    not have come first, then its boards from the smallest to the largest. Raises UsageError for `boards` without a
    profile to predict from.
    """
    results = list(results)
    others = [foreign(one) for one in results if isinstance(one, Foreign)]
    profiles = [one for one in results if isinstance(one, Profile)]
    if boards and not profiles:
        raise UsageError(f"--on {boards[0].id}: only of files of `helmsight profile -o` are the operations known")
    order = {board.id: at for at, board in enumerate(catalog())}
    found: list[Entry] = []
    for bundle in dict.fromkeys([*(p.bundle for p in profiles), *(e.bundle for e in others)]):
        group = [p for p in profiles if p.bundle == bundle]
        rows = [e for e in others if e.bundle == bundle]
        if group:
            stage = _common_stage(group, alone=bool(boards))
            rows += [measured(p, stage) for p in group]
            rows += [predicted(p, board) for board in boards for p in _predictable(group, board)]
        found += sorted(rows, key=lambda e: order[e.board.id] if e.board else -1)
    return tuple(found)


def unlike(entries: Sequence[Entry]) -> list[str]:
    """In what rows of a bundle differ that has no column of its own: with it, their figures are of unlike things."""
    said = []
    for bundle in dict.fromkeys(e.bundle for e in entries):
        group = [e.profile for e in entries if e.bundle == bundle and e.profile]
        inputs = dict.fromkeys(map(shapes, group))
        if len(inputs) > 1:
            said.append(f"{bundle} was fed with {' and with '.join(inputs)}")
        scenarios = dict.fromkeys(kind_in_words(p.scenario) for p in group)
        if len(scenarios) > 1:
            said.append(f"{bundle} was measured as {' and as '.join(scenarios)}")
    return said


def measured(profile: Profile, stage: str) -> Entry:
    """The row of a profile that was measured, of one of its stages or of the `total`."""
    whole = next(s for s in profile.summaries if s.stage == stage)
    board = next((d for d in catalog() if d.id == profile.machine.get("device")), None)
    took = None if isinstance(profile.energy, str) else profile.energy
    power = Known(took.watts, f"measured, of {took.of}") if took else None
    streams = board.gpu.count if board and board.gpu and power is None and not profile.on_cpu else 1
    engine = f"{profile.device}, {profile.threads} thread{'s' * (profile.threads != 1)}"
    scenario = profile.scenario
    if scenario["name"] != SINGLE_STREAM:
        engine += f"; {in_words(scenario)}"
    if mode := profile.machine.get("power_mode"):
        engine += f"; power mode {mode}"
    return Entry(
        bundle=one_line(profile.bundle),
        device=board.name if board else _processor(profile),
        board=board,
        engine=one_line(engine),
        precision=one_line(profile.precision),
        predicted=False,
        stage=stage,
        p50_ms=max(whole.percentiles[0].ms, 1e-6),  # a clock's tick, where none passed: there is a rate of it
        p50_interval_ms=whole.median_ms,
        coverage=0.95,
        tail=whole.percentiles[1:],
        streams=streams,
        # What was measured is of the whole query, not of one stage.
        watts=(power if whole is profile.summaries[-1] else None) or board_watts(board),
        idle_watts=took.idle_watts if took else None,
        query_mj=took.query_mj if took and whole is profile.summaries[-1] else None,
        usd=board_usd(board),
        score=_score(profile),
        memory_bytes=_memory(profile),
        work=_work(profile, board),
        profile=profile,
        throughput=_throughput(profile),
        throughput_interval=Interval(scenario["low"], scenario["high"]) if "per_s" in scenario else None,
        made_by=tuple(_made_by(profile)),
        warnings=profile.warnings,
    )


def _throughput(profile: Profile) -> float | None:
    """Queries that were answered a second: of offline by all streams, of camera at its pace; else None."""
    if profile.scenario["name"] == CAMERA and profile.duration_s > 0:
        return len(profile.samples) / profile.duration_s
    return profile.scenario.get("per_s") or None


def predicted(profile: Profile, board: Device) -> Entry:
    """The row of a board that is not here, for the network alone in the profile's precision, by TensorRT.

    Raises DeviceMismatch where the board has no such GPU or precision, UsageError where operations were not counted.
    """
    said = predict(board, profile.precision, load_of(profile.graph, profile.bundle))
    around = Interval(said.low_ms, said.high_ms)
    memory = memory_bytes(profile.graph, profile.precision)
    return Entry(
        bundle=one_line(profile.bundle),
        device=board.name,
        board=board,
        engine="TensorRT",
        precision=said.precision,
        predicted=True,
        stage="inference",
        p50_ms=said.ms,
        p50_interval_ms=around,
        coverage=said.coverage,
        streams=board.gpu.count if board.gpu else 1,
        watts=board_watts(board),
        usd=board_usd(board),
        memory_bytes=None if memory is None else Known(memory, "at least"),
        work=_work_of(profile, board, said.ms, around),
        made_by=(("predicted", "a fit to published figures of TensorRT at batch 1; docs/prediction.md"),),
        warnings=said.outside,
    )


def board_watts(board: Device | None) -> Known | None:
    """The most that the whole board takes, by the catalogue: its own limit, its highest power mode, or its GPUs'."""
    power = board.power if board else None
    if power is None:
        return None
    if power.board_max_w is not None:
        return Known(power.board_max_w, "the most the board takes", bound=True)
    if power.modes_w:
        return Known(power.modes_w[-1], f"power mode of {power.modes_w[-1]:g} W", bound=True)
    return None


def board_usd(board: Device | None) -> Known | None:
    """The price by the catalogue, the highest where several were met."""
    price = board.price if board else None
    if price is None:
        return None
    return Known(price.usd_high or price.usd, price.remark or "list price")


def _predictable(group: Sequence[Profile], board: Device) -> list[Profile]:
    """One profile for each precision that the board computes in; the first of all where there is none, to say why."""
    able = precisions(board)
    by_precision = {p.precision: p for p in reversed(group) if p.precision in able}
    return [by_precision[p] for p in able if p in by_precision] or [group[0]]


def _common_stage(group: Sequence[Profile], alone: bool) -> str:
    """What all of `group` measured: the whole query where that is the same, else the last stage that all have.

    `alone`: the network alone, whatever else was measured.
    """
    first = group[0]
    if all(p.stages == first.stages for p in group) and not alone:
        return first.summaries[-1].stage
    common = [s for s in first.stages if all(s in p.stages for p in group)]
    if not common:
        held = " and ".join(dict.fromkeys(", ".join(p.stages) for p in group))
        raise UsageError(f"{first.bundle} was measured with stages {held}: none in common; measure it alike")
    return "inference" if "inference" in common else common[-1]


def _processor(profile: Profile) -> str:
    """The processor without what its maker decorates it with, such as `AMD EPYC 9R14, 2 cores`."""
    cpu = profile.machine.get("cpu", {})
    words = str(cpu.get("model", "unknown machine")).replace("(R)", "").replace("(TM)", "").split()
    model = " ".join(w for w in words if w not in ("CPU", "Processor"))
    cores = cpu.get("usable_cores")
    return one_line(f"{model}, {cores} core{'s' * (cores != 1)}" if cores else model)


def _score(profile: Profile) -> Score | None:
    for metric, found in profile.metrics.items():
        return Score(one_line(metric), found["value"], found.get("n"), found.get("better") != "lower")
    return None


def _memory(profile: Profile) -> Known | None:
    """Weights, and the most that intermediate tensors take at one time: what any engine needs at the least."""
    weights, peak = profile.graph.get("weight_bytes"), profile.graph.get("peak_bytes")
    return None if weights is None or peak is None else Known(weights + peak, "at least")


def _work(profile: Profile, board: Device | None) -> Work | None:
    alone = next((s for s in profile.summaries if s.stage == "inference"), None)
    if alone is None or not alone.median_ms.low:
        return None
    work = _work_of(profile, board, alone.percentiles[0].ms, alone.median_ms, profile.on_cpu)
    if work is None or profile.layers is None:
        return work
    rates = profile.layers.rates  # of a processor measured, with as many threads: nearer than any data sheet
    return replace(work, peak_gflops=rates.peak_gflops, bandwidth_gb_s=rates.bandwidth_gb_s)


def _work_of(
    profile: Profile, board: Device | None, network_ms: float, around: Interval, on_cpu: bool = False
) -> Work | None:
    graph = profile.graph
    macs, weights, activations = (graph.get(key) for key in ("macs", "weight_bytes", "activation_bytes"))
    if not macs or not weights or not activations:
        return None
    return Work(
        operations=2 * macs,
        moved_bytes=weights + activations,
        network_ms=network_ms,
        network_interval_ms=around,
        peak_gflops=catalogued_peak(board, profile.precision, on_cpu),
        bandwidth_gb_s=board.memory.bandwidth_gb_s if board else None,
    )


def _made_by(profile: Profile) -> Iterable[tuple[str, str]]:
    """What made the figures, as pairs of a name and its value."""
    machine, warm_up, overhead = profile.machine, profile.warm_up, profile.overhead
    yield "date (UTC)", profile.date_utc
    yield "queries", f"{len(profile.samples):,} in {profile.duration_s:g} s, stages {', '.join(profile.stages)}"
    if said := outcome_in_words(profile.scenario):
        yield "scenario", said
    yield "input", f"{shapes(profile)}; fed with {profile.feeds}"
    yield "engine", f"{profile.device}, {profile.precision}, {profile.threads} threads"
    yield "warm-up", f"{warm_up.queries} queries, {warm_up.seconds:g} s, {'stable' if warm_up.stable else 'not stable'}"
    yield "loop", f"{overhead.per_query_us:g} us a query, {overhead.in_sample_us:g} us of it in each sample"
    cores = profile.other_cores
    yield "other processes", "not available" if cores is None else f"{cores:.2f} cores"
    if profile.gpu:
        yield "GPU", gpu_in_words(profile.gpu)
    took = profile.energy
    yield "energy a query", f"not available: {took}" if isinstance(took, str) else energy_in_words(took)
    for name, reading in profile.own_sensors.get("readings", {}).items():
        yield name, _reading(reading)
    for key in ("board", "l4t", "power_mode", "governor", "os", "kernel"):
        yield key.replace("_", " "), str(machine.get(key) or "not available")
    yield "processor", str(machine.get("cpu", {}).get("model", "not available"))
    yield from layers_of(profile.layers)
    yield "versions", ", ".join(f"{k} {v}" for k, v in profile.versions.items())
    for name, digest in profile.files.items():
        yield f"SHA-256 of {name}", digest


def _reading(reading: dict[str, object]) -> str:
    if not {"n", "minimum", "mean", "maximum"} <= reading.keys():
        return f"not available: {reading.get('not_available', 'the record lacks a part of it')}"
    return f"{reading['mean']} ({reading['minimum']} to {reading['maximum']}), n {reading['n']}"
