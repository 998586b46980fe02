"""ncnn's files and `helmsight-run`, for boards without a Python that helmsight runs with: a folder to copy there."""

from __future__ import annotations

import hashlib
import json
import platform as this_machine
import shutil
import subprocess
import tempfile
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...devices.errors import BadArtefact, GateFailed, HelmsightError, need
from ...runtime.backends import SessionOptions, load
from ...runtime.bundle import Bundle, TensorSpec
from ...runtime.onnx_nodes import read_graph
from ...runtime.parity import Parity, Run, check_parity, plain_onnx_run
from ..inputs import Feeds
from ..native import LAYERS, LICENCES, NAME, Platform, needed_glibc, platform_for, runner, versions
from ..ncnn_model import check_layers, convert, pnnx_version, the_picture
from ..ncnn_prefix import prefixes
from . import Order

SCHEMA = 1
"""Of model.json, which `runner/model.cpp` reads."""
RUN = f"./{NAME} --source /dev/video0"
TIMEOUT_S = 600

PAGE = "helmsight-run.md"
README = """\
# {name} on {target}

ncnn and a program that needs nothing of the system but its C library (glibc {glibc} or newer). Copy this folder to the
board, whole, and run there

    {run}

A JSON line a frame goes to stdout, a summary of latency to stderr. `./{program} picture.jpg` reads pictures (PPM, PGM,
JPEG, PNG), `./{program} --help` names all else.

Outputs were compared with ONNX Runtime's on {n} inputs {checked}: they differ by {max_abs:.2g} at most.
It was not tried on such a board.
"""


def make(order: Order) -> Mapping[str, Any]:
    """Write model.param, model.bin, model.json, helmsight-run, its licences and a page on it; see `Kind`."""
    bundle, board = order.draft, order.target.row.board
    the_picture(bundle)  # refused before minutes of work
    platform = platform_for(board.cpu.architecture if board and board.cpu else "")
    built = runner(platform, order.say)
    with tempfile.TemporaryDirectory(prefix="helmsight-") as work:
        param, weights = convert(bundle, Path(work))
    check_layers(param.decode(), (built / LAYERS).read_text().split(), len(bundle.manifest.outputs))
    _write(order.folder, bundle, param, weights)
    for file in (NAME, LICENCES):
        shutil.copy(built / file, order.folder)
    order.say("comparing with ONNX Runtime")
    parity, checked = _compared(order, platform)
    glibc = ".".join(str(part) for part in needed_glibc(built / NAME))
    (order.folder / PAGE).write_text(
        README.format(
            name=bundle.manifest.name,
            target=order.target.name,
            glibc=glibc,
            run=RUN,
            program=NAME,
            n=parity.n,
            checked=checked,
            max_abs=parity.max_abs,
        )
    )
    return {
        "precision": "fp32",
        "versions": versions() | {"pnnx": pnnx_version()},
        "run": RUN,
        "reference": "onnxruntime",
        "checked": checked,
        "program": {"machine": platform.machine, "glibc": glibc, "bytes": (built / NAME).stat().st_size},
        **parity.to_json(),
    }


def _write(folder: Path, bundle: Bundle, param: bytes, weights: bytes) -> None:
    """The three files that the program reads."""
    (folder / "model.param").write_bytes(param)
    (folder / "model.bin").write_bytes(weights)
    told = json.dumps(describe(bundle, param, weights), indent=1, ensure_ascii=False)
    (folder / "model.json").write_text(told + "\n", encoding="utf-8")


def describe(bundle: Bundle, param: bytes, weights: bytes) -> dict[str, Any]:
    """What `helmsight-run` must know beside the network: the constants of decoding, and what it is fed."""
    manifest = bundle.manifest
    order = {name: index for index, name in enumerate(_output_names(bundle))}
    missing = sorted({spec.name for spec in manifest.outputs} - set(order))
    if missing:
        raise BadArtefact(f"{bundle.model} has no output {', '.join(missing)}, which the manifest names")
    return {
        "schema_version": SCHEMA,
        "name": manifest.name,
        "task": manifest.task,
        "precision": "fp32",
        "files": {"model.param": hashlib.sha256(param).hexdigest(), "model.bin": hashlib.sha256(weights).hexdigest()},
        "input": _tensor(manifest.inputs[0], "in0"),
        "outputs": [_tensor(spec, f"out{order[spec.name]}") for spec in manifest.outputs],
        "decoding": dict(manifest.decoding),
    }


def emulated(platform: Platform) -> list[str] | None:
    """What stands before the program's name so that it runs here; None where that cannot be."""
    if this_machine.machine() == platform.machine:
        return []
    if shutil.which(platform.emulator[0]) is None or not Path(platform.root).is_dir():
        return None
    return [*platform.emulator, "-L", platform.root]


