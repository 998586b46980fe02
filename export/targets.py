"""The one table of targets: which artefact each gets, and whether this version builds it.

`cpu` is built here. Boards come from the catalogue in `devices/`; what this version cannot serve yet is refused with
what it will be served by, never skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..devices.device import catalog, device
from ..devices.errors import DeviceMismatch, UsageError


@dataclass(frozen=True, slots=True)
class Target:
    """What a target gets: `artefact` is the file in the bundle that it runs, `backend` is in `runtime/backends`."""

    name: str
    artefact: str
    backend: str
    how: str
    built: bool
    today: str = ""


CPU = Target("cpu", "model.onnx", "onnxruntime", "ONNX Runtime on the CPU", built=True)


def targets() -> tuple[Target, ...]:
    """All targets: `cpu`, then the catalogue in its order."""
    return (CPU, *(_board(d.id) for d in catalog()))


def target(name: str) -> Target:
    """The target called `name` (or the alias of a board). Raises UsageError for a name nobody knows."""
    if name.strip().casefold() == CPU.name:
        return CPU
    try:
        return _board(name)
    except UsageError as error:
        raise UsageError(f"-t {name} is neither `cpu` nor a board: {error}") from error


def check_targets(names: Sequence[str]) -> tuple[Target, ...]:
    """The targets of an export. Raises DeviceMismatch for one that this version cannot build for."""
    if not names:
        raise UsageError("no target; expected -t cpu (`helmsight export --list-targets` shows all)")
    wanted = tuple(dict.fromkeys(target(name) for name in names))
    for one in wanted:
        if not one.built:
            raise DeviceMismatch(
                f"-t {one.name}: this version builds `cpu` only; it is to be served by {one.how}; today: {one.today}"
            )
    return wanted


def _board(name: str) -> Target:
    board = device(name)
    served = board.served_by
    built = served.state == "built"
    return Target(
        name=board.id,
        artefact=CPU.artefact if built else "",
        backend=CPU.backend if built else "",
        how=served.how,
        built=built,
        today=served.today,
    )
