"""What SOURCE may be: a checkpoint, `package.module:callable`, an `.onnx` file or a bundle; each becomes a `Source`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..devices.errors import UsageError
from ..runtime.bundle import Manifest, TensorSpec, did_you_mean, sha256
from ..runtime.inspection import GENERIC
from ..runtime.parity import Run
from .input_spec import parse_inputs
from .loading import build_module, load_weights, source_sha256

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

Samples = Callable[[int, int], NDArray[Any]]
"""samples(n, seed) -> real inputs, (n, H, W, 3) uint8 BGR."""

Score = Callable[[Run, Manifest], Mapping[str, Mapping[str, Any]]]
"""score(run, manifest) -> {metric: {"value", "data", "n"}}; `"better"` may say `higher` or `lower`."""


@dataclass(frozen=True, slots=True)
class Source:
    """A network to export, however it was given: it has a `module` or an `onnx` file, never both.

    `outputs` is empty where only running the network tells them. `provenance` says where it came from. `onnx_sha256`
    is what the file must have when it is read, and then no file beside it is; "" where nobody stated it.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    provenance: Mapping[str, Any]
    module: nn.Module | None = None
    onnx: Path | None = None
    onnx_sha256: str = ""
    task: str = ""
    outputs: tuple[TensorSpec, ...] = ()
    decoding: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    samples: Samples | None = None
    score: Score | None = None


def load_source(text: str, weights: Path | None = None, inputs: Sequence[str] = ()) -> Source:
    """Read what `text` means.

    Raises UsageError for what cannot be meant, BadArtefact for a broken file, MissingExtra without the `train` extra.
    """
    path = Path(text)
    from .bundle_source import is_bundle, read_bundle

    if is_bundle(text):
        _refuse(text, "a bundle", {"--weights": weights, "--input": inputs})
        return read_bundle(text)
    if path.is_dir():
        _refuse(text, "a checkpoint", {"--weights": weights, "--input": inputs})
        from .checkpoint import read_checkpoint

        return read_checkpoint(path)
    if path.suffix == ".onnx":
        _refuse(text, "an ONNX file", {"--weights": weights})
        from .onnx_file import read_onnx

        return read_onnx(path, inputs)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", text):
        return _from_callable(text, weights, inputs)
    raise UsageError(
        f"SOURCE {text} is nothing that exports{_meant(path)}; {did_you_mean(text)}expected a checkpoint folder "
        "(runs/NAME), package.module:callable, an .onnx file, or a bundle"
    )


def _meant(path: Path) -> str:
    """What somebody may have meant who gave this, to be put behind a message."""
    if path.suffix in (".safetensors", ".pt", ".pth"):
        return f": weights alone are no network; name what builds it and add --weights {path}"
    if path.suffix == ".py":
        return f": a module goes without .py and with what builds the network, as in {path.stem}:build"
    new = re.match(r"runs/\w", str(path)) and not path.exists()
    return "; no such folder yet: helmsight train makes it" if new else ""


def check_task(network: Source, wanted: str) -> None:
    """Raises UsageError for a `wanted` task that is not the network's own; "" is whichever it has."""
    own = network.task or GENERIC
    if wanted in ("", own):
        return
    why = (
        "its outputs are decoded by what it was trained for"
        if network.task
        else "only what helmsight trained is decoded"
    )
    raise UsageError(f"--task {wanted}: the task of {network.name} is {own}, since {why}; use --task {own}")


def _from_callable(text: str, weights: Path | None, inputs: Sequence[str]) -> Source:
    if not inputs:
        raise UsageError(f"{text} says nothing about its input; add --input, e.g. --input 1x3x224x224")
    specs = parse_inputs(inputs)
    module = build_module(text)
    if weights is not None:
        load_weights(module, weights)
    elif module.state_dict():
        log.warning("no --weights: the weights are those that %s gives itself, random ones unless it loads some", text)
    provenance = {
        "kind": "callable",
        "model": text,
        "source_sha256": source_sha256(text),
        "weights_sha256": sha256(weights) if weights else "",
        "weights": weights.name if weights else f"as {text} gives them",
    }
    name = text.rpartition(".")[2].partition(":")[0]
    return Source(name=name, inputs=specs, provenance=provenance, module=module)


def _refuse(text: str, kind: str, given: Mapping[str, object]) -> None:
    for option, value in given.items():
        if value:
            raise UsageError(f"{option} does not go with {text}, which is {kind} and has its own; leave it out")
