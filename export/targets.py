"""The one table of targets: what each device gets, in which precisions, and what is done here and what on the board.

Devices come from the catalogue in `devices/`; `PLANS` says how each group of them is served. A target is a device in
a precision. What cannot be had is refused before any work, with the nearest that can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..devices.device import Device, State, alias_in_words, catalog, device
from ..devices.errors import DeviceMismatch, UsageError
from ..runtime.engines.source import RTX_CAPABILITIES
from .precision import PRECISIONS

CPU = "cpu"
NVIDIA = frozenset({"trtexec", "tensorrt", "tensorrt-rtx"})
"""Kinds of artefact whose engine is one of NVIDIA's, which read int8 with zero points of 0 only."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How some boards are served.

    `artefacts` are kinds in `artefacts/`, by precision; a precision that is not there cannot be had on any of these
    boards, and `why` says why. `opset` is the newest that `engine` reads, 0 where it reads all that export writes.
    `here` is what export does, `there` what is done on the board. `on_request` are precisions that were measured to be
    slower there than fp32, or too little faster for what they lose: made for who asks.
    """

    engine: str
    artefacts: dict[str, tuple[str, ...]]
    opset: int
    here: str
    there: str
    why: str = ""
    on_request: tuple[str, ...] = ()


def _all(*kinds: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(("fp32", "fp16", "int8"), kinds)


_AND_NCNN = _all("trtexec") | {"fp32": ("trtexec", "ncnn")}
_BUILT_THERE = "helmsight build"
_NEWEST = Plan("TensorRT 10 or 11", _all("tensorrt"), 20, "the ONNX file", _BUILT_THERE)
_PROCESSOR = Plan(
    engine="ONNX Runtime, OpenVINO",
    artefacts=_all("onnxruntime") | {"bf16": ("onnxruntime",)},
    opset=0,
    here="the ONNX file",
    there="--device cpu, or openvino",
    on_request=("fp16", "bf16", "int8"),  # benchmarks/results/cpu_engines.md has what was measured
)
PLANS: dict[str, Plan] = {
    "cpu": _PROCESSOR,
    "cpu-arm": _PROCESSOR,
    "ncnn-native": Plan(
        engine="ncnn",
        artefacts={"fp32": ("ncnn",)},
        opset=18,
        here="ncnn model and runner",
        there="copy, run one command",
        why="its CPU and its GPU compute in fp32 only: no fp16 arithmetic, no instructions for int8",
    ),
    # 8.2 reads opset 13, 8.5 opset 17: docs/operators.md of onnx-tensorrt at release/8.2-GA and release/8.5-GA.
    "trtexec-jetpack4": Plan("TensorRT 8.2", _AND_NCNN, 13, "ONNX for TensorRT 8.2; ncnn", "trtexec"),
    "trtexec-jetpack5": Plan("TensorRT 8.5", _AND_NCNN, 17, "ONNX for TensorRT 8.5; ncnn", "trtexec"),
    # 10.0 reads opset 20 (the same document at 10.0-GA); for later ones no document was read, so the same is taken.
    "tensorrt-jetpack6": Plan("TensorRT 10", _all("tensorrt"), 20, "the ONNX file", _BUILT_THERE),
    "tensorrt-jetpack7": _NEWEST,
    # 10.0 refuses Pascal, so that it is the file of 8.5 which is built there too.
    "tensorrt-pascal": Plan(
        "TensorRT 8.5, 8.6", _all("trtexec"), 17, "ONNX for TensorRT 8.5", f"{_BUILT_THERE}; trtexec"
    ),
    "tensorrt-old": Plan("TensorRT 10.0 to 10.4", _all("tensorrt"), 20, "the ONNX file", _BUILT_THERE),
    "tensorrt": _NEWEST,
    "tensorrt-h200": _NEWEST,
    "tensorrt-rtx-too": Plan(
        "TensorRT 10 or 11, TensorRT-RTX",
        _all("tensorrt", "tensorrt-rtx"),
        20,
        "the ONNX file, a TensorRT-RTX engine",
        f"{_BUILT_THERE}, or --device tensorrt-rtx",
    ),
}
"""By the key of [serving.KEY] in the catalogue."""
RTX = Plan("TensorRT-RTX", _all("tensorrt-rtx"), 20, "a TensorRT-RTX engine", "--device tensorrt-rtx")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: a device and its plan.

    `board` is None for `cpu`, this kind of machine, and for a card that is known by its compute `capability` only.
    """

    name: str
    plan: Plan
    board: Device | None = None
    capability: str = ""

    @property
    def precisions(self) -> tuple[str, ...]:
        """What can be had, best known first."""
        return tuple(p for p in PRECISIONS if not self.refusal(p))

    @property
    def artefacts(self) -> dict[str, tuple[str, ...]]:
        """The kinds that it gets, and in which of its precisions each."""
        kinds = dict.fromkeys(kind for p in self.precisions for kind in self.plan.artefacts[p])
        return {kind: tuple(p for p in self.precisions if kind in self.plan.artefacts[p]) for kind in kinds}

    def refusal(self, precision: str) -> str:
        """Why the device cannot have `precision`, "" when it can."""
        if precision == "bf16" and self.name != CPU:
            return "bf16 is what OpenVINO computes in on the processor where it was checked, -t cpu there"
        if precision not in self.plan.artefacts:
            return self.plan.why
        gpu = self.board.gpu if self.board else None
        if gpu is None or not NVIDIA & set(self.plan.artefacts[precision]):
            return ""
        path = {"fp16": gpu.fp16_path, "int8": gpu.int8_path}.get(precision, "cuda")
        if path == "none":
            return f"its GPU (compute capability {gpu.compute_capability}) has no instructions for {precision}"
        return ""

    @property
    def state(self) -> State:
        """One of the catalogue's STATES."""
        if self.board:
            return self.board.served_by.state
        return "built" if self.capability else "works"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": self.state,
            "engine": self.plan.engine,
            "on_request": [p for p in self.plan.on_request if p in self.precisions],
            "precisions": {p: list(self.plan.artefacts[p]) for p in self.precisions},
            "refused": {p: self.refusal(p) for p in PRECISIONS if p not in self.precisions},
            "opset": self.plan.opset or None,
            "here": self.plan.here,
            "there": self.plan.there,
        }


