"""What a run leaves on disk: `last.pt` to go on from, `model.safetensors` and `checkpoint.json` for others.

Each file is replaced whole, so that a run killed at any moment leaves the old or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from .. import __version__
from ..devices.errors import BadArtefact, UsageError
from .problem import Options, Problem

SCHEMA_VERSION = 1
PACKAGES = ("torch", "numpy")
"""Whose versions a checkpoint names, beside Python's and ours."""


def replace_file(file: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `file`, then rename it over it once it is on the disk."""
    beside = file.with_name(f".{file.name}.new")
    write(beside)
    with beside.open("rb") as stream:
        os.fsync(stream.fileno())
    beside.replace(file)


def write_file(file: Path, content: bytes | str) -> None:
    """Replace `file` by this content, whole."""
    data = content.encode() if isinstance(content, str) else content
    replace_file(file, lambda beside: _write(beside, data))


def save_state(out: Path, state: dict[str, Any]) -> None:
    """Write `last.pt`."""
    replace_file(out / "last.pt", lambda file: torch.save(state, file))


def load_state(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What `last.pt` holds, or None when there is none.

    Raises UsageError when it was made with another `identity` (options, data), BadArtefact when it cannot be read.
    """
    state = _read_state(out)
    if state is not None:
        _compare(out, state["identity"], state["identity"].keys() | identity.keys(), identity)
    return state


def check_options(options: Options) -> None:
    """Raise as `load_state` does for other options than `last.pt` has, before data is made for nothing."""
    state = _read_state(options.out)
    if state is not None:
        identity = json.loads(json.dumps(options.identity()))
        _compare(options.out, state["identity"], identity.keys(), identity)


def _read_state(out: Path) -> dict[str, Any] | None:
    file = out / "last.pt"
    if not file.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        # An option that is newer than the file had its default.
        state["identity"] = Options(out).identity() | state["identity"]
    except Exception as error:  # torch raises many classes for a broken file
        reason = str(error).strip().splitlines()[0]
        raise BadArtefact(f"{file} cannot be read ({reason}); start over with --restart") from error
    return state


def _compare(out: Path, was: dict[str, Any], keys: Iterable[str], now: dict[str, Any]) -> None:
    differences = [f"{k} {was.get(k)} -> {now.get(k)}" for k in sorted(keys) if was.get(k) != now.get(k)]
    if differences:
        raise UsageError(
            f"{out / 'last.pt'} was made otherwise ({'; '.join(differences)}); say the same options to go on (some "
            "defaults depend on the CPU), another --out, or --restart to start over"
        )


def load_weights(model: nn.Module, file: Path) -> None:
    """Begin with the weights of an earlier run. Raises BadArtefact where they are none of this network."""
    try:
        model.load_state_dict(load_file(file))
    except Exception as error:  # safetensors and torch raise classes of their own
        reason = " ".join(str(error).split())[:200]
        raise BadArtefact(
            f"--init: {file} does not fit the network ({reason}); expected a run of the same task"
        ) from error


def open_folder(out: Path, restart: bool) -> None:
    """Make the folder; with `restart`, remove what an earlier run left there (other files stay)."""
    out.mkdir(parents=True, exist_ok=True)
    if not restart:
        return
    for name in ("last.pt", "model.safetensors", "checkpoint.json", "metrics.jsonl", "curves.png", "ensemble.json"):
        (out / name).unlink(missing_ok=True)
    for events in (out / "tensorboard").glob("events.out.tfevents.*"):
        events.unlink()


def identity(problem: Problem, options: Options, world: int) -> dict[str, Any]:
    """What makes two runs the same one, as plain JSON values."""
    record = problem.record()
    task = {"problem": problem.name, "config": record["config"], "data": record["data"], "processes": world}
    plain: dict[str, Any] = json.loads(json.dumps(options.identity() | task))
    return plain


def write_best(problem: Problem, options: Options, model: nn.Module, epoch: dict[str, Any]) -> None:
    """Write the weights and `checkpoint.json` of the best epoch so far; `epoch` is its line of metrics.jsonl."""
    weights = save({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()})
    record = problem.record()
    data, validation = record.pop("data"), record.pop("validation")
    checkpoint = {
        "schema_version": SCHEMA_VERSION,
        "name": options.out.name,
        "task": problem.task,
        **record,
        "metrics": {name: {"value": value, **validation} for name, value in _metrics(epoch).items()},
        "provenance": {
            "versions": {"python": platform.python_version(), "helmsight": __version__}
            | {p: version(p) for p in PACKAGES},
            "seed": options.seed,
            "options": options.identity(),
            "data": data,
            "epoch": epoch["epoch"],
            "steps": epoch["step"],
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
        },
    }
    write_file(options.out / "model.safetensors", weights)
    write_file(options.out / "checkpoint.json", json.dumps(checkpoint, indent=2) + "\n")


def _metrics(epoch: dict[str, Any]) -> dict[str, float]:
    """The validation metrics without `score`, which repeats one of them or is made of them."""
    scores: dict[str, float] = epoch["validation"]
    return {name: value for name, value in scores.items() if name != "score"} or scores


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)
