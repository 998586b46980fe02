"""TensorRT's engines on this machine's GPU, in fp32, fp16 and int8, beside ONNX Runtime on its processor.

Each network is built twice, without and with what the first build timed; its outputs are compared with ONNX Runtime's
of the same file. Latencies are from host to host, in turns, frame by frame of the clip that ships.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from helmsight.devices.errors import HelmsightError, need
from helmsight.export.inputs import Feeds
from helmsight.export.lowering import lower_to
from helmsight.export.nvidia import at_fixed_size, cast_first, for_tensorrt
from helmsight.export.older import to_opset
from helmsight.runtime.backends import Session, SessionOptions, load
from helmsight.runtime.bundle import Bundle, Manifest, TensorSpec, open_bundle, write_bundle
from helmsight.runtime.engines import tensorrt
from helmsight.runtime.engines._cuda import Cuda, open_cuda
from helmsight.runtime.engines.build import Built, build
from helmsight.runtime.engines.engine import Engine
from helmsight.runtime.engines.source import input_shapes
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.profiler.stats import percentile_ms, queries_needed

from .harness import Goal, Result, parser
from .precision import clip_feeds
from .residual import SIDE, residual_network

PRECISIONS = ("fp32", "fp16", "int8")
OPSET = 17
"""What every TensorRT from 8.5 on reads."""
SHARE = {"fp32": 1e-3, "fp16": 0.02, "int8": 0.2}
"""How far an output may be off ONNX Runtime's, of its largest value."""
GPU_MS, GRAPH, LAUNCHED = "GPU ms", "tensorrt", "tensorrt, no CUDA graph"
NOTES = (
    "TensorRT of 8.x chooses types itself unless it is held to the graph's; `computes in` counts the convolutions and "
    "matrix products of the engine by type, as its inspector tells them.",
    "`off` is the largest difference from ONNX Runtime of the same file, as a share of the output's largest value.",
    "Latency is from the picture in the host's memory to the outputs there, the copies included; GPU ms is between "
    "two CUDA events around the same. `no graph` launches each layer by itself.",
    "p99 is the nearest-rank percentile; with 99 % confidence it takes "
    f"{queries_needed(0.99):,} queries of a row to support it.",
    "cuBLAS's and cuDNN's kernels are left out, as they are for every engine of helmsight's.",
)
RESIDUAL = "`residual` has the shape of ResNet-50 and random weights: a large network beside the two that ship."
Pair = tuple[str, str]
"""A network's name and the precision that is asked for."""


def network(name: str, precision: str, given: Path | None) -> bytes:
    """The ONNX file of a network at one size, out of the folder `given` where it has one."""
    if given and (file := given / f"{name}-{precision}.onnx").is_file():
        return file.read_bytes()
    if name == "residual":
        return residual_network(precision).SerializeToString()
    onnx = need("onnx", "train")
    full = open_bundle(name)
    model = onnx.load(full.model)
    if precision != "fp32":
        with tempfile.TemporaryDirectory() as work:
            model = lower_to(precision, model, clip_feeds(full, 16), Path(work), for_nvidia=True)()
    older = to_opset(at_fixed_size(cast_first(model), full.manifest.inputs), OPSET)
    made: bytes = for_tensorrt(older).SerializeToString()
    return made


def draft(name: str, precision: str, given: Path | None, folder: Path) -> Bundle:
    """A bundle with that file."""
    if name == "residual":
        specs = (TensorSpec("image", (1, SIDE, SIDE, 3), "uint8"),), (TensorSpec("y", (1, 1000), "float32"),)
        manifest = Manifest(name, "", *specs)
    else:
        manifest = open_bundle(name).manifest
    provenance = {**manifest.provenance, "export": {"precision": precision}}
    whole = replace(manifest, parity={"cpu": {"precision": precision}}, provenance=provenance)
    return write_bundle(folder / f"{name}-{precision}.bundle", whole, {"model.onnx": network(name, precision, given)})


def feeds_of(bundle: Bundle, frames: int) -> list[Feeds]:
    """Frames of the clip; noise for a network without a task."""
    if bundle.manifest.task:
        return clip_feeds(open_bundle(bundle.manifest.task), frames)
    rng = np.random.default_rng(0)
    spec = bundle.manifest.inputs[0]
    shape = tuple(int(side) for side in spec.shape)
    return [{spec.name: rng.integers(0, 256, shape, np.uint8)} for _ in range(min(frames, 8))]


class Launched:
    """An engine whose layers are launched one by one, as a session for the clock."""

    def __init__(self, built: Built, bundle: Bundle) -> None:
        cuda: Cuda = open_cuda()
        cuda.capture = lambda work, stream: None  # type: ignore[method-assign]
        self._engine = Engine(tensorrt(), cuda, built.stored.read(), input_shapes(bundle))

    def run(self, feeds: Feeds) -> Mapping[str, np.ndarray]:
        return self._engine.run(feeds)

    def __enter__(self) -> Launched:
        return self

    def __exit__(self, *why: object) -> None:
        self._engine.close()


def off(ours: Session, reference: Session, feeds: Sequence[Feeds]) -> float:
    """The largest difference of any output, as a share of its largest value on all feeds: of one alone it may be 0."""
    apart, most = dict[str, float](), dict[str, float]()
    for feed in feeds:
        made, expected = ours.run(feed), reference.run(feed)
        for name, values in expected.items():
            apart[name] = max(apart.get(name, 0.0), float(np.abs(made[name] - values).max()))
            most[name] = max(most.get(name, 1e-3), float(np.abs(values).max()))
    return max(apart[name] / most[name] for name in apart)