def run_program(command: Sequence[str], outputs: Sequence[TensorSpec], feeds: Sequence[Feeds]) -> Iterator[Feeds]:
    """The outputs of `helmsight-run --values` for each of `feeds`. Raises GateFailed where it does not give them."""
    sent = b"".join(np.ascontiguousarray(array).tobytes() for feed in feeds for array in feed.values())
    try:
        done = subprocess.run([*command, "--values"], input=sent, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise GateFailed(f"{NAME} did not answer in {TIMEOUT_S} s; nothing was written") from error
    sizes = [prod(_shape(spec)) for spec in outputs]
    if done.returncode or len(done.stdout) != 4 * sum(sizes) * len(feeds):
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise GateFailed(f"{NAME} ended with {done.returncode}: {said[-1]}; nothing was written")
    for row in np.frombuffer(done.stdout, np.float32).reshape(len(feeds), sum(sizes)):
        parts = np.split(row, np.cumsum(sizes)[:-1])
        yield {spec.name: part.reshape(_shape(spec)) for spec, part in zip(outputs, parts, strict=True)}


def _compared(order: Order, platform: Platform) -> tuple[Parity, str]:
    """How far the outputs are from ONNX Runtime's, and what computed them. Raises GateFailed."""
    bundle, folder = order.draft, order.folder
    before = emulated(platform)
    with load(bundle, SessionOptions("cpu")) as session:
        if before is None:
            order.say(
                f"WARNING: {platform.emulator[0]} is not here: ncnn is compared on this machine, not {NAME} itself"
            )
            with _in_python(folder, bundle) as run:
                parity = check_parity(session.run, run, order.feeds, order.tolerance)
            return parity, f"by ncnn for Python on {this_machine.machine()}, without {NAME}"
        answers = run_program([*before, str(folder / NAME)], bundle.manifest.outputs, order.feeds)
        try:
            parity = check_parity(session.run, lambda _feed: next(answers), order.feeds, order.tolerance)
        except GateFailed as error:
            raise GateFailed(f"{error}{_told_apart(order, before)}") from error
    how = "on this machine" if not before else f"in {' '.join(platform.emulator)}"
    return parity, f"by {NAME} {how}"


def _told_apart(order: Order, before: Sequence[str]) -> str:
    """The first node that ncnn computes otherwise, to be put behind a message; "" where that is none by itself."""
    feed, whole = order.feeds[0], prefixes(order.draft)

    def differs(index: int) -> bool:
        with tempfile.TemporaryDirectory(prefix="helmsight-") as work:
            folder = Path(work) / "board"
            folder.mkdir()
            try:
                part = whole.write(index, Path(work))
                _write(folder, part, *convert(part, Path(work)))
                command = [*before, str(order.folder / NAME), "--model", str(folder)]
                answers = run_program(command, part.manifest.outputs, [feed])
                plain = plain_onnx_run(part.model, part.manifest.outputs)
                check_parity(plain, lambda _feed: next(answers), [feed], order.tolerance)
            except HelmsightError:
                return True
            return False

    order.say("looking for the operator that ncnn computes otherwise")
    found = bisect_left(range(len(whole.ends)), True, key=differs)
    nodes = read_graph(order.draft.read_model(), "model.onnx").nodes if found < len(whole.ends) else ()
    for node in nodes:
        if whole.ends[found].name in node.outputs:
            place = f", {node.place}" if node.place else ""
            return (
                f"; ncnn computes {node.operator} ({node.name}{place}) otherwise: take that operator out of the "
                "network, or choose a target that runs ONNX"
            )
    return ""


@contextmanager
def _in_python(folder: Path, bundle: Bundle) -> Iterator[Run]:
    """ncnn's own package for Python on the same two files."""
    ncnn = need("ncnn", "tk1")
    record = json.loads((folder / "model.json").read_text())
    net = ncnn.Net()
    for switch in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{switch}", False)
    if net.load_param(str(folder / "model.param")) or net.load_model(str(folder / "model.bin")):
        raise GateFailed("ncnn does not read what pnnx wrote; nothing was written")

    def run(feed: Mapping[str, Any]) -> Feeds:
        (picture,) = feed.values()
        turned = picture[0].transpose(2, 0, 1) if record["input"]["layout"] == "NHWC" else picture[0]
        values = np.ascontiguousarray(turned, np.float32)
        mat = ncnn.Mat(values).clone()  # a first layer that works in place crashes on memory that is numpy's
        extractor = net.create_extractor()
        extractor.input("in0", mat)
        found = {}
        for spec in record["outputs"]:
            failed, output = extractor.extract(spec["blob"])
            if failed:
                raise GateFailed(f"ncnn gives no output {spec['name']}; nothing was written")
            found[spec["name"]] = np.array(output, np.float32).reshape(spec["shape"])
        return found

    try:
        yield run
    finally:
        net.clear()


def _output_names(bundle: Bundle) -> list[str]:
    """In the ONNX file's order, which pnnx keeps."""
    model = need("onnx", "train").load_model_from_string(bundle.read_model())
    return [output.name for output in model.graph.output]


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(int(side) for side in spec.shape)


def _tensor(spec: TensorSpec, blob: str) -> dict[str, Any]:
    return {
        "name": spec.name,
        "blob": blob,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "layout": spec.layout,
        "colour": spec.colour,
        "range": list(spec.range) if spec.range else None,
    }
