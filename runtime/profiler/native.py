"""Measuring on a board without Python: the bundle's `helmsight-run` for its processor does the same protocol there.

What it is fed is prepared here, by the code that feeds all others; `export/runner/profile.cpp` is the loop.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from ...devices.errors import BadArtefact, DeviceMismatch, HelmsightError, UsageError, reason_of
from ...devices.here import FILES, there
from ..backends import Feeds
from ..bundle import Bundle
from ..json_form import NUMBER, Fields, Rows, check_form
from ..limits import RANK
from ..onnx_nodes import OnnxGraph, read_graph
from ..strict_json import parse_json
from .counted import graph_of
from .layers import most_runs
from .measure import ProfileOptions, network_feeds
from .measured import Measured
from .native_layers import FORM, check_layers, layers_in, named_by_ncnn
from .record import Profile
from .sampled import LOG, SCRIPT, TIMES, script, sensors_during, unread
from .scenario import SINGLE_STREAM
from .ssh import ANSWER_BYTES, Connection
from .stream import Overhead, Times, WarmUp
from .trace import process_of

PROGRAM = "helmsight-run"
FEEDS = "feeds.bin"
MARK = "--helmsight-file "
_NOT_RUN = 126  # of a shell: a file that is there and cannot be run, as on a file system that is mounted noexec
_FORM = Fields(
    {
        "precision": str,
        "threads": int,
        "warm_up": Fields({"queries": int, "seconds": NUMBER, "stable": bool, "tolerance": NUMBER}),
        "overhead": Fields({"per_query_us": NUMBER, "in_sample_us": NUMBER}),
        "duration_s": NUMBER,
        "samples_ns": Rows(int, 1, 1 << 28),
    },
    {"layers": FORM},
)
_MODEL = Fields({"input": Fields({"shape": Rows(int, most=RANK)})})
_LARGEST = 1e8
"""No run has more seconds, threads or queries of warm-up; what is computed from far larger figures is not finite."""


@dataclass(frozen=True, slots=True)
class Program:
    """The folder of a bundle with `helmsight-run` and the network for it, and the versions of what is inside."""

    folder: str
    versions: Mapping[str, str]


def find_program(bundle: Bundle, machine: str) -> Program | None:
    """The bundle's program for a processor, as `uname -m` says it; None where it has none."""
    for target, record in bundle.manifest.parity.items():
        made = record.get("artefacts", {}).get("ncnn", {})
        program = made.get("program")
        here = f"targets/{target}/{PROGRAM}" in bundle.manifest.files
        if here and isinstance(program, dict) and program.get("machine") == machine:
            versions = made.get("versions")
            known = versions if isinstance(versions, dict) else {}
            return Program(f"targets/{target}", {str(k): str(v) for k, v in known.items()})
    return None


def profile_native(
    board: Connection, program: Program, bundle: Bundle, options: ProfileOptions, layers: bool = False
) -> Measured:
    """Measure the network alone on a connected board, its sensors beside it. What else runs there is not known.

    With `layers` they are timed too, in runs after those that are measured.
    Raises UsageError and DeviceMismatch for options that the program has not, or no room; BoardUnavailable when the
    board is lost; BadArtefact where the program does not answer as expected.
    """
    _check_options(board, program, bundle, options)
    feeds, origin = network_feeds(bundle, options)
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    _send(board, program, bundle, feeds)
    graph = read_graph(bundle.read_model(), str(bundle.model)) if layers else None
    said, sensors = _measured(board, program, bundle.manifest.name, options, most_runs(graph) if graph else 0)
    profile = Profile(
        bundle=bundle.manifest.name,
        task=bundle.manifest.task,
        files={**bundle.manifest.files, "manifest.json": bundle.manifest_sha256},
        inputs={k: {"shape": list(v.shape), "dtype": v.dtype.name} for k, v in feeds[0].items()},
        feeds=origin,
        stages=("inference",),
        device="cpu",
        precision=said["precision"],
        threads=said["threads"],
        warm_up=WarmUp(**said["warm_up"]),
        overhead=Overhead(**said["overhead"]),
        other_cores=None,
        machine=_machine(board),
        sensors=sensors,
        versions=program.versions,
        date_utc=date,
        duration_s=said["duration_s"],
        samples=_times(said["samples_ns"]),
        metrics=bundle.manifest.metrics,
        graph=graph_of(bundle),
    )
    one = Measured(board.address, profile)
    return one if graph is None else _with_layers(one, said, program, bundle, graph)


def _send(board: Connection, program: Program, bundle: Bundle, feeds: Sequence[Feeds]) -> None:
    """The program's folder, and what it is fed with in one file."""
    sent = b"".join(np.ascontiguousarray(array).tobytes() for feed in feeds for array in feed.values())
    files = [name for name in bundle.manifest.files if name.startswith(f"{program.folder}/")]
    board.check_room(sum(bundle.bytes_of[name] for name in files) + len(sent))
    modes = {name: 0o755 if name.endswith(f"/{PROGRAM}") else 0o644 for name in files}
    board.send([(FEEDS, sent, 0o644)])
    board.send((name, bundle.read(name), mode) for name, mode in modes.items())


