"""Protobuf's wire format, read without a schema and without copying: fields, numbers and short texts of a message.

What is read may come from anyone, so the fields of a file are counted and all lengths are checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..devices.errors import BadArtefact
from .limits import ONNX_FIELDS

LONGEST_TEXT = 4096
"""Bytes of a name or a place that are read: no path is longer."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """A field of a message by its `number`: a `value` where `wire` is VARINT, `data` where it is BYTES."""

    number: int
    wire: int
    value: int
    data: memoryview


@dataclass(slots=True)
class Walk:
    """A walk through one file: its `name` for messages, and how many fields were met."""

    name: str
    fields: int = 0

    def broken(self, what: str) -> BadArtefact:
        """The error for a file that is no protobuf message, or not a whole one."""
        return BadArtefact(f"{self.name} is no ONNX model or is cut off ({what}); export or copy it again")

    def count(self) -> None:
        self.fields += 1
        if self.fields > ONNX_FIELDS:
            raise BadArtefact(f"{self.name} has more than {ONNX_FIELDS} fields; no network of that many nodes is read")


def entry(data: memoryview, walk: Walk) -> tuple[str, str]:
    """A pair of texts, by the fields 1 and 2: key and value."""
    texts = {one.number: text(one.data) for one in fields(data, walk) if one.wire == BYTES}
    return texts.get(1, ""), texts.get(2, "")


def text(data: memoryview) -> str:
    """A text, cut where it is longer than any that is used."""
    return bytes(data[:LONGEST_TEXT]).decode("utf-8", "replace")


def numbers(one: Field, walk: Walk) -> Iterator[int]:
    """A repeated integer, written one by one or packed."""
    if one.wire == VARINT:
        yield signed(one.value)
    elif one.wire == BYTES:
        at = 0
        while at < len(one.data):
            walk.count()
            value, at = _varint(one.data, at, walk)
            yield signed(value)


def fields(data: memoryview, walk: Walk) -> Iterator[Field]:
    """The fields of a message, in order. Raises BadArtefact where it is cut off or no message."""
    at, end = 0, len(data)
    nothing = data[:0]
    while at < end:
        walk.count()
        key, at = _varint(data, at, walk)
        number, wire = key >> 3, key & 7
        value, content = 0, nothing
        if wire == VARINT:
            value, at = _varint(data, at, walk)
        elif wire == BYTES:
            size, start = _varint(data, at, walk)
            at = start + size
            content = data[start:at]
        elif wire in (FIXED64, FIXED32):
            at += 8 if wire == FIXED64 else 4
        else:
            raise walk.broken(f"wire type {wire}")
        if not 0 < number < 1 << 29 or at > end:
            raise walk.broken(f"field {number} ends at byte {at} of {end}")
        yield Field(number, wire, value, content)


def _varint(data: memoryview, at: int, walk: Walk) -> tuple[int, int]:
    """A number of 64 bits in groups of 7, and where it ends."""
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise walk.broken("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise walk.broken("a number has more than 64 bits")


def signed(value: int) -> int:
    """A 64-bit number in two's complement."""
    return value - (1 << 64) if value >> 63 else value
