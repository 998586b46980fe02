"""What the gates feed: real inputs from the checkpoint or from the user, and only for want of these generated ones."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import BadArtefact, HelmsightError, UsageError, need
from ..runtime.bundle import Manifest, TensorSpec
from ..runtime.tasks import task_for
from .loading import first_line, what_failed
from .source import Samples

Feeds = dict[str, NDArray[Any]]

COUNT = 32
"""How many runs the parity gate makes: at least."""
CALIBRATION = 128
"""How many more inputs the ranges of int8 are measured on, where there are so many."""

SEED = 0
"""Of the samples that are picked and the inputs that are generated."""

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclass(frozen=True, slots=True)
class Inputs:
    """Feeds for a network, one a run. `origin` says where they came from; `real` is False for generated ones."""

    feeds: tuple[Feeds, ...]
    origin: str
    real: bool

    def split(self) -> tuple[Inputs, tuple[Feeds, ...]]:
        """Those to compare on and those to calibrate on: the first 32 and the rest, or all for both if they are few."""
        if len(self.feeds) < 2 * COUNT:
            return self, self.feeds
        return replace(self, feeds=self.feeds[:COUNT]), self.feeds[COUNT:]


def gather_inputs(manifest: Manifest, samples: Samples | None, calibration: Path | None, count: int = COUNT) -> Inputs:
    """Inputs for the gates: `calibration` (a folder of pictures, or an .npz) before `samples` before generated ones.

    `count` is how many there are to be: at most of a folder's (with those below it), all of an .npz.
    """
    if calibration is not None and calibration.suffix == ".npz":
        return Inputs(_from_npz(manifest, calibration), f"calibration {calibration.name}", real=True)
    if calibration is not None:
        files = _picture_files(calibration)
        few = _some(files, count * int(_one_picture(manifest).shape[0]))
        part = f" ({len(few)} of its {len(files)} pictures)" if len(few) < len(files) else ""
        return Inputs(_pictures(manifest, few), f"calibration {calibration.name}{part}", real=True)
    if samples is not None:
        return Inputs(_from_samples(manifest, samples, count), "the checkpoint's samples", real=True)
    return Inputs(tuple(generate(manifest.inputs, SEED, count)), "generated, not real", real=False)


def generate(inputs: tuple[TensorSpec, ...], seed: int, count: int = COUNT) -> Iterator[Feeds]:
    """Noise of every spatial frequency for pictures, normal or small integer values for the rest."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield {spec.name: _noise(spec, rng) for spec in inputs}


