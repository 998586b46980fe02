"""The manifest: what a bundle says of itself, and what must hold of it before anything relies on it.

Nothing here reads a file; `bundle.py` does, and checks the files' hashes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite, prod
from pathlib import PurePosixPath
from typing import Any

from ..devices.errors import BadArtefact, HelmsightError, UsageError, reason_of
from .json_form import NUMBER, OBJECT, Each, Fields, Rows, check_form
from .limits import FILES, PATH, RANK, TENSOR_BYTES, TENSORS
from .strict_json import parse_json

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
SIGNATURE = "model.sig"
"""The signature's file; the manifest does not list it, since it is made of the manifest."""
SIZE_NAMES = ("height", "width")
"""What an ONNX file calls the two dimensions of its picture that it leaves open."""
LARGEST_SIDE = 4096
"""Pixels of a side that a network may be asked for: beyond it, one run takes gigabytes."""
DTYPE_BYTES = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2,
    "int32": 4, "uint32": 4, "float32": 4, "int64": 8, "uint64": 8, "float64": 8,
}  # fmt: skip
"""Types of inputs and outputs, as numpy calls them, and the size of one number."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    `shape` has an int, or a str for a dimension that may vary. `dtype` is numpy's name. `layout` is `NHWC`, `NCHW`
    or "" for what is no picture; `colour` is `BGR`, `RGB`, `GREY` or ""; `range` is the (low, high) of its values.
    A picture of `multiple` 0 has just this size; else its height and width, of which `shape` has the usual ones, may
    be other multiples of it (see `Bundle.resized`).
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    layout: str = ""
    colour: str = ""
    range: tuple[float, float] | None = None
    multiple: int = 0

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels of a picture input."""
        if self.layout not in ("NHWC", "NCHW"):
            raise BadArtefact(f"input {self.name} has layout {self.layout!r}; expected NHWC or NCHW for a picture")
        at = self.layout.index("H")
        height, width = self.shape[at], self.shape[at + 1]
        if not (isinstance(height, int) and isinstance(width, int)):
            raise BadArtefact(f"input {self.name} has a varying size {self.shape}; expected a fixed height and width")
        return height, width

    def resized(self, image_hw: tuple[int, int]) -> TensorSpec:
        """This picture at another height and width in pixels. Raises UsageError that names the nearest it may have."""
        wish = f"--imgsz {image_hw[1]}x{image_hw[0]}"
        if not self.multiple:
            if self.layout and image_hw == self.image_hw:
                return self
            shape = "x".join(str(d) for d in self.shape)
            raise UsageError(f"{wish}: input {self.name} takes {shape} and nothing else; leave --imgsz out")
        height, width = self.image_hw
        near = [self._nearest(side, usual) for side, usual in zip(image_hw, (height, width), strict=True)]
        if near != list(image_hw):
            raise UsageError(
                f"{wish}: input {self.name} takes {width}x{height}, or sides that are multiples of {self.multiple} up "
                f"to {LARGEST_SIDE}; the nearest is --imgsz {near[1]}x{near[0]}"
            )
        at = self.layout.index("H")
        return replace(self, shape=(*self.shape[:at], *image_hw, *self.shape[at + 2 :]))

    def _nearest(self, side: int, usual: int) -> int:
        """The side nearest to `side` that this picture may have."""
        if side == usual:
            return side
        return min(max(1, round(side / self.multiple)), LARGEST_SIDE // self.multiple) * self.multiple


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself. Free-form parts hold plain JSON values.

    `task` is a name in `runtime/tasks` or "" for a model whose outputs helmsight does not decode. `decoding` has the
    constants of its decoder. `metrics` maps a metric to {"value", "data", "n"}. `parity` maps a target to
    {"max_abs", "max_rel", "n", "precision", "real": {...}}, and for fp16 and int8 "computed", "speed" and "repair", for
    int8 "optimisation" (ONNX Runtime's level), for bf16 "bf16", the same of OpenVINO.
    `provenance` says what made it. `files` maps a relative path to its SHA-256.
    """

    name: str
    task: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    decoding: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def for_bf16(self) -> bool:
        """Whether it was exported for bf16 on a processor, and passed its gates so."""
        return "bf16" in self.parity.get("cpu", {})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def parse_manifest(data: bytes, name: str) -> Manifest:
    """The manifest in `data`; `name` says in messages which file it is.

    Raises BadArtefact for what is no manifest, of another schema, beyond `limits`, or names files outside the bundle.
    """
    record = parse_json(data, name)
    try:
        check_form(record, Fields({"schema_version": int}), "it")
        version = record["schema_version"]
        if version != SCHEMA_VERSION:
            raise BadArtefact(
                f"{name} has schema_version {version}, this helmsight reads {SCHEMA_VERSION}; "
                "upgrade helmsight or export the bundle again"
            )
        check_form(record, _MANIFEST, "it")
        _check_parity(record.get("parity", {}))
        _check_files(record["files"], name)
        inputs, outputs = (tuple(_tensor(one) for one in record[key]) for key in ("inputs", "outputs"))
        for kind, specs in (("inputs", inputs), ("outputs", outputs)):
            if len({spec.name for spec in specs}) < len(specs):
                raise ValueError(f"two {kind} have one name")
        return Manifest(**record | {"inputs": inputs, "outputs": outputs})
    except HelmsightError:
        raise
    except (ValueError, TypeError) as error:  # TypeError: a key that no manifest has
        raise BadArtefact(f"{name} is no manifest ({reason_of(error)}); export the bundle again") from error


def _tensor(data: dict[str, Any]) -> TensorSpec:
    if (limits := data.get("range")) is not None:
        check_form(limits, Rows(NUMBER, 2, 2), "range")
    spec = TensorSpec(**data | {"shape": tuple(data["shape"]), "range": tuple(limits) if limits is not None else None})
    if not 0 < len(spec.name) <= PATH:
        raise ValueError(f"a tensor's name has {len(spec.name)} characters; expected 1 to {PATH}")
    if spec.dtype not in DTYPE_BYTES:
        raise ValueError(f"tensor {spec.name} is {spec.dtype[:20]!r}; expected one of {', '.join(DTYPE_BYTES)}")
    if any(isinstance(side, str) and not 0 < len(side) <= PATH for side in spec.shape):
        raise ValueError(f"tensor {spec.name} has a dimension without a name, or with one of over {PATH} characters")
    sides = [side for side in spec.shape if isinstance(side, int)]
    if any(side < 1 for side in sides):
        raise ValueError(f"tensor {spec.name} has shape {spec.shape}; expected sides of 1 or more")
    size = DTYPE_BYTES[spec.dtype] * prod(sides)
    if size > TENSOR_BYTES:
        raise ValueError(f"tensor {spec.name} has shape {spec.shape}, {size} bytes; at most {TENSOR_BYTES} are allowed")
    if spec.range is not None and not (spec.range[0] < spec.range[1] and isfinite(spec.range[1] - spec.range[0])):
        raise ValueError(f"tensor {spec.name} has the range {spec.range}; expected a lower and a higher number")
    _check_picture(spec)
    return spec


def _check_picture(spec: TensorSpec) -> None:
    if spec.layout not in ("", "NHWC", "NCHW") or spec.colour not in ("", "BGR", "RGB", "GREY"):
        raise ValueError(
            f"tensor {spec.name} has layout {spec.layout[:20]!r} and colour {spec.colour[:20]!r}; expected NHWC, NCHW "
            "or none, and BGR, RGB, GREY or none"
        )
    if spec.layout and len(spec.shape) != 4:
        raise ValueError(f"tensor {spec.name} has layout {spec.layout} and shape {spec.shape}; expected 4 dimensions")
    if not 0 <= spec.multiple <= LARGEST_SIDE:
        raise ValueError(f"multiple is {spec.multiple}, expected 0 or more, up to {LARGEST_SIDE}")
    at = spec.layout.index("H") if spec.layout else 0
    if spec.multiple and not (spec.layout and all(isinstance(side, int) for side in spec.shape[at : at + 2])):
        raise ValueError(f"tensor {spec.name} has a multiple and is no picture of a usual height and width")


def _check_files(files: Mapping[str, str], name: str) -> None:
    """Paths that stay in the folder, each written in one way only, and whole hashes."""
    if len(files) > FILES:
        raise ValueError(f"it lists {len(files)} files; at most {FILES} are allowed")
    for relative, digest in files.items():
        path = PurePosixPath(relative)
        if path.is_absolute() or ".." in path.parts:
            raise BadArtefact(f"{name} names {relative!r}, which lies outside the bundle; do not use it")
        if str(path) != relative or relative in (".", MANIFEST, SIGNATURE) or "\\" in relative or "\n" in relative:
            raise ValueError(f"files names {relative[:PATH]!r}; expected a plain path such as targets/cpu/model.bin")
        if len(relative.encode()) > PATH:
            raise ValueError(f"files names a path of {len(relative.encode())} bytes; at most {PATH} are allowed")
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError(f"files.{relative} is {digest[:70]!r}; expected a SHA-256, 64 hexadecimal digits")


def _check_parity(parity: Mapping[str, Any]) -> None:
    """What was compared has figures."""
    for target, record in parity.items():
        if "n" in record:
            check_form(record, Fields({"precision": str, "max_abs": NUMBER, "max_rel": NUMBER}), f"parity.{target}")
        for kind, one in record.get("artefacts", {}).items():
            if "n" in one:
                check_form(one, Fields({"max_abs": NUMBER}), f"parity.{target}.artefacts.{kind}")


_TENSOR = Fields(
    {"name": str, "shape": Rows((int, str), most=RANK), "dtype": str},
    {"layout": str, "colour": str, "range": (list, type(None)), "multiple": int},
)
_REAL = Fields(known={"weighted_ops": Each(int), "initialisers": Each(int)})
_SCORE = Each(Fields({"fp32": NUMBER, "exported": NUMBER}))
_ARTEFACT = Fields({"precision": str}, {"real": _REAL, "max_abs": NUMBER, "n": int, "run": str, "score": _SCORE})
_SPEED = Fields({"times_as_fast": NUMBER, "ms": NUMBER, "fp32_ms": NUMBER})
_BF16 = Fields(
    {"precision": str},
    {
        "machine": str,
        "weighted_ops": Each(int),
        "max_abs": NUMBER,
        "n": int,
        "speed": _SPEED,
        "score": _SCORE,
    },
)
_PARITY = Fields(
    known={
        "precision": str,
        "real": _REAL,
        "n": int,
        "max_abs": NUMBER,
        "max_rel": NUMBER,
        "reference": str,
        "inputs": str,
        "score": _SCORE,
        "bf16": _BF16,
        "optimisation": str,
        "computed": Fields({"precision": str, "machine": str}, {"weighted_ops": Each(int)}),
        "speed": _SPEED,
        "repair": Fields({"layers": int, "kept": Rows(Fields({"layer": str}))}),
        "artefacts": Each(_ARTEFACT),
    }
)
_GRAPH = Fields({"parameters": int, "nodes": int, "opset": int}, {"macs": (int, float, type(None))})
_SOURCE = Fields(known={"training": OBJECT, "limits": Rows(str), "samples": str, "score": str})
_MANIFEST = Fields(
    {
        "name": str,
        "task": str,
        "inputs": Rows(_TENSOR, most=TENSORS),
        "outputs": Rows(_TENSOR, most=TENSORS),
        "files": Each(str),
    },
    {
        "decoding": OBJECT,
        "metrics": Each(OBJECT),
        "parity": Each(_PARITY),
        "provenance": Fields(known={"graph": _GRAPH, "versions": Each(str), "source": _SOURCE}),
    },
)
