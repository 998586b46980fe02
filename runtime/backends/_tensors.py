"""Whether what an engine found in a file is what the manifest says of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ...devices.errors import BadArtefact
from ..bundle import Bundle, TensorSpec
from . import Feeds, Outputs


@dataclass(frozen=True, slots=True)
class Found:
    """A tensor as an engine has it: `dtype` is numpy's name; a dimension that is no int may be any."""

    name: str
    dtype: str
    shape: tuple[object, ...]


def fits(stated: Sequence[object], found: Sequence[object]) -> bool:
    """Whether two shapes may be of the same tensor: a dimension that is no number may be any."""
    return len(stated) == len(found) and all(
        a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in zip(stated, found, strict=True)
    )


def check_tensors(bundle: Bundle, inputs: Iterable[Found], outputs: Iterable[Found]) -> tuple[TensorSpec, ...]:
    """The outputs of the manifest with the shapes that they really have, once the graph takes and gives what it says.

    Outputs in the manifest are those of the usual size; at another one shapes are the graph's own. Raises BadArtefact
    with both.
    """
    manifest, model = bundle.manifest, f"{bundle.model} does not run as its manifest says"
    found = {"input": {one.name: one for one in inputs}, "output": {one.name: one for one in outputs}}
    if unnamed := found["input"].keys() - {spec.name for spec in manifest.inputs}:
        raise BadArtefact(f"{model}: it also needs input {', '.join(sorted(unnamed))}; export it again")
    if not manifest.outputs:
        raise BadArtefact(f"{model}: the manifest names no output; export it again")
    for kind, specs in (("input", manifest.inputs), ("output", manifest.outputs)):
        for spec in specs:
            there = found[kind].get(spec.name)
            if there is None:
                raise BadArtefact(
                    f"{model}: it has no {kind} {spec.name}, only {', '.join(found[kind])}; export it again"
                )
            same = fits(spec.shape, there.shape) or (kind == "output" and bundle.resizable)
            if there.dtype != spec.dtype or not same:
                raise BadArtefact(
                    f"{model}: {kind} {spec.name} is {there.dtype} {there.shape}, the manifest says {spec.dtype} "
                    f"{spec.shape}; export it again"
                )
    if not bundle.resizable:
        return manifest.outputs
    return tuple(
        replace(spec, shape=tuple(d if isinstance(d, int) else str(d) for d in found["output"][spec.name].shape))
        for spec in manifest.outputs
    )


def check_feeds(bundle: Bundle, inputs: Sequence[TensorSpec], feeds: Feeds) -> None:
    """For engines that would take another type, or the last run's array, in silence. Raises BadArtefact with both."""
    for spec in inputs:
        fed = feeds.get(spec.name)
        if fed is None:
            raise ValueError(f"no feed for input {spec.name}")
        if str(fed.dtype) != spec.dtype or not fits(spec.shape, fed.shape):
            raise BadArtefact(
                f"{bundle.path} does not run as its manifest says: input {spec.name} was fed {fed.dtype} {fed.shape}, "
                f"expected {spec.dtype} {spec.shape}; export it again"
            )


def check_shapes(bundle: Bundle, outputs: Sequence[TensorSpec], made: Outputs) -> None:
    """What a run gave has the shapes that were stated. Raises BadArtefact with both."""
    for spec in outputs:
        if not fits(spec.shape, made[spec.name].shape):
            raise BadArtefact(
                f"{bundle.path} does not run as its manifest says: output {spec.name} is {made[spec.name].shape}, "
                f"expected {spec.shape}; export it again"
            )