def in_turns(ways: Mapping[str, Any], feeds: Sequence[Feeds], seconds: float) -> dict[str, list[float]]:
    """Latencies in ms of each way, and of the GPU alone under GPU_MS."""
    taken: dict[str, list[float]] = {name: [] for name in (*ways, GPU_MS)}
    for way in list(ways.values()) * 10:
        way.run(feeds[0])
    end, turn = time.perf_counter() + seconds, 0
    while turn < 20 or time.perf_counter() < end:
        for name, way in ways.items():
            begin = time.perf_counter_ns()
            way.run(feeds[turn % len(feeds)])
            taken[name].append((time.perf_counter_ns() - begin) / 1e6)
        taken[GPU_MS].append(ways[GRAPH].gpu_ms)
        turn += 1
    return taken


def row(bundle: Bundle, precision: str, seconds: float, frames: int) -> dict[str, Any]:
    """Everything of one network in one precision."""
    cold = build(bundle)
    cold_s, again = cold.stored.record["build_s"], build(bundle, force=True)
    feeds = feeds_of(bundle, frames)
    with ExitStack() as stack:
        one, all_cores = (stack.enter_context(load(bundle, SessionOptions("cpu", threads))) for threads in (1, 0))
        session = stack.enter_context(load(bundle, SessionOptions("tensorrt")))
        ways = {GRAPH: session, LAUNCHED: stack.enter_context(Launched(again, bundle)), "1": one, "all": all_cores}
        apart = off(session, one, feeds[:8])
        taken = in_turns(ways, feeds, seconds)
    p50 = {name: statistics.median(values) for name, values in taken.items()}
    record = again.stored.record
    return {
        "network": bundle.manifest.name,
        "asked for": precision,
        "computes in": ", ".join(f"{n} {kind}" for kind, n in record["real"].items()) or "not told",
        "build s": cold_s,
        "again s": record["build_s"],
        "engine MB": again.stored.file.stat().st_size / 1e6,
        "off": apart,
        "p50 ms": p50[GRAPH],
        "p99 ms": percentile_ms(taken[GRAPH], 0.99),
        "GPU ms": p50[GPU_MS],
        "no graph p50 ms": p50[LAUNCHED],
        "CPU, 1 thread, p50 ms": p50["1"],
        "CPU, all, p50 ms": p50["all"],
        "times as fast as 1 thread": p50["1"] / p50[GRAPH],
        "queries": len(taken[GRAPH]),
    }


def pairs_of(names: Sequence[str]) -> list[Pair]:
    """What is to be measured."""
    return [(name, precision) for name in names for precision in PRECISIONS[: 2 if name == "residual" else 3]]


def rows_of(
    pairs: Sequence[Pair], given: Path | None, seconds: float, frames: int
) -> Iterator[tuple[Pair, dict[str, Any] | str]]:
    """A row for each, or why there is none."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch  # so that no engine is there already
        for name, precision in pairs:
            try:
                one = row(draft(name, precision, given, Path(scratch)), precision, seconds, frames)
            except (HelmsightError, RuntimeError) as error:
                print(f"{name} in {precision}: {error}", file=sys.stderr)
                yield (name, precision), str(error)
            else:
                yield (name, precision), one


def result_of(
    title: str,
    options: Mapping[str, Any],
    pairs: Sequence[Pair],
    found: Mapping[Pair, dict[str, Any] | str],
    cores: float | None,
) -> Result:
    """All that was asked for: what has no row is told apart, and its goal is not met."""
    rows = {pair: one for pair, one in found.items() if isinstance(one, dict)}
    goals = [
        Goal(
            f"{name} in {kind}: off ONNX Runtime",
            rows[name, kind]["off"] if (name, kind) in rows else None,
            SHARE[kind],
            False,
        )
        for name, kind in pairs
    ]
    failed = [
        {"network": name, "asked for": kind, "failed": found.get((name, kind), "not reached")}
        for name, kind in pairs
        if (name, kind) not in rows
    ]
    notes = (*NOTES, RESIDUAL) if any(name == "residual" for name, _ in rows) else NOTES
    more = {"Not measured": failed} if failed else {}
    return Result("gpu_engines", title, options, list(rows.values()), goals, cores, more, notes)


def main() -> None:
    """Run and write the result, anew after each row."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--networks", nargs="+", default=["navigate", "face", "residual"])
    arguments.add_argument("--made", type=Path, help="folder of NAME-PRECISION.onnx that were made elsewhere")
    arguments.add_argument("--seconds", type=float, default=10.0, help="of timing for each row")
    arguments.add_argument("--frames", type=int, default=32, help="of the clip, over and over")
    args = arguments.parse_args()
    library, gpu = tensorrt(), open_cuda().gpu
    options = {"networks": " ".join(args.networks), "seconds": args.seconds, "frames": args.frames}
    options |= {"library": str(library), "GPU": gpu.name, "compute capability": gpu.compute_capability}
    title, pairs = f"{library} on an {gpu.name}", pairs_of(args.networks)
    found: dict[Pair, dict[str, Any] | str] = {}
    with OthersWatch() as others:
        for pair, one in rows_of(pairs, args.made, args.seconds, args.frames):
            found[pair] = one
            result_of(title, options, pairs, found, None).write(args.out)
    result_of(title, options, pairs, found, others.cores).write(args.out)


if __name__ == "__main__":
    main()
