"""A bundle as a source, to have it in another precision: nothing that its manifest says is lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..runtime.bundle import SHIPPED, open_bundle
from ..runtime.tasks import TASKS
from .checkpoint import named_callable
from .source import Source

CODE = {"samples": "helmsight.train.{task}.data:samples", "score": "helmsight.train.{task}.evaluate:score"}
"""Where the code of a task lies, for bundles whose manifest does not name it."""

CARRIED = ("training", "limits")
"""What is said of a network whatever it is exported to."""


def is_bundle(text: str) -> bool:
    """Whether `text` means a bundle: a folder of one, or the name of one that ships and no folder here."""
    path = Path(text)
    if path.is_dir():
        return (path / "manifest.json").is_file()
    return "/" not in text and (SHIPPED / f"{text.removesuffix('.bundle')}.bundle").is_dir()


def read_bundle(text: str) -> Source:
    """The bundle that `text` names. Raises BadArtefact when it is damaged or names code that it may not call."""
    bundle = open_bundle(text)
    manifest = bundle.manifest
    made_of = manifest.provenance.get("source", {})
    provenance = {
        "kind": "bundle",
        "model": manifest.name,
        "source_sha256": manifest.files["model.onnx"],
        "manifest_sha256": bundle.manifest_sha256,
        **{key: made_of[key] for key in CARRIED if key in made_of},
        "of": dict(manifest.provenance) | {"source": {k: v for k, v in made_of.items() if k not in CARRIED}},
    }
    names = {key: _code(made_of, manifest.task, key) for key in CODE}
    return Source(
        name=manifest.name,
        task=manifest.task,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        provenance=provenance | names,
        onnx=bundle.model,
        onnx_sha256=manifest.files["model.onnx"],
        decoding=manifest.decoding,
        metrics=manifest.metrics,
        samples=_called(names, "samples", bundle.path),
        score=_called(names, "score", bundle.path),
    )


def _code(made_of: Mapping[str, Any], task: str, key: str) -> str:
    """`module:callable` for `key`: as the manifest says, or by the task; "" for a network without one."""
    named = made_of.get(key)
    return str(named) if named else CODE[key].format(task=task) if task and task in TASKS else ""


def _called(names: Mapping[str, str], key: str, folder: Path) -> Callable[..., Any] | None:
    return named_callable(names, key, folder / "manifest.json")
