"""An ONNX file's outline, read without building anything of it: before a parser in native code gets the file.

The file is a protobuf message; the numbers of its fields are those of ONNX's onnx.proto. Only what bounds memory, or
leads to other files, is looked at: dimensions, how deep graphs lie within each other, and tensors stored elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..devices.errors import BadArtefact
from .limits import MODEL_BYTES, MODEL_VALUES, ONNX_DEPTH
from .protobuf import BYTES, VARINT, Walk, entry, fields, numbers, signed, text

_ONNX_MESSAGES: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute", 12: "Value"},
    "Graph": {1: "Node", 5: "Tensor", 11: "Value", 12: "Value", 13: "Value", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        14: "Type",
        15: "Type",
        22: "Sparse",
        23: "Sparse",
    },
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Value": {2: "Type"},
    "Type": {1: "TensorType", 4: "Element", 5: "Map", 8: "TensorType", 9: "Element"},
    "Element": {1: "Type"},
    "Map": {2: "Type"},
    "TensorType": {2: "Shape"},
    "Shape": {1: "Dimension"},
}
"""The messages that lie within each message, by the number of their field; all others are passed over."""

_ONCE = {
    "Model": {7},
    "Training": {1, 2},
    "Attribute": {5, 6, 14, 22},
    "Sparse": {1, 2},
    "Value": {2},
    "Type": {1, 4, 5, 8, 9},
    "Element": {1},
    "Map": {2},
    "TensorType": {2},
}
"""Those of them that are there at most once: protobuf joins a second one to the first, so that what is bounded apart
would be larger together."""


@dataclass(frozen=True, slots=True)
class External:
    """A tensor whose numbers lie in another file, `location`."""

    tensor: str
    location: str


@dataclass(slots=True)
class _Bounds(Walk):
    """`bits` bounds what the file itself can store."""

    bits: int = 0
    external: list[External] = field(default_factory=list)


def check_onnx(data: bytes, name: str) -> tuple[External, ...]:
    """The tensors of the ONNX file `data` that lie in other files; `name` says in messages which file it is.

    Raises BadArtefact, with the value and the limit, for what is no ONNX file or is cut off, is too large or too deeply
    nested, or declares negative dimensions or tensors larger than its file or any machine's memory.
    """
    if len(data) > MODEL_BYTES:
        raise BadArtefact(f"{name} has {len(data)} bytes; at most {MODEL_BYTES} are read, as protobuf allows no more")
    walk = _Bounds(name, bits=8 * len(data))
    view = memoryview(data)
    if not any(one.number == 7 and one.wire == BYTES for one in fields(view, walk)):
        raise BadArtefact(f"{name} is no ONNX model or is cut off (it has no graph); export or copy it again")
    _message("Model", view, walk, 0)
    return tuple(walk.external)


def refuse_external(data: bytes, name: str) -> None:
    """`check_onnx` for a file that must be whole: BadArtefact also where a tensor lies in another file."""
    for one in check_onnx(data, name):
        raise BadArtefact(
            f"{name}: tensor {one.tensor} has its data in another file, {shown(one.location)}, which the model's hash "
            "does not cover; export the bundle again, as one file"
        )


def _message(kind: str, data: memoryview, walk: _Bounds, depth: int) -> None:
    if depth > ONNX_DEPTH:
        raise BadArtefact(f"{walk.name} is nested more than {ONNX_DEPTH} messages deep; simplify the network")
    if kind == "Tensor":
        _tensor(data, walk)
        return
    if kind == "Shape":
        _shape(data, walk)
        return
    inside, once, seen = _ONNX_MESSAGES[kind], _ONCE.get(kind, set()), set[int]()
    for one in fields(data, walk):
        if one.wire == BYTES and one.number in inside:
            if one.number in once & seen:
                raise walk.broken(f"a {kind} has {inside[one.number]} twice")
            seen.add(one.number)
            _message(inside[one.number], one.data, walk, depth + 1)
        elif kind == "Sparse" and one.number == 3:
            _check_values(list(numbers(one, walk)), MODEL_VALUES, "a sparse tensor", walk)


def _tensor(data: memoryview, walk: _Bounds) -> None:
    dims: list[int] = []
    called, location, elsewhere = "", "", False
    for one in fields(data, walk):
        if one.number == 1:
            dims += numbers(one, walk)
        elif one.number == 8 and one.wire == BYTES:
            called = shown(text(one.data))
        elif one.number == 13 and one.wire == BYTES:
            key, value = entry(one.data, walk)
            location = value if key == "location" else location
        elif one.number == 14 and one.wire == VARINT:
            elsewhere = elsewhere or one.value & 0xFFFFFFFF != 0
    _check_values(dims, MODEL_VALUES if elsewhere else walk.bits, f"tensor {called or 'without a name'}", walk)
    if elsewhere:
        walk.external.append(External(called, location))


def _shape(data: memoryview, walk: _Bounds) -> None:
    """A declared shape; dimensions without a number count as 1."""
    dims = [
        signed(value.value)
        for one in fields(data, walk)
        if one.number == 1 and one.wire == BYTES
        for value in fields(one.data, walk)
        if value.number == 1 and value.wire == VARINT
    ]
    # Some exporters write -1 or 0 for a dimension that varies.
    _check_values([max(d, 1) if d >= -1 else d for d in dims], MODEL_VALUES, "a declared shape", walk)


def _check_values(dims: list[int], most: int, what: str, walk: _Bounds) -> None:
    values = 1
    for size in dims:
        if size < 0:
            raise BadArtefact(f"{walk.name}: {what} has the dimension {size}; expected 0 or more")
        values *= size
        if values > most:
            why = "more than the whole file has bits" if most == walk.bits else f"at most {most} are allowed"
            raise BadArtefact(f"{walk.name}: {what} has dimensions {_few(dims)}, {values} numbers or more; {why}")


def _few(dims: list[int]) -> str:
    return "x".join(str(d) for d in dims[:8]) + ("x..." if len(dims) > 8 else "")


def shown(name: str) -> str:
    """For messages: short, and what cannot be shown is a mark."""
    return "".join(c if c.isprintable() else "?" for c in name[:200])