def _noise(spec: TensorSpec, rng: np.random.Generator) -> NDArray[Any]:
    shape = tuple(int(d) for d in spec.shape)
    if spec.range is not None:
        low, high = spec.range
        coarse = rng.random([max(1, d // 8) if i else d for i, d in enumerate(shape)])
        for axis, size in enumerate(shape):
            coarse = np.take(coarse, np.arange(size) * coarse.shape[axis] // size, axis=axis)
        mixed = 0.7 * coarse + 0.3 * rng.random(shape)
        return np.asarray(low + mixed * (high - low)).astype(spec.dtype)
    if spec.dtype.startswith("float"):
        return rng.standard_normal(shape).astype(spec.dtype)
    return rng.integers(0, 2, shape).astype(spec.dtype)


def _from_samples(manifest: Manifest, samples: Samples, count: int) -> tuple[Feeds, ...]:
    spec = _one_picture(manifest)
    try:
        pictures = np.asarray(samples(count, SEED))
    except HelmsightError:
        raise
    except Exception as error:  # code that the checkpoint names
        raise BadArtefact(f"the checkpoint's samples failed with {what_failed(error)}; mend it there") from error
    if pictures.dtype != np.uint8 or pictures.shape[1:] != spec.shape[1:] or len(pictures) < count:
        raise BadArtefact(
            f"the checkpoint's samples gave {pictures.dtype} {pictures.shape}; expected uint8 ({count}, "
            f"{', '.join(str(d) for d in spec.shape[1:])})"
        )
    return tuple(_batched(spec, list(pictures[:, None])))


def _picture_files(folder: Path) -> list[Path]:
    """The pictures in `folder` and below it, by name."""
    if not folder.is_dir():
        raise UsageError(f"--calibration {folder} is neither a folder of pictures nor an .npz file")
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in PICTURES and f.is_file())
    if not files:
        raise UsageError(f"--calibration {folder} holds no pictures; expected files ending in {', '.join(PICTURES)}")
    return files


def _some(files: Sequence[Path], most: int) -> Sequence[Path]:
    """Some from everywhere, always the same and in no order: the first ones may all be of one scene, or one class."""
    if len(files) <= most:
        return files
    return [files[i] for i in np.random.default_rng(SEED).permutation(len(files))[:most]]


def _pictures(manifest: Manifest, files: Sequence[Path]) -> tuple[Feeds, ...]:
    """Pictures, prepared as the runtime prepares a camera's frames."""
    cv2 = need("cv2", "cpu")
    spec = _one_picture(manifest)
    # Tasks prepare one frame at a time; they are grouped into the network's batch below.
    task = task_for(replace(manifest, inputs=(replace(spec, shape=(1, *spec.shape[1:])),)))
    prepared = []
    for file in files:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            raise BadArtefact(f"{file} is no picture that OpenCV reads; take it out of the calibration folder")
        # A task may reuse its buffer on the next call, so the values are copied.
        prepared.append(np.array(task.prepare(image.astype(np.uint8, copy=False))[spec.name]))
        if prepared[-1].shape[1:] != spec.shape[1:]:
            raise UsageError(f"pictures become {prepared[-1].shape} for input {spec.name} {spec.shape}; use an .npz")
    return tuple(_batched(spec, prepared))


def _from_npz(manifest: Manifest, file: Path) -> tuple[Feeds, ...]:
    """Arrays by the inputs' names, each (n, ...) with the shape of one run's input after n."""
    try:
        # Opened here: numpy leaves a file open that turns out to be no archive.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays: Mapping[str, NDArray[Any]] = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise UsageError(f"--calibration {file} is not there; expected a folder of pictures or an .npz file") from error
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise BadArtefact(
            f"--calibration {file} cannot be read as .npz ({first_line(error)}); write it with numpy.savez"
        ) from error
    for spec in manifest.inputs:
        found = arrays.get(spec.name)
        if found is None:
            raise UsageError(f"--calibration {file} has {', '.join(arrays)}; expected an array for input {spec.name}")
        if found.dtype != spec.dtype or found.shape[1:] not in (spec.shape, spec.shape[1:]):
            raise UsageError(
                f"--calibration {file}: {spec.name} is {found.dtype} {found.shape}; expected {spec.dtype} "
                f"(n, {', '.join(str(d) for d in spec.shape)})"
            )
    columns = {spec.name: _runs(spec, arrays[spec.name]) for spec in manifest.inputs}
    n = min(len(c) for c in columns.values())
    if n == 0:
        raise UsageError(f"--calibration {file} holds no input; expected n of at least 1, better {COUNT}")
    return tuple({name: column[i] for name, column in columns.items()} for i in range(n))


def _runs(spec: TensorSpec, array: NDArray[Any]) -> list[NDArray[Any]]:
    """One array a run, whether `array` is (n, *shape), or (n, ...) without the batch of 1."""
    if array.shape[1:] == spec.shape:
        return list(array)
    return [feeds[spec.name] for feeds in _batched(spec, list(array[:, None]))]


def _batched(spec: TensorSpec, singles: list[NDArray[Any]]) -> list[Feeds]:
    """Group arrays of batch 1 into the network's batch; the last group starts over rather than stay short."""
    batch = int(spec.shape[0])
    groups = [singles[i : i + batch] for i in range(0, len(singles), batch)]
    return [
        {spec.name: np.concatenate([group[i % len(group)] for i in range(batch)]) if batch > 1 else group[0]}
        for group in groups
    ]


def _one_picture(manifest: Manifest) -> TensorSpec:
    if len(manifest.inputs) != 1 or not manifest.inputs[0].layout:
        shown = ", ".join(f"{s.name} {s.shape}" for s in manifest.inputs)
        raise UsageError(f"pictures cannot feed the inputs {shown}; give --calibration an .npz with an array for each")
    return manifest.inputs[0]
