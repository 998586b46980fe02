"""`helmsight-run`, the program for boards without Python, beside ONNX Runtime and the decoding in Python.

The folder that `helmsight export` makes for a board runs under qemu-user with that board's processor and kernel: on the
networks' own inputs for the outputs, and on frames of 640x480 from stdin for the lines that it prints. Emulated, so no
time is taken.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from helmsight.devices.errors import MissingExtra, need
from helmsight.export.artefacts import Order
from helmsight.export.artefacts.ncnn import emulated, make, run_program
from helmsight.export.inputs import Feeds
from helmsight.export.native import MOST_BYTES, NAME, platform_for
from helmsight.export.source import load_source
from helmsight.export.targets import Target, check_targets
from helmsight.runtime.backends import load
from helmsight.runtime.bundle import Bundle, open_bundle
from helmsight.runtime.parity import Run, tolerance
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.results import Command, Drive, Image
from helmsight.runtime.tasks import task_for

from .harness import Goal, Result, parser

TARGETS = ("jetson-tk1", "jetson-nano/ncnn")
FRAME_WH = (640, 480)
LIMIT = 1e-4
LAST_DIGIT = {"xyxy": 0.1, "landmarks": 0.1}
"""Of what a line has in pixels; of all else 0.0001."""
NOTES = (
    "Double precision, the same file in ONNX's reference implementation, shows whose a difference is: ONNX Runtime's "
    "sigmoid is off by some 5e-8.",
    "Run under qemu-user: instructions, ABI and numbers, never speed. No board was there.",
    "A number is the last digit of its line apart where both are at a rounding's edge; more than that is a difference.",
    "Pictures are samples that the networks' scores are taken on, photographs with faces and the simulator's; for the "
    "lines they are enlarged to 640x480, so that the program fits them in again.",
)


def python_lines(bundle: Bundle, frames: Sequence[Image]) -> list[dict[str, Any]]:
    """What `helmsight camera` says of each frame: the record, and navigation's command."""
    task, found = task_for(bundle.manifest), []
    with load(bundle) as session:
        for frame in frames:
            record = task.decode(session.run(task.prepare(frame)), frame.shape[:2])
            said: dict[str, Any] = dict(record.to_json())
            found.append(said | (Command.of(record).to_json() if isinstance(record, Drive) else {}))
    return found


def runner_lines(command: Sequence[str], bundle: Bundle, frames: Sequence[Image]) -> list[dict[str, Any]]:
    """The same from the program, of raw video on its stdin."""
    size = "x".join(map(str, FRAME_WH))
    sent = b"".join(np.ascontiguousarray(frame).tobytes() for frame in frames)
    done = subprocess.run([*command, "--raw", f"{size}:bgr"], input=sent, capture_output=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [line[bundle.manifest.task] | line.get("command", {}) for line in lines]


def in_double(bundle: Bundle) -> Run:
    """The network in double precision, by ONNX's reference implementation: what both ought to give."""
    onnx = need("onnx", "train")
    from onnx.reference import ReferenceEvaluator

    model, single, double = onnx.load(bundle.model), onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    for tensor in model.graph.initializer:
        if tensor.data_type == single:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(float), tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == single:
                attribute.i = double
            if attribute.t.data_type == single:
                attribute.t.CopyFrom(
                    onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(attribute.t).astype(float))
                )
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.elem_type = double
    evaluator, names = ReferenceEvaluator(model), [spec.name for spec in bundle.manifest.outputs]
    return lambda feeds: dict(zip(names, evaluator.run(names, dict(feeds)), strict=True))


def apart(one: Sequence[Feeds], other: Sequence[Feeds]) -> float:
    """The largest difference of any output."""
    return max(float(np.abs(a[name] - b[name]).max()) for a, b in zip(one, other, strict=True) for name in a)


