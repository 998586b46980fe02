"""Where a query's time goes: the layers of a network, by the profiler of the engine that runs it.

It is a run of its own beside the one that gives latencies, since such a profiler costs time in every layer.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from ...devices.device import catalog
from ...devices.errors import BadArtefact, UsageError
from ...devices.here import here
from ...devices.processor import processor
from ..backends import load
from ..backends.layer_times import EngineRun, HasLayers, LayerEvent, Span
from ..bundle import Bundle
from ..onnx_nodes import WEIGHTED, Node, OnnxGraph, macs, ranks_fit, read_graph
from .layer_profile import Layer, LayerProfile
from .measure import ProfileOptions, Workload, workload
from .rates import Rates, rates_of

WARM_UP = 5
RUNS = 50
LEAST_RUNS = 5
DEVICES = ("cpu", "tensorrt")
"""Those whose engine times its layers. Through CUDA, ONNX Runtime's profiler has the launch of one, not its work."""
EVENTS = 50_000
"""Layers that a profile holds at the most, over all runs: ONNX Runtime writes some 900 bytes each."""
SECONDS = 10.0
"""After so long the run ends, once it has the least number of runs."""

_UNCOUNTED = re.compile(r"[Cc]onv|Gemm|MatMul|InnerProduct|Attention|SDPA|LSTM|GRU|RNN|Einsum")
"""Operators that multiply and accumulate, though how often is not known unless they are among WEIGHTED."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """When each stage and each layer ran, in microseconds from the first one's begin, for a trace.

    `stages` has the spans of each query, by the stage's name; `runs` are the engine's, moved to the same clock.
    """

    stages: tuple[Mapping[str, Span], ...]
    runs: tuple[EngineRun, ...]
    layers: Mapping[str, Layer]
    """By the key of their events."""


@dataclass(frozen=True, slots=True)
class LayerRuns:
    """The spans of each query's stages, by our clock, and the engine's run of each, by a clock of its own."""

    stages: Sequence[Mapping[str, Span]]
    runs: Sequence[EngineRun]


def profile_layers(bundle: Bundle, options: ProfileOptions) -> tuple[LayerProfile, Timeline]:
    """Run `bundle` with its engine's profiler on, on the input that `profile` measures with.

    Raises what `profile` raises, and UsageError for a back end without such a profiler.
    """
    graph = read_graph(bundle.read_model(), str(bundle.model))
    with (
        TemporaryDirectory(prefix="helmsight-") as folder,
        load(bundle, replace(options.session, layers=Path(folder))) as session,
    ):
        if session.device not in DEVICES or not isinstance(session, HasLayers):
            raise UsageError(
                f"--layers: --device {session.device} does not time its layers; expected {', '.join(DEVICES)}"
            )
        work = workload(bundle, session, options)
        stages = _run(work, most_runs(graph))
        runs = session.layer_runs()
        device, precision, profiler = session.device, session.precision, session.layer_profiler
    if len(runs) != len(stages) or not runs[0].layers:
        raise BadArtefact(f"{profiler} told of {len(runs)} runs of {len(stages)}; expected all, with their layers")
    threads = options.session.threads or processor().usable_cores
    board = next((one for one in catalog() if one.id == here().device), None)
    timed = LayerRuns(stages[WARM_UP:], runs[WARM_UP:])
    return summarise(graph, timed, profiler, rates_of(device, precision, threads, board))


def summarise(graph: OnnxGraph, timed: LayerRuns, profiler: str, rates: Rates) -> tuple[LayerProfile, Timeline]:
    """The layers of what an engine timed, by `graph`, whose nodes are called as the engine names its layers."""
    layers = _layers(graph, timed.runs)
    run_ms = median(run.span.duration_us for run in timed.runs) / 1e3
    found = LayerProfile(profiler, len(timed.runs), run_ms, rates, tuple(layers.values()))
    return found, _timeline(timed, layers)


def most_runs(graph: OnnxGraph) -> int:
    """How often a network is run at the most, the first WARM_UP runs among them."""
    return WARM_UP + max(LEAST_RUNS, min(RUNS, EVENTS // max(len(graph.nodes), 1)))


def _run(work: Workload, most: int) -> list[dict[str, Span]]:
    """The spans of each stage, query by query, the first ones being the warm-up."""
    spans: list[dict[str, Span]] = []
    end = time.perf_counter() + SECONDS
    while len(spans) < most and (len(spans) < WARM_UP + LEAST_RUNS or time.perf_counter() < end):
        value, query = work.items[len(spans) % len(work.items)], dict[str, Span]()
        for name, stage in zip(work.names, work.stages, strict=True):
            begin = time.perf_counter_ns()
            value = stage(value)
            query[name] = Span(begin / 1e3, (time.perf_counter_ns() - begin) / 1e3)
        spans.append(query)
    return spans


def _layers(graph: OnnxGraph, runs: Sequence[EngineRun]) -> dict[str, Layer]:
    """By key. A layer that runs several times in a run, as in a loop, counts with all of them."""
    times: dict[str, list[float]] = defaultdict(list)
    events: dict[str, LayerEvent] = {}
    for run in runs:
        sums: dict[str, float] = defaultdict(float)
        for event in run.layers:
            sums[event.key] += event.own_us
            events.setdefault(event.key, event)
        for key, total in sums.items():
            times[key].append(total)
    return {key: _layer(graph, event, median(times[key]) / 1e3) for key, event in events.items()}


def _layer(graph: OnnxGraph, event: LayerEvent, ms: float) -> Layer:
    nodes = graph.find(event.name, event.operator) or graph.find(event.made_of)
    weighted = [node for node in nodes if node.operator in WEIGHTED]
    weights = [weight.size_bytes for node in weighted if (weight := graph.weight_of(node))]
    # An engine that packed a weight its own way does not name it among what the layer reads.
    stored = max(event.stored_bytes, sum(weights))
    moved = None if event.activation_bytes is None else event.activation_bytes + stored
    named = (weighted or list(nodes))[:1]
    module = named[0].module if named else None
    return Layer(event.name, module, event.operator, ms, _operations(graph, event, nodes), moved)


def _operations(graph: OnnxGraph, event: LayerEvent, nodes: Sequence[Node]) -> int | None:
    kinds = [node.operator for node in nodes] or [event.operator]
    weighted = [node for node in nodes if node.operator in WEIGHTED]
    if any(not kind or (_UNCOUNTED.search(kind) and kind not in WEIGHTED) for kind in kinds):
        return None
    if not weighted:
        return None if _UNCOUNTED.search(kinds[0]) else 0
    weight = graph.weight_of(weighted[0])
    second = weight.shape if weight else event.inputs[1] if len(event.inputs) > 1 else None
    if len(weighted) > 1 or second is None or not event.inputs or not event.outputs:
        return None
    first, out = event.inputs[0], event.outputs[0]
    if not ranks_fit(weighted[0].operator, first, second, out):  # as the Shape that an engine put before a product
        return None
    # Where ONNX Runtime took a transposition into a product, its first input is as it was before.
    if weighted[0].operator == "MatMul" and min(len(first), len(out)) > 1 and first[-2] != out[-2]:
        first = (*first[:-2], first[-1], first[-2])
    # ONNX Runtime computes 8-bit convolutions, by another operator, with the channels last.
    if weighted[0].operator == "Conv" != event.operator and out[1] != second[0] == out[-1]:
        out = (out[0], out[-1], *out[1:-1])
    return 2 * macs(weighted[0].operator, first, second, out)


def _timeline(timed: LayerRuns, layers: Mapping[str, Layer]) -> Timeline:
    """On one clock: each run lies within its inference stage, which bounds how far the engine's clock is from ours."""
    stages, runs = timed.stages, timed.runs
    inference = [query["inference"] for query in stages]
    least = max(span.begin_us - run.span.begin_us for span, run in zip(inference, runs, strict=True))
    most = min(span.end_us - run.span.end_us for span, run in zip(inference, runs, strict=True))
    origin = next(iter(stages[0].values())).begin_us
    ours = tuple({name: _moved(span, -origin) for name, span in query.items()} for query in stages)
    shift = (least + most) / 2 - origin
    moved = tuple(
        EngineRun(_moved(run.span, shift), tuple(replace(e, span=_moved(e.span, shift)) for e in run.layers))
        for run in runs
    )
    return Timeline(ours, moved, layers)


def _moved(span: Span, by_us: float) -> Span:
    return Span(span.begin_us + by_us, span.duration_us)