@dataclass(frozen=True, slots=True)
class Target:
    """A device in a precision that it can have; `only` is the one kind of artefact that was asked for, "" for all."""

    row: Row
    precision: str
    only: str = ""

    @property
    def name(self) -> str:
        """`cpu`, or the id of the board in the catalogue; its folder in the bundle is called so."""
        return self.row.name

    @property
    def artefacts(self) -> tuple[str, ...]:
        """The kinds that it gets."""
        return (self.only,) if self.only else self.row.plan.artefacts[self.precision]

    @property
    def compute_capability(self) -> str:
        """Of its GPU, such as "8.7"; "" where it has none."""
        gpu = self.row.board.gpu if self.row.board else None
        return gpu.compute_capability if gpu else self.row.capability


def rows() -> tuple[Row, ...]:
    """All devices: `cpu`, the catalogue in its order, then cards: `rtx-sm86` is any of compute capability 8.6."""
    cards = (Row(f"rtx-sm{c.replace('.', '')}", RTX, capability=c) for c in RTX_CAPABILITIES)
    return (Row(CPU, PLANS["cpu"]), *(_row(board) for board in catalog()), *cards)


def row(name: str) -> Row:
    """The row of `cpu`, a card, or a board by its id or alias. Raises UsageError for a name nobody knows."""
    wanted = name.strip().casefold()
    if found := next((one for one in rows() if one.board is None and one.name == wanted), None):
        return found
    if wanted.startswith("rtx"):
        cards = ", ".join(one.name for one in rows() if one.capability)
        boards = " or ".join(_of_capability(wanted.removeprefix("rtx-sm")))
        raise UsageError(
            f"-t {name}: a card is named by its compute capability (`helmsight doctor` on its machine, or NVIDIA's "
            f"list), and TensorRT-RTX builds ahead of time for {cards}" + (f"; use -t {boards}" if boards else "")
        )
    try:
        return _row(device(name))
    except UsageError as error:
        if "," in name:
            raise UsageError(f"-t {name}: expected one target; give -t once for each") from error
        raise UsageError(f"-t {name or repr(name)} is neither `cpu`, rtx-smNN nor a board: {error}") from error


def renamed(names: Sequence[str]) -> tuple[str, ...]:
    """A line for each of the names of targets that is an alias: which board it means."""
    boards = [name.partition("/")[0] for name in names]
    found = [(name, row(name).board) for name in dict.fromkeys(boards)]
    lines = (alias_in_words(name, board) for name, board in found if board)
    return tuple(f"-t {line}" for line in lines if line)


def check_targets(names: Sequence[str], precision: str) -> tuple[Target, ...]:
    """The targets of an export in `precision`; a name is that of a row, or BOARD/KIND for one of its artefacts.

    Raises UsageError for a name nobody knows, DeviceMismatch for one that cannot have it, with the nearest that can.
    """
    if not names:
        raise UsageError("no target; expected -t cpu (`helmsight export --list-targets` shows all)")
    found: dict[str, Target] = {}
    for name in names:
        board, _, kind = name.partition("/")
        target = _checked(row(board), precision, kind)
        if found.setdefault(target.name, target) != target:
            raise UsageError(f"-t {name}: {target.name} was asked for otherwise too; give it once")
    return tuple(found.values())


def _checked(found: Row, precision: str, kind: str) -> Target:
    if why := found.refusal(precision):
        raise DeviceMismatch(f"-t {found.name} --precision {precision}: {why}; {_nearest(found, precision)}")
    if found.state == "planned":
        assert found.board is not None
        served = found.board.served_by
        raise DeviceMismatch(
            f"-t {found.name}: this version does not build for it; it is to be served by {served.how}; "
            f"today: {served.today}"
        )
    kinds = found.plan.artefacts[precision]
    if kind and kind not in kinds:
        raise UsageError(f"-t {found.name}/{kind}: {found.name} gets {', '.join(kinds)}")
    return Target(found, precision, kind)


def _nearest(found: Row, precision: str) -> str:
    """The next step: the nearest precision that the board has, or the board nearest in time that has the one wished."""
    others = [r for r in rows() if r.board and found.board and r.board.family == found.board.family]
    able = next((r.name for r in others if precision in r.precisions and r.state != "planned"), "")
    lower = [p for p in found.precisions if PRECISIONS.index(p) < PRECISIONS.index(precision)]
    return f"use --precision {lower[-1]}" + (f", or -t {able}, which can" if able else "")


def _of_capability(digits: str) -> list[str]:
    """Boards whose GPU has the compute capability of `sm_DIGITS`."""
    return [b.id for b in catalog() if b.gpu and b.gpu.compute_capability.replace(".", "") == digits]


def _row(board: Device) -> Row:
    return Row(board.id, PLANS[board.served_by.key], board)