def compared(mine: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many lines say the same, to the last digit or but for it, and how many faces there are."""
    exact = near = faces = 0
    for right, found in zip(mine, other, strict=True):
        pairs = {key: (np.asarray(value), np.asarray(found[key])) for key, value in right.items()}
        faces += len(right.get("score", ()))
        exact += all(a.shape == b.shape and bool((a == b).all()) for a, b in pairs.values())
        near += all(
            a.shape == b.shape and bool((np.abs(a - b) <= 1.01 * LAST_DIGIT.get(key, 1e-4)).all())
            for key, (a, b) in pairs.items()
        )
    return {"lines": len(mine), "equal": exact, "equal but for the last digit": near, "faces": faces}


def measured(name: str, target: Target, pictures: int) -> dict[str, Any]:
    """A row: one network on one kind of processor."""
    bundle, board = open_bundle(name), target.row.board
    platform = platform_for(board.cpu.architecture if board and board.cpu else "")
    before, samples = emulated(platform), load_source(name).samples
    if before is None or samples is None:
        raise MissingExtra(f"{platform.emulator[0]} or {platform.root} is not here; tools/system-packages.sh has them")
    images = list(samples(pictures, 1))
    frames = [np.asarray(cv2.resize(image, FRAME_WH), np.uint8) for image in images]
    task = task_for(bundle.manifest)
    feeds = [{key: np.array(value) for key, value in task.prepare(image).items()} for image in images]
    outputs, double = bundle.manifest.outputs, in_double(bundle)
    exact = [double(feed) for feed in feeds]
    with load(bundle) as session:
        theirs = [{key: np.array(value) for key, value in session.run(feed).items()} for feed in feeds]
    with tempfile.TemporaryDirectory() as work:
        record = make(Order(bundle, target, Path(work), feeds, tolerance("fp32"), print))
        command = [*before, str(Path(work) / NAME)]
        ours = list(run_program(command, outputs, feeds))
        lines = runner_lines(command, bundle, frames)
    return {
        "network": name,
        "processor": platform.machine,
        "emulator": " ".join(platform.emulator),
        "bytes": record["program"]["bytes"],
        "glibc": record["program"]["glibc"],
        "inputs": len(feeds),
        "from ONNX Runtime": apart(ours, theirs),
        "from double precision": apart(ours, exact),
        "ONNX Runtime from it": apart(theirs, exact),
        **compared(python_lines(bundle, frames), lines),
    }


def goals(row: Mapping[str, Any]) -> list[Goal]:
    """What was asked of every row."""
    of = f"{row['network']}, {row['processor']}"
    oldest = platform_for(row["processor"]).glibc
    minor = int(str(row["glibc"]).partition(".")[2])
    return [
        Goal(f"{of}: largest difference from ONNX Runtime", row["from ONNX Runtime"], LIMIT, at_least=False),
        Goal(f"{of}: largest difference from double precision", row["from double precision"], LIMIT, at_least=False),
        Goal(f"{of}: share of lines that are equal", row["equal but for the last digit"] / row["lines"], 1, True),
        Goal(f"{of}: bytes", row["bytes"], MOST_BYTES, at_least=False),
        Goal(f"{of}: glibc 2.x that it needs, x", minor, oldest[1], at_least=False),
    ]


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--bundles", nargs="+", default=["face", "navigate"])
    made.add_argument("--targets", nargs="+", default=list(TARGETS))
    made.add_argument("--pictures", type=int, default=64)
    args = made.parse_args()
    with OthersWatch() as others:
        targets = check_targets(args.targets, "fp32")
        rows = [measured(name, target, args.pictures) for target in targets for name in args.bundles]
    options = {"bundles": " ".join(args.bundles), "targets": " ".join(args.targets), "pictures": args.pictures}
    met = [goal for row in rows for goal in goals(row)]
    title = "helmsight-run beside ONNX Runtime and Python"
    Result("native_runner", title, options, rows, met, others.cores, notes=NOTES).write(args.out)


if __name__ == "__main__":
    main()
