"""What a bundle would take on boards that are not at hand, from what its export counted in the graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...devices.device import Device
from ...devices.errors import DeviceMismatch, UsageError
from ...devices.prediction import BYTES, Load, Prediction, peak_gflops, predict
from ..bundle import Bundle
from .counted import graph_of

DEPTHWISE_SHARE = 0.25
"""From this share of its convolutions on a network counts as one of depthwise convolutions."""
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators of ONNX that are layers of their own on a GPU; others are mostly joined to them."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """A bundle's prediction for a device and a precision, and the memory that it needs there at the least.

    `memory_bytes` (weights in that precision, and the most that intermediate tensors take at one time in it) and
    `board_bytes` are None where they are not known; `memory_note` says why the former is not.
    """

    bundle: str
    prediction: Prediction
    memory_bytes: float | None
    board_bytes: float | None

    @property
    def memory_note(self) -> str:
        counted = self.memory_bytes is not None
        return (
            ""
            if counted
            else (
                "its export did not count the tensors that live at one time; export it anew, or count them here with "
                "ONNX Runtime: pip install 'helmsight[cpu]'"
            )
        )

    def to_json(self) -> dict[str, Any]:
        memory = {"memory_bytes": self.memory_bytes, "memory_note": self.memory_note, "board_bytes": self.board_bytes}
        return {"bundle": self.bundle, **self.prediction.to_json(), **memory}


def load_of(graph: Mapping[str, Any], what: str) -> Load:
    """The load of a network whose `graph` its export counted; UsageError names `what` where it did not."""
    macs, parameters, operators = graph.get("macs"), graph.get("parameters"), graph.get("operators", {})
    layers = sum(operators.get(kind, 0) for kind in PRODUCTS)
    if not macs or not parameters or not layers:
        raise UsageError(f"{what}: its operations were not counted, so nothing can be predicted; export it anew")
    convolutions = operators.get("Conv", 0)
    if convolutions and "depthwise" not in graph:  # it doubles what is predicted
        raise UsageError(
            f"{what}: its record does not tell how many of its {convolutions} convolutions are depthwise, so nothing "
            "can be predicted; measure it again with this version"
        )
    depthwise = graph.get("depthwise", 0) > DEPTHWISE_SHARE * convolutions
    return Load(2 * macs, parameters, layers, depthwise)


def predict_bundle(bundle: Bundle, boards: Sequence[Device]) -> Iterator[Predicted]:
    """For each board, and each precision that its GPU computes in. Raises DeviceMismatch and UsageError."""
    graph = graph_of(bundle)
    load = load_of(graph, str(bundle.path))
    for board in boards:
        if board.gpu is None:
            predict(board, "fp32", load)  # says why not
            continue
        for precision in precisions(board):
            size = board.memory.size_gb
            yield Predicted(
                bundle.manifest.name,
                predict(board, precision, load),
                memory_bytes(graph, precision),
                None if size is None else size * 1e9,
            )


def precisions(board: Device) -> list[str]:
    """Those that the board's GPU computes in: fp16 that is storage only is none."""
    gpu = board.gpu
    if gpu is None:
        raise DeviceMismatch(f"--on {board.id}: {board.name} has no GPU; measure there")
    able = {"fp32": True, "fp16": gpu.fp16_path != "none", "int8": gpu.int8_path != "none"}
    return [p for p in BYTES if able[p] and peak_gflops(gpu, p) is not None]


def memory_bytes(graph: Mapping[str, Any], precision: str) -> float | None:
    """What any engine needs at the least; the counts are of fp32."""
    parameters, peak = graph.get("parameters"), graph.get("peak_bytes")
    return None if parameters is None or peak is None else (parameters + peak / 4) * BYTES[precision]
