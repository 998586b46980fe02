"""What a bundle says of itself (`describe`), and whether it still holds (`verify`). Needs neither torch nor onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import BadArtefact, HelmsightError, reason_of
from .backends import SessionOptions, load
from .bundle import Bundle, TensorSpec, open_bundle
from .engines.store import kept_engines
from .signature import check_signature

GENERIC = "generic"
"""How a network is called whose outputs helmsight does not decode; the manifest's task is "" then."""


@dataclass(frozen=True, slots=True)
class Description:
    """A bundle's manifest with its sizes on disk in bytes. `graph` is what export counted: parameters, macs, opset.

    `signed` says that a signature lies there, and nothing of what it is worth: `verify` checks it. `engines` are the
    records of those that `helmsight build` made of it on this machine, with what they really compute in.
    """

    name: str
    task: str
    path: str
    size_bytes: int
    manifest_sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    graph: Mapping[str, Any]
    metrics: Mapping[str, Any]
    parity: Mapping[str, Any]
    provenance: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    signed: bool
    engines: Sequence[Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Verification:
    """What held when a bundle was loaded and run once on generated inputs.

    `precision` is what was read back from the file at export, `unlisted` the files that the manifest does not name:
    nothing ever reads them. `signed_by` is "" where no key was given to check the signature with. Times are in
    milliseconds; `first_run_ms` is no measure of speed, `profile` is.
    """

    name: str
    path: str
    files: int
    manifest_sha256: str
    device: str
    precision: str
    load_ms: float
    first_run_ms: float
    unlisted: tuple[str, ...]
    signed_by: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe(name: str | Path) -> Description:
    """Open the bundle (its hashes are checked) and gather what it says. Raises BadArtefact."""
    bundle = open_bundle(name)
    manifest = bundle.manifest
    files = {
        relative: {"bytes": bundle.bytes_of[relative], "sha256": digest} for relative, digest in manifest.files.items()
    }
    return Description(
        name=manifest.name,
        task=manifest.task,
        path=str(bundle.path),
        size_bytes=sum(bundle.bytes_of.values()),
        manifest_sha256=bundle.manifest_sha256,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        graph=manifest.provenance.get("graph", {}),
        metrics=manifest.metrics,
        parity=manifest.parity,
        provenance=manifest.provenance,
        files=files,
        signed=bundle.read_signature() is not None,
        engines=kept_engines(bundle),
    )


def in_words(precision: str, record: Mapping[str, Any]) -> str:
    """A precision, and how many convolutions and matrix products are in it or in which (`weighted_ops`)."""
    counts = record.get("weighted_ops", {})
    if set(counts) == {precision}:
        n = counts[precision]
        return f"{precision} ({n} layer{'s' * (n != 1)})"
    return f"{precision} (layers: {', '.join(f'{n} {kind}' for kind, n in counts.items())})" if counts else precision


def inputs_in_words(n: int) -> str:
    """How many a comparison was made on."""
    return f"{n} input{'s' * (n != 1)}"


def bf16_in_words(record: Mapping[str, Any]) -> str:
    """What OpenVINO made of an fp32 file in bf16 where it was exported (`parity["cpu"]["bf16"]`)."""
    real = in_words(record["precision"], record)
    differs = f", largest difference {record['max_abs']:.2g} on {inputs_in_words(record['n'])}" if "n" in record else ""
    speed = record.get("speed")
    fast = (
        "; {times_as_fast:.2f} times as fast as fp32 in ONNX Runtime: {ms:.3g} ms, fp32 {fp32_ms:.3g} ms".format_map(
            speed
        )
        if speed
        else ""
    )
    where = f" on an {record['machine']} CPU" if "machine" in record else ""
    return f"--device openvino computes it in {real}{where}{differs}{fast}"


def verify(name: str | Path, options: SessionOptions | None = None, key: Path | None = None) -> Verification:
    """Check every hash and, against `key`, the signature; then load the network and run it once.

    Raises BadArtefact when a file was changed, does not load, or gives other outputs than the manifest states, or when
    the signature is not by `key` (see `check_signature`); MissingExtra and DeviceMismatch as `backends.load` does.
    """
    bundle = open_bundle(name)
    signed_by = check_signature(bundle, key) if key else ""
    started = perf_counter_ns()
    with load(bundle, options) as session:
        loaded = perf_counter_ns()
        _run_once(bundle, session.run, session.inputs)
        done = perf_counter_ns()
        device, precision = session.device, session.precision
    return Verification(
        name=bundle.manifest.name,
        path=str(bundle.path),
        files=len(bundle.manifest.files),
        manifest_sha256=bundle.manifest_sha256,
        device=device,
        precision=precision,
        load_ms=round((loaded - started) / 1e6, 3),
        first_run_ms=round((done - loaded) / 1e6, 3),
        unlisted=bundle.unlisted(),
        signed_by=signed_by,
    )


def _run_once(bundle: Bundle, run: Any, inputs: tuple[TensorSpec, ...]) -> None:
    rng = np.random.default_rng(0)
    try:
        outputs = run({spec.name: _noise(spec, rng) for spec in inputs})
    except HelmsightError:
        raise
    except Exception as error:  # engines raise classes of their own when the file is not what the manifest says
        raise BadArtefact(
            f"{bundle.model} does not run as its manifest says ({reason_of(error)}); export it again"
        ) from error
    for spec in bundle.manifest.outputs:
        values = outputs[spec.name]
        fits = len(values.shape) == len(spec.shape) and all(
            isinstance(stated, str) or stated == size for stated, size in zip(spec.shape, values.shape, strict=True)
        )
        if not fits or values.dtype != spec.dtype:
            raise BadArtefact(
                f"{bundle.model}: output {spec.name} is {values.dtype} {values.shape}, the manifest says {spec.dtype} "
                f"{spec.shape}; export it again"
            )
        if not np.isfinite(values.astype(np.float64)).all():
            raise BadArtefact(f"{bundle.model}: output {spec.name} has values that are not finite; export it again")


def _noise(spec: TensorSpec, rng: np.random.Generator) -> NDArray[Any]:
    """Evenly spread values in the input's range; a dimension that may vary is 1."""
    low, high = spec.range or (0.0, 1.0)
    shape = [d if isinstance(d, int) else 1 for d in spec.shape]
    values = rng.random(shape, np.float32)  # an input may have 1 GB, so no more than one copy of it
    values *= high - low
    values += low
    return values.astype(spec.dtype, copy=False)
