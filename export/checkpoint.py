"""A checkpoint, `runs/NAME/` with `model.safetensors` and `checkpoint.json`: where training and export meet.

`checkpoint.json` names code (`"model": "helmsight.train.face.model:build"`). A file that was copied from elsewhere must
not be able to call what it likes, so only training code of helmsight, and of the folder that the user stands in, is
ever imported for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..devices.errors import BadArtefact, HelmsightError
from ..runtime.bundle import TensorSpec, sha256
from .loading import build_module, import_callable, load_weights, source_sha256
from .source import Source

SCHEMA_VERSION = 1


def read_checkpoint(folder: Path) -> Source:
    """Build the network that `folder` describes, with its weights.

    Raises BadArtefact when a file is missing, broken, of a newer schema, or the weights do not fit.
    """
    file, weights = folder / "checkpoint.json", folder / "model.safetensors"
    data = _read_json(file)
    if not weights.is_file():
        raise BadArtefact(f"{weights} is missing; let the training end, or copy the whole folder")
    try:
        inputs, outputs = _tensors(data["inputs"]), _tensors(data["outputs"])
        name, task, model, config = data["name"], data["task"], data["model"], data["config"]
    except (KeyError, TypeError, ValueError) as error:
        raise BadArtefact(f"{file} is no checkpoint ({type(error).__name__}: {error}); train it again") from error
    _check_trusted(model, file)
    module = build_module(model, config)
    load_weights(module, weights)
    provenance = {
        "kind": "checkpoint",
        "model": model,
        "config": config,
        "source_sha256": source_sha256(model),
        "weights_sha256": sha256(weights),
        "checkpoint_sha256": sha256(file),
        "training": data.get("provenance", {}),
        "limits": data.get("limits", []),
    }
    return Source(
        name=str(name),
        task=str(task),
        inputs=inputs,
        outputs=outputs,
        provenance=provenance,
        module=module,
        decoding=data.get("decoding", {}),
        metrics=data.get("metrics", {}),
        samples=_named(data, "samples", file),
        score=_named(data, "score", file),
    )


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise BadArtefact(f"{file} is missing; expected a folder made by `helmsight train`")
    try:
        data = json.loads(file.read_text())
        version = data["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadArtefact(f"{file} is no checkpoint ({type(error).__name__}: {error}); train it again") from error
    if version != SCHEMA_VERSION:
        raise BadArtefact(
            f"{file} has schema_version {version}, this helmsight reads {SCHEMA_VERSION}; "
            "upgrade helmsight or train it again"
        )
    checked: dict[str, Any] = data
    return checked


def _tensors(items: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    specs = []
    for item in items:
        limits = item.get("range")
        specs.append(TensorSpec(**item | {"shape": tuple(item["shape"]), "range": tuple(limits) if limits else None}))
    return tuple(specs)


def _named(data: dict[str, Any], key: str, file: Path) -> Callable[..., Any] | None:
    """The callable that the checkpoint names under `key`; None when it names none."""
    text = data.get(key)
    if not text:
        return None
    _check_trusted(text, file)
    try:
        return import_callable(text)
    except HelmsightError as error:
        raise BadArtefact(f"{file} names {key} {text}: {error}") from error


def _check_trusted(text: object, file: Path) -> None:
    parts = str(text).partition(":")[0].split(".")
    local = Path(*parts)
    if parts[:2] == ["helmsight", "train"] or local.with_suffix(".py").is_file() or (local / "__init__.py").is_file():
        return
    raise BadArtefact(
        f"{file} names {text}, which is neither helmsight's training code nor a module of this folder, so it is not "
        "run; stand in the folder of that code, or export package.module:callable with --weights"
    )
