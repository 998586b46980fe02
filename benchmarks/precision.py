"""fp16 and int8 beside fp32: what the networks that ship lose in score, and what they gain in time on this CPU.

Each is exported as `helmsight export NAME --precision ... --repair` does it; those for a CPU take turns on one thread,
frame by frame of the clip that ships, so ratios are of the same moments. TensorRT's file is scored in ONNX Runtime.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from helmsight.export.build import ExportOptions, export
from helmsight.export.inputs import Feeds
from helmsight.export.timing import WORTH_IT, latencies_ms
from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import Bundle, open_bundle
from helmsight.runtime.inspection import in_words
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.sources import open_source
from helmsight.runtime.tasks import task_for

from .harness import Goal, Result, parser

PRECISIONS = ("fp32", "fp16", "int8")
NVIDIA, BOARD = "int8, TensorRT", "jetson-orin-nano/tensorrt"
"""int8 as NVIDIA's engines read it, and a target that gets it; fp16 is one file for all."""
LOWER = ("fp16", "int8", NVIDIA)
MAX_DROP = 0.01
NOTES = (
    "int8 is U8S8 in QDQ form, ranges from 128 inputs; layers whose loss breaks a gate stay in fp32 (`--repair`).",
    "`int8, TensorRT` is the file that a Jetson Orin, a DGX or an engine of TensorRT-RTX gets: int8 with zero points "
    "of 0, pairs before convolutions, matrix products and sums only. What an engine makes of it was not run here, nor "
    "was it timed: a CPU is slow with it. `off` is its largest difference, over the largest value of that output in "
    "that run.",
    "The scores of fp16 are with every value rounded to float16, as a GPU stores them, and sums in fp32; no GPU was "
    "used. The times of fp16 are of what ONNX Runtime makes of the file on this CPU.",
    "Both networks are small; what int8 does to a large one was not measured here.",
    "Scores are those of the export's gate, on validation frames and on photographs held back. The ranges of int8 are "
    "from pictures of the same sets, without their labels.",
)


def make(name: str, folder: Path) -> dict[str, Bundle]:
    """The bundle called `name` in each precision, made in `folder` unless one that was made of it is there."""
    made = {"fp32": open_bundle(name)}
    for kind in LOWER:
        out = folder / f"{made['fp32'].manifest.name}-{len(made)}.bundle"
        wanted = ExportOptions(precision=kind.split(",")[0], repair=True, out=out, max_drop=MAX_DROP)
        wanted = replace(wanted, targets=(BOARD,)) if kind == NVIDIA else wanted
        made[kind] = kept(out, made["fp32"]) or export(name, wanted)
    return made


def kept(place: Path, source: Bundle) -> Bundle | None:
    """The bundle at `place`, None where there is none or it was made of another than `source`."""
    if not place.is_dir():
        return None
    bundle = open_bundle(place)
    return bundle if bundle.manifest.provenance["source"]["manifest_sha256"] == source.manifest_sha256 else None


def clip_feeds(bundle: Bundle, frames: int) -> list[Feeds]:
    """Feeds of the first frames of the clip that ships."""
    task, feeds = task_for(bundle.manifest), []
    with open_source("sample://corridor") as source:
        for frame in source:
            feeds.append({name: np.array(array) for name, array in task.prepare(frame.image).items()})
            if len(feeds) == frames:
                break
    return feeds


def timed(made: Mapping[str, Bundle], feeds: Sequence[Feeds], seconds: float) -> dict[str, list[float]]:
    """Latencies in ms of each precision on one thread of ONNX Runtime, in turns."""
    with ExitStack() as stack:
        sessions = {p: stack.enter_context(load(bundle, SessionOptions(threads=1))) for p, bundle in made.items()}
        return latencies_ms(sessions, feeds, seconds)


def speed_row(name: str, precision: str, bundle: Bundle, taken: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Latency of one precision, and how many times as fast as fp32 it was, turn by turn."""
    record = bundle.manifest.parity["cpu"]
    ratios = [full / own for full, own in zip(taken["fp32"], taken[precision], strict=True)]
    repair = record.get("repair")
    return {
        "network": name,
        "precision": precision,
        "the file is in": in_words(record["precision"], record["real"]),
        "computed in": in_words(*_computed(record)),
        "kept in fp32": f"{len(repair['kept'])} of {repair['layers']}" if repair else "",
        "p50 ms": statistics.median(taken[precision]),
        "times as fast": statistics.median(ratios),
        "model bytes": bundle.model.stat().st_size,
    }


def score_rows(name: str, made: Mapping[str, Bundle]) -> list[dict[str, Any]]:
    """The task's scores: fp32's as both exports measured it, each other one as its own export did."""
    scores = {kind: made[kind].manifest.parity["cpu"]["score"] for kind in LOWER}
    (board,) = (record for name, record in made[NVIDIA].manifest.parity.items() if name != "cpu")
    scores[NVIDIA] = board["artefacts"]["tensorrt"]["score"]  # of the file itself
    return [
        {
            "network": name,
            "metric": metric,
            "fp32": pair["fp32"],
            **{precision: found[metric]["exported"] for precision, found in scores.items()},
            "n": made["int8"].manifest.metrics[metric]["n"],
        }
        for metric, pair in scores["int8"].items()
    ]


def engine_row(name: str, bundle: Bundle) -> dict[str, Any]:
    """What the file for TensorRT is."""
    record = bundle.manifest.parity["cpu"]
    repair = record.get("repair", {"kept": [], "layers": 0})
    return {
        "network": name,
        "the file is in": in_words(record["precision"], record["real"]),
        "kept in fp32": f"{len(repair['kept'])} of {repair['layers']}" if repair["layers"] else "none",
        "off": record["max_rel"],
        "model bytes": bundle.model.stat().st_size,
    }


def _computed(record: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    computed = record.get("computed")
    return (computed["precision"], computed) if computed else (record["precision"], record["real"])


def main() -> None:
    """Run and write the result."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--bundles", nargs="+", default=["face", "navigate"])
    arguments.add_argument("--seconds", type=float, default=20.0, help="of timing for each network")
    arguments.add_argument("--frames", type=int, default=32, help="of the clip, over and over")
    arguments.add_argument("--made", type=Path, help="folder to keep the bundles in, and to take them from")
    args = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    scores: list[dict[str, Any]] = []
    engines: list[dict[str, Any]] = []
    busy: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.bundles:
            made = make(name, args.made or Path(folder))
            with OthersWatch() as others:
                taken = timed({p: made[p] for p in PRECISIONS}, clip_feeds(made["fp32"], args.frames), args.seconds)
            busy += [others.cores] if others.cores is not None else []
            rows += [speed_row(made["fp32"].manifest.name, p, made[p], taken) for p in PRECISIONS]
            scores += score_rows(made["fp32"].manifest.name, made)
            engines += [engine_row(made["fp32"].manifest.name, made[NVIDIA])]
    goals = [
        Goal(f"{row['network']} in int8, times as fast as fp32", row["times as fast"], WORTH_IT, at_least=True)
        for row in rows
        if row["precision"] == "int8"
    ]
    options = {"bundles": " ".join(args.bundles), "seconds": args.seconds, "frames": args.frames, "threads": 1}
    title = "Lower precisions"
    others_cores = max(busy) if busy else None
    more = {"Scores": scores, "int8 for TensorRT": engines}
    Result("precision", title, options, rows, goals, others_cores, more, NOTES).write(args.out)


if __name__ == "__main__":
    main()
