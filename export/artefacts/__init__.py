"""Artefacts: what a target runs, made of a bundle that passed the gates. One module a kind, the same small surface.

A kind is a module with `make(order) -> record`. To add one, write `NAME.py` beside `trtexec.py`, name it in `KINDS`,
and say in `../targets.py` which boards get it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from ...devices.errors import BadArtefact, HelmsightError
from ...runtime.bundle import Bundle
from ...runtime.engines import tensorrt_rtx as find_tensorrt_rtx  # a module beside this one has its name
from ...runtime.onnx_nodes import read_graph
from ...runtime.parity import Run, Tolerance, check_parity, plain_onnx_run
from ..inputs import Feeds
from ..native import find_tools
from ..ncnn_model import find_pnnx
from ..targets import CPU, Target

KINDS = {
    "ncnn": "ncnn",
    "onnxruntime": "onnxruntime",
    "tensorrt": "tensorrt",
    "tensorrt-rtx": "tensorrt_rtx",
    "trtexec": "trtexec",
}
"""The kinds that `targets.py` may ask for, and the module beside this one that makes each."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made.

    `draft` is a bundle that passed the gates: `draft.model` is the ONNX file in the precision that was asked for,
    `draft.manifest` all that is known of it. `folder` is there and belongs to the target: what is written into it
    becomes `NAME.bundle/targets/TARGET/`, listed in the manifest with its SHA-256. Where a target gets several kinds
    they share it, so that a file is named after its kind. `feeds` are inputs to compare on (real ones first),
    `tolerance` is how far outputs may be off in this precision. `say` takes a line of progress. `score` gives the
    task's scores of what runs, beside those of the source, and raises GateFailed for a worse one; None without any.
    """

    draft: Bundle
    target: Target
    folder: Path
    feeds: Sequence[Feeds]
    tolerance: Tolerance
    say: Callable[[str], None]
    score: Callable[[Run], Mapping[str, Any]] | None = None


class Kind(Protocol):
    """A module that makes one kind of artefact."""

    def make(self, order: Order) -> Mapping[str, Any]:
        """Write the files and return the record, plain JSON that becomes `parity[target]["artefacts"][kind]`.

        Expected in it: `precision` (what was read back, not what was asked for), `versions` (of what made it), `run`
        (the command for the board, from within the folder), and `max_abs`, `max_rel`, `n` where outputs were compared
        (`same_network`).
        Raises DeviceMismatch for what this target cannot run, BadArtefact with the node's name for what the engine's
        parser does not take, GateFailed where outputs differ, MissingExtra for a tool that is not here. Nothing has to
        be cleaned up: when it raises, the whole export leaves nothing.
        """
        ...


def check_tools(target: Target) -> None:
    """Raises MissingExtra, before any work, where what makes an artefact of the target is not here."""
    for kind in target.artefacts:
        with _told(target, kind):
            if kind == "ncnn":
                find_tools()
                find_pnnx()
            elif kind == "tensorrt-rtx":
                find_tensorrt_rtx()


def make_for(
    targets: Sequence[Target], work: Path, order_for: Callable[[Target, Path], Order]
) -> tuple[dict[str, Any], dict[str, Path | bytes]]:
    """{target: its record} and {path in the bundle: file} of what each target gets; `cpu` runs the bundle's own file.

    `order_for` gives the order of a target whose files go into that folder, which is below `work`.
    """
    parity, files = dict[str, Any](), dict[str, Path | bytes]()
    for target in targets:
        if target.name == CPU:
            continue
        folder = work / "targets" / target.name
        folder.mkdir(parents=True)
        order = order_for(target, folder)
        order.say(f"making what {target.name} needs: {', '.join(target.artefacts)}")
        parity[target.name] = make_all(order)
        files |= {str(file.relative_to(work)): file for file in folder.rglob("*") if file.is_file()}
    return parity, files


def same_network(order: Order, run: Run) -> dict[str, Any]:
    """What the record says of an ONNX file, which `run` runs, beside the bundle's: how far it is off, and its score.

    Where its outputs are the bundle's to the last bit the score is the bundle's; else it is measured of this file.
    Raises GateFailed when an output differs by more than the precision may lose, or the score is worse.
    """
    manifest = order.draft.manifest
    parity = check_parity(plain_onnx_run(order.draft.model, manifest.outputs), run, order.feeds, order.tolerance)
    record = parity.to_json() | {"reference": "the bundle's model.onnx in ONNX Runtime with its optimisations off"}
    if parity.max_abs == 0 and (score := manifest.parity.get("cpu", {}).get("score")):
        record |= {"score": score, "scored": "model.onnx, whose outputs it gives exactly"}
    elif order.score is not None:
        record |= {"score": order.score(run), "scored": "this file"}
    return record


def make_all(order: Order) -> dict[str, Any]:
    """`parity[target]` of the bundle, with all kinds that the target gets: {"precision", "artefacts": {kind: record}}.

    What a kind raises says in front for which target, and at the end how to do without it.
    """
    records = {}
    for kind in order.target.artefacts:
        with _told(order.target, kind):
            records[kind] = make(kind, order)
    found = {str(record["precision"]) for record in records.values()}
    return {"precision": found.pop() if len(found) == 1 else "mixed", "artefacts": records}


@contextmanager
def _told(target: Target, kind: str) -> Iterator[None]:
    try:
        yield
    except HelmsightError as error:
        others = [k for k in target.artefacts if k != kind]
        without = "".join(f"; -t {target.name}/{other} does without" for other in others)
        raise type(error)(f"-t {target.name}: {error}{without}") from error


def make(kind: str, order: Order) -> Mapping[str, Any]:
    """The record of the artefact `kind`, whose files are then in `order.folder`.

    Raises what a `Kind` does; of nodes that a message names it says where in the network they are.
    """
    module = cast(Kind, import_module(f".{KINDS[kind]}", __package__))
    try:
        return module.make(order)
    except BadArtefact as error:
        graph = read_graph(order.draft.read_model(), str(order.draft.model))
        raise BadArtefact(f"{error}{graph.places(str(error))}") from error
