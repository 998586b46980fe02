"""Whether a network fits a board's memory, by an estimate, and what would where it does not."""

from __future__ import annotations

from collections.abc import Iterator

from ..devices.errors import DeviceMismatch
from .graph import GraphSummary
from .targets import NVIDIA, Row, Target, rows

SYSTEM_SHARE, SYSTEM_BYTES = 0.25, 1_000_000_000
"""What is left to the system of a memory that it shares with the GPU: a quarter, at most 1 GB."""
ENGINE_BYTES = {"ncnn": 50_000_000, "onnxruntime": 150_000_000}
"""What an engine takes for itself; NVIDIA's with their CUDA context 0.8 GB (estimates, measured on no board)."""
NVIDIA_ENGINE_BYTES = 800_000_000
ENGINE_COPIES = 2
"""The engine that is made of the file and what it loads are in memory with it for a while."""
VALUE = {"fp32": 1.0, "bf16": 1.0, "fp16": 0.5, "int8": 0.25}
"""A weight in an engine, beside one in fp32; OpenVINO is given fp32 and makes bf16 of it."""


def check_memory(target: Target, graph: GraphSummary) -> int:
    """Bytes that a network takes on the board, by estimate. `graph` is of the network in fp32.

    The weights as the file has them and twice as the engine does, the most activations that are alive at one time (in
    int8 those of fp32: not all of them are in it), and the engine's own share; the system keeps a quarter of a memory
    that it shares, at most 1 GB. An estimate: TensorRT may keep copies in other layouts, or fuse layers and need less.
    Raises DeviceMismatch, with the nearest that fits, when the board has less.
    """
    needed, free = sum(_parts(target, graph)), _free_bytes(target.row)
    if free is None or needed <= free:
        return needed
    weights, activations, own = _parts(target, graph)
    fits = ", or ".join([*_nearer(target, graph, free), *_bigger(target, graph)])
    step = f"use {fits}" if fits else "no larger board of its kind holds it"
    raise DeviceMismatch(
        f"-t {target.name} --precision {target.precision}: the network takes about {needed / 1e9:.2f} GB there "
        f"({weights / 1e6:.4g} MB for its weights, as a file and in the engine, {activations / 1e6:.4g} MB of "
        f"activations, {own / 1e6:.4g} MB of {target.row.plan.engine}), and it has {free / 1e9:.2f} GB for it; "
        f"{step}; or give it a smaller input"
    )


def _parts(target: Target, graph: GraphSummary) -> tuple[int, int, int]:
    """Bytes of weights, of activations, and of the engine itself."""
    value, nvidia = VALUE[target.precision], bool(NVIDIA & set(target.artefacts))
    # NVIDIA's file in int8 has its weights in fp32, each behind a QuantizeLinear.
    stored = 1.0 if nvidia and target.precision == "int8" else value
    activations = (graph.peak_bytes or 0) * (1.0 if target.precision == "int8" else value)
    own = max(NVIDIA_ENGINE_BYTES if kind in NVIDIA else ENGINE_BYTES[kind] for kind in target.artefacts)
    return round(graph.weight_bytes * (stored + ENGINE_COPIES * value)), round(activations), own


def _nearer(target: Target, graph: GraphSummary, free: int) -> Iterator[str]:
    """What fits the same board: one of its artefacts alone, else the most exact of its lower precisions."""
    for kind in target.artefacts:
        if len(target.artefacts) > 1 and sum(_parts(Target(target.row, target.precision, kind), graph)) <= free:
            yield f"-t {target.name}/{kind}"
            break
    exact = target.row.precisions
    for precision in exact[exact.index(target.precision) + 1 :]:
        if sum(_parts(Target(target.row, precision), graph)) <= free:
            yield f"--precision {precision}"
            break


def _bigger(target: Target, graph: GraphSummary) -> Iterator[str]:
    """The smallest board of the family that holds it in the same precision."""
    family = target.row.board.family if target.row.board else ""
    if family == "reference":  # which are no family: a card is no larger Raspberry Pi
        return
    able = {
        one.name: room
        for one in rows()
        if one.board and one.board.family == family and one.state != "planned" and target.precision in one.precisions
        for room in (_free_bytes(one),)
        if room and room >= sum(_parts(Target(one, target.precision), graph))
    }
    if able:
        yield f"-t {min(able, key=lambda name: able[name])}, the smallest that holds it"


def _free_bytes(found: Row) -> int | None:
    """What a network may take there; None where the catalogue has no size."""
    memory = found.board.memory if found.board else None
    if memory is None or memory.size_gb is None:
        return None
    size = int(memory.size_gb * 1e9)
    return size - min(int(size * SYSTEM_SHARE), SYSTEM_BYTES) if memory.unified else size
