"""Seeded damage to files: bytes as a broken disk or a forger makes them, and JSON that is well formed and wrong."""

from __future__ import annotations

import json
import random
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from helmsight.devices.errors import HelmsightError

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 255, 4097, 1 << 31, 1 << 53, (1 << 63) - 1, 0.5, -0.0, 1e-300, 1e300, "", "?",
    "x" * 300, "..", "/etc/passwd", "a/../b", "NHWC", "uint8", "float64", "0" * 64, "\x1b[2J", "\u202e", "[bold]",
    "[/x]", "[]", [], {}, [[]], [{}], {"": ""}, [0] * 9, ["x", -1], {"n": 1}, {"value": "x"},
)  # fmt: skip
"""Values that stand where another kind is expected."""
PIECES = (
    b"NaN", b"-Infinity", b"1e999", b"9" * 30, b"9" * 5000, b"[" * 40, b"{" * 40, b"[" * 5000, b'{"a":1,"a":2}', b'""',
    b"null", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\x00", b"\xef\xbb\xbf", b",", b":", b"]", b"}",
    b"//", b"\r", b"\xff\xff\xff\xff\x0f", b"\x80" * 11, b"\x7f" * 8,
)  # fmt: skip


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """One to four changes: bits, bytes, pieces taken out, doubled, moved, put in, or the end cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        long = rng.choice((1, 1, 2, 8, 64, 1024))
        kind = rng.randrange(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + long] = rng.randbytes(len(changed[at : at + long]))
        elif kind == 2:
            del changed[at : at + long]
        elif kind == 3:
            changed[at:at] = changed[at : at + long]
        elif kind == 4:
            changed[at:at] = rng.choice(PIECES)
        elif kind == 5:
            there = rng.randrange(len(changed) + 1)
            changed[at : at + long] = changed[there : there + long]
        elif rng.random() < 0.3:
            del changed[at:]
        else:
            changed[at : at + 1] = rng.choice(PIECES)
    return bytes(changed)


def damage_json(data: bytes, rng: random.Random) -> bytes:
    """One to three values of an object or list replaced, taken out, doubled or renamed."""
    record = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        parent, key = rng.choice(list(_places(record)))
        kind = rng.randrange(6)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice(("", "x", "name", "n", "../x", "model.onnx", key + " "))] = parent.pop(key)
        elif kind == 1:
            parent.insert(key, parent[key])
        elif kind == 2:
            _, other = rng.choice([(p, p[k]) for p, k in _places(record)])
            parent[key] = json.loads(json.dumps(other))
        else:
            parent[key] = json.loads(json.dumps(rng.choice(STRANGE)))
        if not record:
            break
    return json.dumps(record).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every item of every object and list, as where it lies and under which key."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)


def damage_protobuf(data: bytes, rng: random.Random) -> bytes:
    """One to three fields of an ONNX file changed in their place, the lengths around them mended."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        data = _damage_message(data, rng, rng.randrange(1, 6))
    return data


def _damage_message(data: bytes, rng: random.Random, depth: int) -> bytes:
    fields = _split(data)
    if not fields:
        return damage_bytes(data, rng)
    at = rng.randrange(len(fields))
    number, wire, content = fields[at]
    if wire == 2 and depth and content and rng.random() < 0.9:
        fields[at] = (number, wire, _damage_message(content, rng, depth - 1))
    else:
        _damage_field(fields, at, rng)
    return b"".join(_joined(field) for field in fields)


def _damage_field(fields: list[tuple[int, int, bytes]], at: int, rng: random.Random) -> None:
    number, wire, content = fields[at]
    kind = rng.randrange(6)
    if kind == 0:
        del fields[at]
    elif kind == 1:
        fields.insert(at, fields[rng.randrange(len(fields))])
    elif kind == 2:
        fields[at] = (rng.randrange(1, 30), wire, content)
    elif wire == 0:
        value = rng.choice((0, 1, 2, 3, 7, 10, 16, 255, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1))
        fields[at] = (number, wire, _varint(value))
    else:
        fields[at] = (number, wire, damage_bytes(content, rng) if wire == 2 else rng.randbytes(len(content)))


def _split(data: bytes) -> list[tuple[int, int, bytes]]:
    """The fields of a message as number, wire type, content; none where it is no message."""
    fields, at = [], 0
    while at < len(data):
        key, at = _read_varint(data, at)
        start = at
        if key & 7 == 0:
            _, at = _read_varint(data, at)
        elif key & 7 == 2:
            size, start = _read_varint(data, at)
            at = start + size
        elif key & 7 in (1, 5):
            at += 8 if key & 7 == 1 else 4
        else:
            return []
        if not key >> 3 or at > len(data):
            return []
        fields.append((key >> 3, key & 7, data[start:at]))
    return fields


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7
    return 0, len(data) + 1


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _joined(field: tuple[int, int, bytes]) -> bytes:
    number, wire, content = field
    return _varint(number << 3 | wire) + (_varint(len(content)) if wire == 2 else b"") + content


def outcome(way: Callable[[], object]) -> str:
    """The class of the error that `way` raises on purpose, "whole" when it raises none; else a text with BUG in it."""
    try:
        way()
    except HelmsightError as error:
        text = str(error)
        if len(text) > 1000 or not text.isprintable():
            return f"BUG: a message of {len(text)} characters: {text[:200]!a}"
        return type(error).__name__
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"BUG: {type(error).__name__}: {str(error)[:200]!a} at {where.filename}:{where.lineno}"
    return "whole"
