"""A checkpoint, `runs/NAME/` with `model.safetensors` and `checkpoint.json`: where training and export meet.

`checkpoint.json` names code (`"model": "helmsight.train.face.model:build"`). A file that was copied from elsewhere must
not be able to call what it likes, so only functions and classes are ever called for it that helmsight's training code,
or a module of the folder that the user stands in, defines itself; what such a module imported is not.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..devices.errors import BadArtefact, HelmsightError
from ..runtime.bundle import TensorSpec, sha256
from .loading import build_module, import_callable, load_weights, source_sha256
from .source import Source

SCHEMA_VERSION = 1


def read_checkpoint(folder: Path) -> Source:
    """Build the network that `folder` describes, with its weights.

    Raises BadArtefact when a file is missing, broken, of a newer schema, or names code that it may not call, and when
    the weights do not fit or are not those that it was written with.
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
    weights_sha256 = sha256(weights)
    _check_same_epoch(data, weights_sha256, folder)
    _trusted(model, "model", file)
    module = build_module(model, config)
    load_weights(module, weights)
    provenance = {
        "kind": "checkpoint",
        "model": model,
        "config": config,
        "source_sha256": source_sha256(model),
        "weights_sha256": weights_sha256,
        "checkpoint_sha256": sha256(file),
        "training": data.get("provenance", {}),
        "limits": data.get("limits", []),
        **{key: data[key] for key in ("samples", "score") if data.get(key)},
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
        samples=named_callable(data, "samples", file),
        score=named_callable(data, "score", file),
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


def _check_same_epoch(data: dict[str, Any], weights_sha256: str, folder: Path) -> None:
    """Refuse weights of another epoch than the metrics, as a copy made while training went on has them."""
    provenance = data.get("provenance") or {}
    expected = provenance.get("weights_sha256") if isinstance(provenance, dict) else None
    if expected and expected != weights_sha256:
        raise BadArtefact(
            f"{folder}: model.safetensors has SHA-256 {weights_sha256[:12]}..., checkpoint.json was written with "
            f"{str(expected)[:12]}...; copy the folder again when no training writes into it"
        )


def named_callable(data: Mapping[str, Any], key: str, file: Path) -> Callable[..., Any] | None:
    """The callable that `file` names under `key`; None when it names none. Raises BadArtefact where it may not."""
    text = data.get(key)
    return _trusted(text, key, file) if text else None


def _trusted(text: object, key: str, file: Path) -> Callable[..., Any]:
    """What `text` names, once it is sure that the checkpoint may have it called. Raises BadArtefact."""
    module, _, name = str(text).partition(":")
    parts = module.split(".")
    local = Path(*parts)
    if not (
        parts[:2] == ["helmsight", "train"] or local.with_suffix(".py").is_file() or (local / "__init__.py").is_file()
    ):
        raise BadArtefact(
            f"{file} names {key} {text}, which is neither helmsight's training code nor a module of this folder, so it "
            "is not run; stand in the folder of that code, or export package.module:callable with --weights"
        )
    # A dotted name, or one that the module imported, would lead to any code: `...train.checkpoint:os.system`.
    if "." in name or name.startswith("_"):
        raise BadArtefact(f"{file} names {key} {text}, so it is not run; expected one public name after the colon")
    try:
        found = import_callable(str(text))
    except HelmsightError as error:
        raise BadArtefact(f"{file} names {key} {text}: {error}") from error
    if not (inspect.isfunction(found) or inspect.isclass(found)) or found.__module__ != module:
        raise BadArtefact(
            f"{file} names {key} {text}, which is no function or class that {module} itself defines, so it is not run; "
            "name the module that defines it"
        )
    return found