def _with_layers(
    one: Measured, said: Mapping[str, Any], program: Program, bundle: Bundle, graph: OnnxGraph
) -> Measured:
    """`one` with the layers that the program told of, or with why there are none."""
    try:
        param, stored = (bundle.read(f"{program.folder}/{name}") for name in ("model.param", "model.bin"))
    except HelmsightError as error:
        return replace(one, failed=error)
    named = named_by_ncnn(graph, param.decode(errors="replace"), stored)
    layers, timeline = layers_in(said["layers"], said["threads"], named)
    return replace(one, profile=replace(one.profile, layers=layers), trace=process_of(timeline, one.title))


def _check_options(board: Connection, program: Program, bundle: Bundle, options: ProfileOptions) -> None:
    what = f"{board.address} has no helmsight, and {PROGRAM}"
    if options.stages:
        raise UsageError(f"{what} measures the network alone; leave out --stages")
    if options.scenario.name != SINGLE_STREAM:
        raise UsageError(f"{what} measures one query after the other; leave out --scenario {options.scenario.name}")
    if options.source:
        raise UsageError(f"{what} is fed with the clip that ships; leave out --source")
    if options.session.device != "cpu":
        raise DeviceMismatch(f"{what} computes on the CPU, not on {options.session.device}; leave out --device")
    shape = _made_for(bundle, f"{program.folder}/model.json")
    if shape != list(bundle.manifest.inputs[0].shape):
        raise UsageError(f"{what} was made for an input of {'x'.join(map(str, shape))}; leave out --imgsz")


def _made_for(bundle: Bundle, name: str) -> list[int]:
    """The shape of the input that the program takes."""
    made_for = parse_json(bundle.read(name), name)
    try:
        check_form(made_for, _MODEL, name)
    except ValueError as error:
        raise BadArtefact(f"{bundle.path}: {error}; export the bundle again") from error
    shape: list[int] = made_for["input"]["shape"]
    return shape


def _measured(
    board: Connection, program: Program, name: str, options: ProfileOptions, layer_runs: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the program printed, in the form that is expected, and what the sensors said."""
    limits, threads = options.limits, options.session.threads
    words = [f"./{program.folder}/{PROGRAM}", "--profile"]
    words += ["--duration", str(limits.duration_s), "--queries", str(limits.queries)]
    words += ["--threads", str(threads)] if threads else []
    words += ["--layers", str(layer_runs)] if layer_runs else []
    board.send([(SCRIPT, script(f"{shlex.join(words)} <{FEEDS}").encode(), 0o644)])
    done = board.run(f"sh {SCRIPT}", f"while {name} was measured")
    if done.returncode:
        noexec = done.returncode == _NOT_RUN
        step = "set TMPDIR there to where programs may run" if noexec else "export the bundle again for it"
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise DeviceMismatch(
            f"{board.address}: {PROGRAM} ended with {done.returncode}: {reason_of(RuntimeError(lines[-1]))}; {step}"
        )
    try:
        said = read_answer(done.stdout)
        if layer_runs and "layers" not in said:
            raise ValueError("it has no layers")
    except ValueError as error:
        raise BadArtefact(
            f"{board.address}: {PROGRAM} printed no record ({reason_of(error)}); measure again"
        ) from error
    board.warn(done.stderr)
    try:
        after_s = said["layers"]["seconds"] if layer_runs else 0.0
        return said, sensors_during(board.read(LOG), board.read(TIMES), said["duration_s"], after_s)
    except BadArtefact as error:  # larger than what is read
        return said, unread(reason_of(error))


def read_answer(printed: bytes) -> dict[str, Any]:
    """What the program printed of its run. Raises ValueError for another form, and for what no run can have taken."""
    try:
        said: dict[str, Any] = parse_json(printed, "it", ANSWER_BYTES)
    except BadArtefact as error:
        raise ValueError(str(error)) from error
    check_form(said, _FORM, "it")
    for group, kind in (("warm_up", WarmUp), ("overhead", Overhead)):
        said[group] = {one.name: said[group][one.name] for one in fields(kind)}
    figures = [("duration_s", said["duration_s"]), ("threads", said["threads"])]
    figures += [*said["warm_up"].items(), *said["overhead"].items()]
    figures += [("sample in seconds", time / 1e9) for time in (min(said["samples_ns"]), max(said["samples_ns"]))]
    for name, value in figures:
        if not 0 <= value <= _LARGEST:
            raise ValueError(f"its {name} is {value:g}; expected 0 to {_LARGEST:g}")
    if "layers" in said:
        check_layers(said["layers"])
    return said


def _times(samples_ns: list[int]) -> Times:
    return np.array(samples_ns, np.uint64).reshape(-1, 1)


def _machine(board: Connection) -> dict[str, Any]:
    """The board's own record, from a copy of what its kernel tells."""
    names = " ".join(f"/{file}" for file in FILES)
    script = f"for f in {names}; do printf '\\n{MARK}%s\\n' $f; cat $f 2>/dev/null; done; true"
    told = board.run(f"sh -c {shlex.quote(script)}", "while the board was asked what it is").stdout
    with tempfile.TemporaryDirectory(prefix="helmsight-") as folder:
        for part in told.split(f"\n{MARK}/".encode())[1:]:
            name, _, content = part.partition(b"\n")
            if name.decode(errors="replace") in FILES:
                file = Path(folder) / name.decode()
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        try:
            found = there(Path(folder), board.facts.get("machine", ""), board.facts.get("libc", ""))
        except (OSError, ValueError) as error:
            raise BadArtefact(f"{board.address} does not say what it is ({reason_of(error)})") from error
    return found.to_json()
